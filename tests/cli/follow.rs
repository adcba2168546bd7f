//! `--follow`: where redirects lead, and what is taken along.

use insta::assert_snapshot;

use crate::support::{Answer, Endpoint, logged_in};

fn moved(status: u16, to: &str) -> Answer {
    Answer::new(status, "moved").with("Location", to)
}

#[test]
fn on_the_own_origin_the_token_comes_along() {
    let (endpoint, cli) = logged_in();
    for (method, status) in [("get", 301), ("get", 302), ("get", 303), ("get", 307), ("get", 308), ("head", 302)] {
        let fetch = cli.start(&[method, "/a", "--follow", "-H", "X-Own: 1"]);
        endpoint.expect(&method.to_uppercase(), "/a").reply(moved(status, "b/c?x=1"));
        let call = endpoint.expect(&method.to_uppercase(), "/b/c?x=1");
        assert_eq!((call.bearer(), call.header("X-Own")), (Some("access-1"), Some("1")), "{status}");
        call.reply(Answer::new(200, "here"));
        assert!(fetch.finish().expect(0).silent().text().ends_with(if method == "get" { "here" } else { "\r\n\r\n" }));
    }
    // A refusal there is one like any other.
    let get = cli.start(&["get", "/a", "--follow"]);
    endpoint.expect("GET", "/a").reply(moved(302, "/b"));
    endpoint.expect("GET", "/b").reply(Answer::error(401, "expired"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("access-2", "refresh-2", 900.0));
    let call = endpoint.expect("GET", "/b");
    assert_eq!(call.bearer(), Some("access-2"));
    call.reply(Answer::new(404, "no"));
    assert_snapshot!(get.finish().expect(4).stderr, @"error: GET /b: 404 Not Found");
}

#[test]
fn another_origin_gets_neither_token_nor_headers_nor_body() {
    let ((endpoint, cli), other) = (logged_in(), Endpoint::start());
    for status in [301, 302, 303, 307, 308] {
        let get = cli.start(&["get", "/a", "--follow", "-H", "X-Key: canary", "-H", "Cookie: canary", "-d", "canary"]);
        endpoint.expect("GET", "/a").reply(moved(status, &format!("http://user:pass@{}/b", &other.url[7..])));
        let call = other.expect("GET", "/b");
        let told = format!("{:?} {}", call.headers, String::from_utf8_lossy(&call.body));
        for secret in ["canary", "access-1", "authorization", "refresh-1"] {
            assert!(!told.to_lowercase().contains(secret), "{status}: {told}");
        }
        // Nor does it come back to life on the way back.
        call.reply(moved(307, &format!("{}/c", endpoint.url)));
        let call = endpoint.expect("GET", "/c");
        assert_eq!((call.bearer(), call.header("X-Key")), (None, None));
        call.reply(Answer::new(200, "here"));
        assert_eq!(get.finish().expect(0).silent().text(), "here");
    }
}

#[test]
fn another_name_or_port_of_this_machine_is_another_origin() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/a", "--follow"]);
    let there = endpoint.url.replace("127.0.0.1", "localhost");
    endpoint.expect("GET", "/a").reply(moved(302, &format!("{there}/b")));
    let call = endpoint.expect("GET", "/b");
    assert_eq!(call.bearer(), None);
    call.reply(Answer::error(401, "who are you"));
    // Nobody refreshes because a stranger refuses.
    assert_snapshot!(get.finish().expect(4).stderr, @"error: GET /b: 401 Unauthorized");
}

#[test]
fn ten_are_followed_and_the_next_is_the_answer() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/0", "--follow"]);
    for number in 0..=10 {
        endpoint.expect("GET", &format!("/{number}")).reply(moved(302, &format!("/{}", number + 1)));
    }
    let get = get.finish().expect(3);
    assert_eq!(get.text(), "moved");
    assert_snapshot!(get.stderr, @"
    error: GET /10: 302 Found
    hint: ten redirects were followed before this one
    ");
}

#[test]
fn what_leads_nowhere_is_the_answer() {
    let (endpoint, cli) = logged_in();
    for answer in [moved(302, "ftp://example.com/"), moved(302, "javascript:alert(1)"), Answer::new(307, "moved")] {
        let get = cli.start(&["get", "/a", "--follow"]);
        endpoint.expect("GET", "/a").reply(answer);
        let get = get.finish().expect(3);
        assert!(get.stderr.contains("hint: it leads to no http or https address"), "{}", get.stderr);
    }
    let get = cli.start(&["get", "/a", "--follow"]);
    endpoint.expect("GET", "/a").reply(Answer::new(304, ""));
    assert_snapshot!(get.finish().expect(3).stderr, @"error: GET /a: 304 Not Modified");
}

#[test]
fn without_the_option_a_redirect_says_that_there_is_one() {
    let (endpoint, cli) = logged_in();
    let get = cli.start(&["get", "/a"]);
    endpoint.expect("GET", "/a").reply(moved(302, "/b"));
    assert_snapshot!(get.finish().expect(3).stderr, @"
    error: GET /a: 302 Found
    hint: `--follow` follows redirects
    ");
}

#[test]
fn a_timeout_holds_for_all_of_them() {
    let ((endpoint, cli), other) = (logged_in(), Endpoint::start());
    let get = cli.start(&["get", "/a", "--follow", "--timeout", "600ms"]);
    endpoint.expect("GET", "/a").reply(moved(302, &format!("{}/b", other.url)));
    let held = other.expect("GET", "/b");
    assert!(get.finish().expect(6).stderr.contains("no answer from"));
    held.hang_up();
}
