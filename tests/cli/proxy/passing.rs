//! What becomes of requests and answers.

use super::Proxied;
use crate::support::{Answer, Cli, Endpoint, logged_in, logged_in_over_tls};

#[test]
fn the_server_is_asked_as_though_there_were_no_proxy() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &["--server", &format!("{}/v1", endpoint.url)]);
    let referer = format!("{}/page", proxy.address);
    let origin = format!("http://{}", proxy.authority());
    let headers = [
        ("Connection", "close, X-Hop"),
        ("X-Hop", "1"),
        ("Keep-Alive", "timeout=5"),
        ("Authorization", "Basic eDp5"),
        ("Proxy-Authorization", "Basic eDp5"),
        ("Referer", &referer),
        ("Origin", &origin),
        ("X-Mine", "a"),
        ("X-Mine", "b"),
        ("User-Agent", "mine/1"),
        ("Content-Type", "text/plain"),
    ];
    let answer = proxy.ask_aside("PATCH", "/a%2Fb/./c?d=%20e&f={g}", &headers, b"body");
    let call = endpoint.expect("PATCH", "/v1/a%2Fb/c?d=%20e&f={g}");
    assert_eq!(call.bearer(), Some("access-1"));
    assert_eq!(call.header("Host"), endpoint.url.strip_prefix("http://"));
    assert_eq!(call.header("Origin"), Some(endpoint.url.as_str()));
    assert_eq!(call.header("Referer"), Some(format!("{}/v1/page", endpoint.url).as_str()));
    assert_eq!(call.header("User-Agent"), Some("mine/1"));
    assert_eq!(call.headers_named("X-Mine").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((call.header("Content-Length"), call.body.as_slice()), (Some("4"), b"body".as_slice()));
    for name in ["X-Hop", "Keep-Alive", "Proxy-Authorization", "Via", "Forwarded", "X-Forwarded-For", "Connection"] {
        assert_eq!(call.header(name), None, "{name}");
    }
    assert!(!call.headers.iter().any(|(_, value)| value.contains(proxy.key())));
    call.reply(
        Answer::new(201, "made")
            .with("Location", "/v1/c/7?x")
            .with("Link", "</v1/c?page=2>; rel=\"next\"")
            .with("Set-Cookie", "a=b")
            .with("X-Hop", "1")
            .with("Connection", "X-Hop")
            .with("Content-Encoding", "gzip"),
    );
    let answer = answer.join().unwrap();
    assert_eq!((answer.status, answer.text()), (201, "made"));
    assert_eq!(answer.header("Location"), Some(format!("{}/c/7?x", proxy.address).as_str()));
    assert_eq!(answer.header("Link"), Some(format!("<{}/c?page=2>; rel=\"next\"", proxy.address).as_str()));
    // Whatever it is said to be, it is not decoded.
    assert_eq!(answer.header("Content-Encoding"), Some("gzip"));
    assert_eq!(answer.header("Set-Cookie"), Some("a=b"));
    assert_eq!(answer.header("X-Hop"), None);
}

#[test]
fn a_refused_request_is_sent_again_once_after_a_refresh() {
    let (endpoint, cli) = logged_in();
    sent_again(&endpoint, &cli);
    let (endpoint, _tls, cli) = logged_in_over_tls();
    sent_again(&endpoint, &cli);
}

fn sent_again(endpoint: &Endpoint, cli: &Cli) {
    let proxy = Proxied::start(cli, &[]);
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let answer = proxy.ask_aside("POST", "/x", &[], &body);
    let refused = endpoint.expect("POST", "/x");
    assert_eq!((refused.bearer(), refused.body == body), (Some("access-1"), true));
    refused.reply(Answer::error(401, "expired"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let again = endpoint.expect("POST", "/x");
    assert_eq!((again.bearer(), again.body == body), (Some("access-2"), true));
    again.reply(Answer::new(200, "fine"));
    assert_eq!(answer.join().unwrap().text(), "fine");
}

#[test]
fn a_refusal_that_a_newer_token_does_not_mend_is_passed_on() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    endpoint.expect("GET", "/x").reply(Answer::error(403, "no"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    endpoint.expect("GET", "/x").reply(Answer::error(403, "still no").with("X-Why", "right"));
    let answer = answer.join().unwrap();
    assert_eq!(
        (answer.status, answer.text(), answer.header("X-Why")),
        (403, "{\"error\":\"still no\"}", Some("right"))
    );
    // Its body was read beside the question for a newer token, and is passed on all the same.
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    endpoint.expect("GET", "/x").reply(Answer::new(403, &"no".repeat(20_000)));
    let answer = answer.join().unwrap();
    assert_eq!((answer.status, answer.body.len()), (403, 40_000));
    assert_eq!(answer.header("Proxy-Status"), None);
}

#[test]
fn a_body_too_long_to_be_kept_is_asked_for_again() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    let body = vec![b'x'; 9 * 1024 * 1024];
    let answer = proxy.ask_aside("PUT", "/x", &[], &body);
    let refused = endpoint.expect("PUT", "/x");
    assert_eq!(refused.body.len(), body.len());
    refused.reply(Answer::error(401, "expired"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let answer = answer.join().unwrap();
    assert_eq!(answer.own(503)["hint"], "send the request again");
    assert_eq!(answer.header("Retry-After"), Some("0"));
    let answer = proxy.ask_aside("PUT", "/x", &[], &body);
    endpoint.expect("PUT", "/x").reply(Answer::new(204, ""));
    assert_eq!(answer.join().unwrap().status, 204);
}

#[test]
fn answers_without_a_body_stay_without_one() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &[]);
    for status in [204, 304] {
        let answer = proxy.ask_aside("GET", "/x", &[], b"");
        endpoint.expect("GET", "/x").reply(Answer::new(status, "").with("ETag", "\"7\""));
        let answer = answer.join().unwrap();
        assert_eq!((answer.status, answer.text(), answer.header("ETag")), (status, "", Some("\"7\"")));
        assert_eq!((answer.header("Content-Length"), answer.header("Transfer-Encoding")), (None, None));
    }
    // A redirect is the client's to follow.
    let answer = proxy.ask_aside("DELETE", "/x", &[], b"");
    endpoint.expect("DELETE", "/x").reply(Answer::new(302, "").with("Location", "https://elsewhere.example/"));
    assert_eq!(answer.join().unwrap().header("Location"), Some("https://elsewhere.example/"));
}

#[test]
fn nobody_waits_around_an_expiry() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    // In the last quarter of its life.
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    cli.let_pass(jiff::SignedDuration::from_secs(860));
    let proxy = Proxied::start(&cli, &[]);
    // A refresh begins with the work, not with a request; and who comes meanwhile uses the token that lives.
    let refresh = endpoint.expect("POST", "/refresh");
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    let call = endpoint.expect("GET", "/x");
    assert_eq!(call.bearer(), Some("access-1"));
    call.reply(Answer::new(200, "fine"));
    assert_eq!(answer.join().unwrap().text(), "fine");
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    proxy.stop().expect(143);
}

#[test]
fn cookies_of_the_server_come_back_to_it() {
    let (endpoint, cli) = logged_in();
    let proxy = Proxied::start(&cli, &["--server", &format!("{}/v1", endpoint.url)]);
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    let cookies = "a=b; Path=/v1/x; Domain=api.example.com; Secure; HttpOnly";
    endpoint.expect("GET", "/v1/x").reply(Answer::new(200, "").with("Set-Cookie", cookies));
    let expected = format!("a=b; Path=/{}/x; HttpOnly", proxy.key());
    assert_eq!(answer.join().unwrap().header("Set-Cookie"), Some(expected.as_str()));
}

#[test]
fn what_a_client_does_not_say_of_itself_is_not_said_for_it() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let proxy = Proxied::start(&cli, &[]);
    let answer = proxy.ask_aside("GET", "/x", &[], b"");
    let refresh = endpoint.expect("POST", "/refresh");
    assert!(refresh.header("User-Agent").unwrap().starts_with("authcli/"), "that is authcli's own request");
    refresh.reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let call = endpoint.expect("GET", "/x");
    assert_eq!((call.header("User-Agent"), call.header("Accept-Encoding")), (None, None));
    call.reply(Answer::new(200, "fine"));
    assert_eq!(answer.join().unwrap().text(), "fine");
}
