//! Over TLS: what is sent and told is what it is in the clear. Nearly all other tests are about a server on this machine in the
//! clear, to which the leaner of two HTTP clients goes.

use std::path::Path;

use crate::support::{Answer, Cli, Server, Tls, logged_in_over_tls};

#[test]
fn a_burst_on_an_expired_token_costs_one_refresh() {
    let mut server = Server::with_access_ttl("1ms");
    let tls = Tls::before(&server.url, "api.test");
    let cli = tls.user();
    cli.login();
    server.restart("15m");
    let summary = cli.run(&["burst", "-n", "100", "-c", "20", "--json"]).expect(0).silent().json();
    assert_eq!((&summary["succeeded"], &summary["refreshes"]), (&100.into(), &1.into()), "{summary}");
    let batch = cli.run_with_input(&["batch", "-c", "4"], &"/protected\n".repeat(20)).expect(0).silent();
    assert_eq!(batch.text().matches("\"status\":200").count(), 20, "{}", batch.text());
    assert_eq!(server.refreshes(), 1);
}

#[test]
fn a_request_has_the_same_head_as_in_the_clear() {
    let (endpoint, tls, cli) = logged_in_over_tls();
    let plain = Cli::new(&endpoint.url);
    plain.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    for arguments in
        [["get", "/x?a=b"].as_slice(), &["post", "/x?a=b", "-d", "c=d"], &["head", "/x?a=b", "-H", "Accept: a/b"]]
    {
        let heads = [&cli, &plain].map(|user| {
            let running = user.start(arguments);
            let call = endpoint.next();
            let mut headers = call.headers.clone();
            headers.iter_mut().filter(|(name, _)| name.eq_ignore_ascii_case("host")).for_each(|(_, host)| {
                assert!(tls.url.ends_with(host.as_str()) || endpoint.url.ends_with(host.as_str()), "{host}");
                host.clear();
            });
            headers.sort();
            let head = (call.method.clone(), call.path.clone(), headers);
            call.reply(Answer::new(200, ""));
            running.finish().expect(0);
            head
        });
        assert_eq!(heads[0], heads[1]);
    }
}

#[test]
fn a_download_that_breaks_off_begins_anew() {
    let (endpoint, _tls, cli) = logged_in_over_tls();
    let path = cli.path("report");
    let get = cli.start(&["get", "/x", "-o", path.to_str().unwrap(), "--retry", "1"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "more than the").missing(4));
    endpoint.expect("GET", "/x").reply(Answer::new(200, "whole"));
    get.finish().expect(0);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole");
}

#[test]
fn a_file_is_sent_again_after_a_refresh() {
    let (endpoint, _tls, cli) = logged_in_over_tls();
    let path = cli.path("upload");
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    std::fs::write(&path, &body).unwrap();
    let put = cli.start(&["put", "/x", "-d", &format!("@{}", Path::new(&path).display())]);
    let refused = endpoint.expect("PUT", "/x");
    assert!(refused.body == body);
    refused.reply(Answer::error(401, "expired"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let again = endpoint.expect("PUT", "/x");
    assert_eq!((again.bearer(), again.body == body), (Some("access-2"), true));
    again.reply(Answer::new(200, "fine"));
    assert_eq!(put.finish().expect(0).text(), "fine");
}

#[test]
fn what_was_never_sent_is_tried_again_whatever_its_method() {
    let (_endpoint, tls, cli) = logged_in_over_tls();
    drop(tls);
    let post = cli.run(&["post", "/x", "-d", "a", "--retry", "1"]).expect(6).without_stdout();
    let told = cli.settled(&post.stderr);
    let lines: Vec<_> = told.lines().map(|line| line.split(';').next().unwrap()).collect();
    assert_eq!(
        lines[..3],
        [
            "warning: the server could not be reached",
            "error: could not get an answer from [server]",
            "  caused by: Connection refused (os error N)"
        ]
    );
}

#[test]
fn a_server_that_says_nothing_is_waited_for_no_longer_than_asked() {
    let (endpoint, _tls, cli) = logged_in_over_tls();
    let get = cli.start(&["get", "/x", "--timeout", "300ms"]);
    let held = endpoint.expect("GET", "/x");
    let told = cli.settled(&get.finish().expect(6).without_stdout().stderr);
    assert_eq!(told, "error: no answer from [server] within 0.3 s\n");
    held.hang_up();
}
