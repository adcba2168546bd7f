//! How servers are reached: certificate authorities, and proxies of the environment.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver};
use std::thread;

use insta::{allow_duplicates, assert_snapshot};

use crate::support::{Answer, Cli, Endpoint, Output, Tls};

const LOGIN: [&str; 4] = ["login", "-u", "admin", "--password-stdin"];

/// Somebody whose system trusts the authorities in a file, which the test may change.
fn user_of(server: &str, trusted: &Tls) -> (Cli, PathBuf) {
    let cli = Cli::new(server).with("SSL_CERT_DIR", "/nonexistent");
    let file = trusted.write_authority(&cli.path("system.pem"));
    let path = file.display().to_string();
    (cli.with("SSL_CERT_FILE", &path), file)
}

#[test]
fn a_server_with_an_authority_of_its_own_is_reached_with_its_file_alone() {
    let (endpoint, elsewhere) = (Endpoint::start(), Endpoint::start());
    let (tls, other) = (Tls::before(&endpoint.url, "api.test"), Tls::before(&elsewhere.url, "api.test"));
    let (cli, system) = user_of(&tls.url, &tls);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "the system trusts it"));
    get.finish().expect(0);

    other.write_authority(&system);
    let (right, wrong) = (cli.path("right.pem"), cli.path("wrong.pem"));
    tls.write_authority(&right);
    other.write_authority(&wrong);
    let before = endpoint.connections();
    let refused = |output: Output| {
        allow_duplicates! {
            assert_snapshot!(cli.settled(&output.expect(6).without_stdout().stderr), @"
            error: could not get an answer from [server]
              caused by: invalid peer certificate: UnknownIssuer
            hint: if the server has a certificate authority of its own, name its file: `authcli profile set cacert FILE`
            ");
        }
    };
    refused(cli.run(&["get", "/x"]));
    refused(cli.run(&["post", "/x", "-d", "body", "--cacert", wrong.to_str().unwrap()]));
    // No repetition would mend that.
    refused(cli.run(&["get", "/x", "--retry", "5"]));
    assert_eq!(endpoint.connections(), before, "nothing was sent");

    let get = cli.start(&["get", "/x", "--cacert", right.to_str().unwrap()]);
    endpoint.expect("GET", "/x").reply(Answer::error(401, "expired"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let call = endpoint.expect("GET", "/x");
    assert_eq!(call.bearer(), Some("access-2"));
    call.reply(Answer::new(200, "here"));
    assert_eq!(get.finish().expect(0).text(), "here");

    // The file holds all that is trusted, whatever the system says.
    tls.write_authority(&system);
    refused(cli.run(&["get", "/x", "--cacert", wrong.to_str().unwrap()]));
}

#[test]
fn a_login_at_a_server_that_is_not_trusted_says_what_to_do() {
    let (endpoint, elsewhere) = (Endpoint::start(), Endpoint::start());
    let (tls, other) = (Tls::before(&endpoint.url, "api.test"), Tls::before(&elsewhere.url, "api.test"));
    let (cli, _) = user_of(&tls.url, &other);
    let cli = cli.with("AUTHCLI_PROFILE", "work");
    let login = cli.run_with_input(&LOGIN, "password\n").expect(6).without_stdout();
    assert!(login.stderr.contains("invalid peer certificate: UnknownIssuer"), "{}", login.stderr);
    let hint = "name its file: `authcli profile set cacert FILE --profile work`";
    assert!(login.stderr.contains(hint), "{}", login.stderr);
    assert_eq!(endpoint.connections(), 0);

    // It helps, and `login --help` tells of it too.
    let file = tls.write_authority(&cli.path("ca.pem"));
    cli.run(&["profile", "set", "cacert", file.to_str().unwrap(), "--profile", "work"]).expect(0);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    assert!(cli.run(&["login", "--help"]).expect(0).text().contains("authcli profile set cacert FILE"));
}

#[test]
fn who_has_a_live_token_needs_no_certificate_authorities() {
    let endpoint = Endpoint::start();
    let tls = Tls::before(&endpoint.url, "api.test");
    let (cli, system) = user_of(&tls.url, &tls);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let before = endpoint.connections();
    // Nothing can be sent on such a system, so whoever prints a token has not even tried to.
    std::fs::write(&system, "").unwrap();
    assert_eq!(cli.run(&["token"]).expect(0).silent().text(), "access-1\n");
    let told = |output: Output| cli.settled(&output.expect(1).without_stdout().stderr);
    assert_snapshot!(told(cli.run(&["get", "/x"])), @"
    error: no request can be sent
      caused by: could not set up the HTTP client
      caused by: unexpected error: No CA certificates were loaded from the system
    hint: install this system's certificate authorities, or name a file of some: `authcli profile set cacert FILE`
    ");
    for output in [cli.run(&["refresh"]), cli.run_with_input(&LOGIN, "password\n")] {
        let told = told(output);
        assert!(told.contains("caused by: unexpected error: No CA certificates were loaded from the system"), "{told}");
        assert!(told.contains("hint: install this system's certificate authorities"), "{told}");
    }
    let doctor = cli.run(&["doctor"]).expect(1);
    assert!(doctor.text().contains("name a file of some"), "{}", doctor.text());
    assert_eq!(endpoint.connections(), before);
    // The session stands.
    tls.write_authority(&system);
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-1\n");
}

#[test]
fn no_redirect_leads_from_https_to_http() {
    let (endpoint, other) = (Endpoint::start(), Endpoint::start());
    let tls = Tls::before(&endpoint.url, "api.test");
    let (cli, _) = user_of(&tls.url, &tls);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let get = cli.start(&["get", "/x", "--follow"]);
    endpoint.expect("GET", "/x").reply(Answer::new(302, "moved").with("Location", &format!("{}/y", other.url)));
    assert_snapshot!(get.finish().expect(3).stderr, @"
    error: GET /x: 302 Found
    hint: it leads from https to http, so it is not followed
    ");
    assert_eq!(other.connections(), 0);
    // From http to https there is no harm in it.
    let plain = Cli::new(&other.url);
    plain.login_at(&other, "access-1", "refresh-1", 900.0);
    let authority = tls.write_authority(&plain.path("ca.pem"));
    let get = plain.start(&["get", "/x", "--follow", "--cacert", authority.to_str().unwrap()]);
    other.expect("GET", "/x").reply(Answer::new(302, "moved").with("Location", &format!("{}/y", tls.url)));
    let call = endpoint.expect("GET", "/y");
    assert_eq!(call.bearer(), None);
    call.reply(Answer::new(200, "here"));
    assert_eq!(get.finish().expect(0).text(), "here");
}

/// An address that nobody has (RFC 5737): who connects to it gets no answer.
const FAR: &str = "http://192.0.2.1";

#[test]
fn http_goes_through_the_proxy_of_the_environment() {
    for variable in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let proxy = Endpoint::start();
        let cli = Cli::new(FAR).with(variable, &proxy.url);
        std::fs::create_dir(cli.configuration()).unwrap();
        std::fs::write(cli.configuration().join("config.toml"), "[profiles.default]\nallow_http = true\n").unwrap();
        let login = cli.start_with_input(&LOGIN, "password\n");
        let call = proxy.expect("POST", &format!("{FAR}/login"));
        call.reply(Answer::tokens("access-1", "refresh-1", 900.0));
        login.finish().expect(0);
        let post = cli.start(&["post", "/x", "-d", "body"]);
        let call = proxy.expect("POST", &format!("{FAR}/x"));
        assert_eq!((call.bearer(), call.body.as_slice()), (Some("access-1"), b"body".as_slice()));
        call.reply(Answer::new(200, "by proxy"));
        assert_eq!(post.finish().expect(0).text(), "by proxy");

        // Hosts that are excepted are reached without it; here that is in vain.
        let before = proxy.connections();
        let cli = cli.with("NO_PROXY", "example.com,192.0.2.1");
        cli.run(&["get", "/x", "--timeout", "300ms"]).expect(6);
        assert_eq!(proxy.connections(), before);
    }
}

#[test]
fn https_goes_through_a_tunnel_in_which_the_proxy_reads_nothing() {
    let endpoint = Endpoint::start();
    let tls = Tls::before(&endpoint.url, "api.test");
    let (proxy, asked) = tunnel_to(tls.url.strip_prefix("https://").unwrap());
    let (cli, _) = user_of("https://api.test", &tls);
    let cli = cli.with("HTTPS_PROXY", &proxy);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let get = cli.start(&["get", "/x"]);
    let call = endpoint.expect("GET", "/x");
    assert_eq!((call.bearer(), call.header("Host")), (Some("access-1"), Some("api.test")));
    call.reply(Answer::new(200, "by tunnel"));
    assert_eq!(get.finish().expect(0).text(), "by tunnel");
    let asked: Vec<String> = asked.try_iter().collect();
    assert!(!asked.is_empty() && asked.iter().all(|line| line == "CONNECT api.test:443 HTTP/1.1"), "{asked:?}");
}

/// A proxy that knows CONNECT alone and leads everybody to `address`. What it was asked for comes out of the channel.
fn tunnel_to(address: &str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (send, asked) = mpsc::channel();
    let address = address.to_owned();
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = BufReader::new(client.try_clone().unwrap());
            let mut first = String::new();
            head.read_line(&mut first).unwrap();
            let mut line = String::new();
            while head.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            if send.send(first.trim_end().to_owned()).is_err() {
                return;
            }
            let server = TcpStream::connect(&address).unwrap();
            client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                thread::spawn(move || {
                    // Either side may end it at any time.
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(Shutdown::Write);
                });
            }
        }
    });
    (url, asked)
}
