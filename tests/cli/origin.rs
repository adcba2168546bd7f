//! A token goes to the origin that it was issued for, and nowhere else.

use insta::{allow_duplicates, assert_snapshot};

use crate::support::{Answer, Cli, Endpoint, logged_in};

#[test]
fn another_server_is_not_even_connected_to() {
    let (home, other) = (logged_in(), Endpoint::start());
    let (endpoint, cli) = &home;
    let before = endpoint.connections();
    for arguments in
        [["get", "/x"].as_slice(), &["burst", "-n", "3"], &["token"], &["refresh"], &["status"], &["logout"]]
    {
        let mut arguments = arguments.to_vec();
        arguments.extend(["--server", &other.url]);
        let refused = cli.run(&arguments).expect(7).without_stdout();
        allow_duplicates! {
            assert_snapshot!(cli.settled(&refused.stderr).replace(&other.url, "[other]"), @"
            error: not logged in at [other]; this profile is for [server]
            hint: run `authcli login --server [other]`, with `--profile NAME` to keep both
            ");
        }
    }
    // The environment is as good as the flag.
    let cli = Cli::new(&other.url);
    std::fs::rename(home.1.configuration(), cli.configuration()).unwrap();
    cli.run(&["get", "/x"]).expect(7);
    assert_eq!((endpoint.connections(), other.connections()), (before, 0));
}

#[test]
fn another_scheme_host_or_port_is_another_server() {
    let (_endpoint, cli) = logged_in();
    let address = cli.run(&["status", "--json"]).json()["server"].as_str().unwrap().to_owned();
    let port = address.rsplit(':').next().unwrap();
    for other in [format!("https://127.0.0.1:{port}"), format!("http://localhost:{port}"), "http://127.0.0.1".into()] {
        cli.run(&["get", "/x", "--server", &other]).expect(7);
    }
}

#[test]
fn another_path_on_the_server_is_the_same_origin() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "users", "--server", &format!("{}/v2", endpoint.url)]);
    endpoint.expect("GET", "/v2/users").reply(Answer::new(200, "users"));
    get.finish().expect(0);
}

#[test]
fn paths_that_lead_elsewhere_are_refused_before_anything_is_sent() {
    let ((endpoint, cli), other) = (logged_in(), Endpoint::start());
    let before = endpoint.connections();
    let host = other.url.strip_prefix("http:").unwrap();
    let port = endpoint.url.rsplit(':').next().unwrap();
    for path in [
        host,
        &format!("{}/x", other.url),
        &format!("/\\{}", &host[2..]),
        &format!("\\\\{}", &host[2..]),
        "/a\\b",
        "https://example.com/",
        "HTTP://example.com/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        &format!("http://user:canary@127.0.0.1:{port}/"),
        &format!("https://127.0.0.1:{port}/"),
        "/a\nb",
        "/a\tb",
    ] {
        for command in [["get", path].as_slice(), &["burst", "-n", "2", path]] {
            let refused = cli.run(command).expect(2).without_stdout();
            assert!(refused.stderr.starts_with("error: "), "{path}: {}", refused.stderr);
            assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
        }
    }
    assert_snapshot!(cli.settled(&cli.run(&["get", "//example.com/x"]).stderr), @"error: `//example.com/x` is not a path on [server]: it names another host");
    assert_snapshot!(cli.settled(&cli.run(&["get", "https://example.com/x"]).stderr), @"error: `https://example.com/x` is not a path on [server]: it leads to another origin");
    assert_eq!((endpoint.connections(), other.connections()), (before, 0));
}

#[test]
fn an_absolute_url_of_the_own_origin_is_a_path() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", &format!("{}/x?y=z", endpoint.url)]);
    let call = endpoint.expect("GET", "/x?y=z");
    assert_eq!(call.bearer(), Some("access-1"));
    call.reply(Answer::new(200, ""));
    get.finish().expect(0);
}

#[test]
fn dots_in_a_path_do_not_leave_the_host() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/../../@example.com/..//x"]);
    let call = endpoint.next();
    assert!(call.path.starts_with('/'), "{}", call.path);
    call.reply(Answer::new(200, ""));
    get.finish().expect(0);
}

#[test]
fn a_redirect_is_exit_code_3_and_takes_no_token_along() {
    let ((endpoint, cli), other) = (logged_in(), Endpoint::start());
    for (status, location) in [
        (301, format!("{}/stolen", other.url)),
        (302, format!("{}/stolen", other.url)),
        (303, "/elsewhere".to_owned()),
        (307, format!("{}/stolen", other.url)),
        (308, format!("{}/elsewhere", endpoint.url)),
    ] {
        let get = cli.start(&["get", "/x", "-i"]);
        endpoint.expect("GET", "/x").reply(Answer::new(status, "moved").with("Location", &location));
        let get = get.finish().expect(3);
        assert!(get.text().ends_with("\r\n\r\nmoved"), "{}", get.text());
        assert!(get.text().contains(&format!("location: {location}")), "{}", get.text());
        assert!(get.stderr.starts_with(&format!("error: GET /x: {status} ")), "{}", get.stderr);
    }
    assert_eq!(other.connections(), 0);
}

#[test]
fn a_refresh_follows_no_redirect() {
    let (endpoint, other) = (Endpoint::start(), Endpoint::start());
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
    let get = cli.start(&["get", "/x"]);
    let answer = Answer::new(307, "").with("Location", &format!("{}/refresh", other.url));
    endpoint.expect("POST", "/refresh").reply(answer);
    let get = get.finish();
    assert!(get.code.is_some_and(|code| ![0, 7].contains(&code)), "{get:?}");
    assert_eq!(other.connections(), 0);
    cli.run(&["status"]).expect(0);
}

#[test]
fn clear_text_to_another_machine_is_refused() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let login = |server: &str| {
        cli.run_with_input(&["login", "-u", "admin", "--password-stdin", "--server", server], "secret\n")
    };
    let refused = login("http://192.0.2.1:3000").expect(2).without_stdout();
    assert_snapshot!(cli.settled(&refused.stderr), @"
    error: http://192.0.2.1:3000 would carry tokens in clear text over the network
    hint: use https; where the network is yours, run `authcli profile set allow_http true --profile default`
    ");
    for server in [
        "http://user:canary@127.0.0.1:3000",
        "ftp://127.0.0.1",
        "http://127.0.0.1:99999",
        "http://",
        "http://127.0.0.1/?a=b",
    ] {
        let refused = login(server).expect(2).without_stdout();
        assert!(!refused.stderr.contains("canary"), "{}", refused.stderr);
    }
}

/// Reading the certificates of the system takes most of the time of a short call. Here they are a pipe that nobody
/// writes to, so whoever reads them waits.
#[test]
#[cfg(target_os = "linux")]
fn no_certificates_are_read_for_an_http_server() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let certificates = cli.path("certificates");
    assert!(std::process::Command::new("mkfifo").arg(&certificates).status().unwrap().success());
    let certificates = certificates.display().to_string();
    let cli = cli.with("SSL_CERT_FILE", &certificates).with("SSL_CERT_DIR", "/nonexistent");
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::new(200, "here"));
    assert_eq!(get.finish().expect(0).text(), "here");

    // That the pipe would have been noticed: for https it is read, and its end is no certificate.
    let arguments = ["login", "-u", "a", "--password-stdin", "--server", "https://127.0.0.1:1", "--profile", "tls"];
    let login = cli.start_with_input(&arguments, "password\n");
    let (opened, wait) = std::sync::mpsc::channel();
    std::thread::spawn(move || opened.send(std::fs::File::options().write(true).open(certificates).is_ok()));
    assert!(wait.recv_timeout(crate::support::BOUND).expect("somebody reads the certificates"));
    login.finish();
}
