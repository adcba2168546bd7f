//! What passes, in which form.

use hyper::http::request::Parts;

use super::*;

const SERVER: &str = "https://api.example.com/v1";

fn headers(lines: &[(&str, &str)]) -> HeaderMap {
    lines.iter().map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap())).collect()
}

fn shown(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    lines.sort();
    lines
}

/// Lets `act` work with the addresses of a request with such headers, whose address had the run's key for `KEY`.
fn with_addresses<T>(lines: &[(&str, &str)], act: impl FnOnce(&Addresses<'_>, &str, HeaderMap) -> T) -> T {
    let access = Access::to(Some("127.0.0.1:8080".parse().unwrap())).unwrap();
    let key = access.prefix()[1..].to_owned();
    let lines: Vec<_> = lines.iter().map(|(name, value)| (*name, value.replace("KEY", &key))).collect();
    let mut request = hyper::Request::builder().uri(format!("/{key}/x")).header("host", "127.0.0.1:8080");
    for (name, value) in &lines {
        request = request.header(*name, value);
    }
    let (parts, ()): (Parts, ()) = request.body(()).unwrap().into_parts();
    let server = ServerUrl::parse(SERVER).unwrap();
    let admitted = access.check(&parts).unwrap();
    act(&Addresses::new(&access, &server, &admitted), &key, parts.headers.clone())
}

fn for_server(lines: &[(&str, &str)]) -> Vec<String> {
    with_addresses(lines, |addresses, _, mut headers| {
        addresses.for_server(&mut headers);
        shown(&headers)
    })
}

fn for_client(request: &[(&str, &str)], answer: &[(&str, &str)]) -> Vec<String> {
    with_addresses(request, |addresses, key, _| {
        let mut headers = headers(answer);
        addresses.for_client(&mut headers, &format!("{SERVER}/users/7?q").parse().unwrap());
        shown(&headers).into_iter().map(|line| line.replace(key, "KEY")).collect()
    })
}

#[test]
fn what_belongs_to_one_connection_or_to_the_proxy_stays_here() {
    let sent = for_server(&[
        ("connection", "keep-alive, X-Hop"),
        ("connection", "Upgrade"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("proxy-authorization", "Basic eDp5"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("accept-encoding", "br"),
        ("x-forwarded-for", "192.0.2.1"),
        ("cookie", "a=b"),
    ]);
    assert_eq!(sent, ["accept-encoding: br", "cookie: a=b", "x-forwarded-for: 192.0.2.1"]);
    assert_eq!(for_server(&[("te", "trailers")]), ["te: trailers"]);
}

#[test]
fn the_server_sees_its_own_address_and_never_the_key() {
    for (name, value, expected) in [
        ("origin", "http://127.0.0.1:8080", Some("https://api.example.com")),
        ("referer", "http://127.0.0.1:8080/KEY/users?a", Some("https://api.example.com/v1/users?a")),
        ("referer", "http://127.0.0.1:8080/KEY", Some("https://api.example.com/v1/")),
        ("referer", "http://localhost:8080/KEY/users", None),
        ("destination", "http://127.0.0.1:8080/KEY/b", Some("https://api.example.com/v1/b")),
        ("x-any", "see KEY", None),
        ("referer", "http://127.0.0.1:8080/KEY/KEY", None),
        ("referer", "http://127.0.0.1:8080/KEYS", None),
        ("referer", "https://elsewhere.example/", Some("https://elsewhere.example/")),
    ] {
        let sent = for_server(&[(name, value)]);
        let expected: Vec<_> = expected.iter().map(|value| format!("{name}: {value}")).collect();
        assert_eq!(sent, expected, "{name}: {value}");
    }
}

#[test]
fn whoever_follows_an_answer_comes_through_the_proxy_again() {
    const OWN: &str = "http://127.0.0.1:8080/KEY";
    for (name, value, expected) in [
        ("location", "https://api.example.com/v1/users/8?a=b#c", format!("{OWN}/users/8?a=b#c")),
        ("location", "https://api.example.com/v1", format!("{OWN}/")),
        ("location", "/v1/users/8", format!("{OWN}/users/8")),
        ("location", "8", format!("{OWN}/users/8")),
        ("location", "?page=2", format!("{OWN}/users/7?page=2")),
        ("content-location", "/v1/users/8", format!("{OWN}/users/8")),
        // There is no way through the proxy to these.
        ("location", "/login", "https://api.example.com/login".into()),
        ("location", "//other.example/x", "https://other.example/x".into()),
        ("location", "https://other.example/v1/x", "https://other.example/v1/x".into()),
        ("location", "/v1/\u{e9}", format!("{OWN}/%C3%A9")),
        ("location", "http://api.example.com/v1/x", "http://api.example.com/v1/x".into()),
        (
            "link",
            r#"</v1/users?page=2>; rel="next"; title="a <\"> b", <https://other.example/>; rel=x, <https://api.example.com/v1/u>"#,
            format!(
                r#"<{OWN}/users?page=2>; rel="next"; title="a <\"> b", <https://other.example/>; rel=x, <{OWN}/u>"#
            ),
        ),
        ("link", "<", "<".into()),
        ("link", "\"\\", "\"\\".into()),
    ] {
        assert_eq!(for_client(&[], &[(name, value)]), [format!("{name}: {expected}")], "{value}");
    }
}

#[test]
fn of_an_answer_everything_else_passes() {
    let answer = [
        ("connection", "close, x-hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("alt-svc", "h3=\":443\""),
        ("content-encoding", "gzip"),
        ("set-cookie", "a=b"),
        ("www-authenticate", "Bearer"),
    ];
    assert_eq!(for_client(&[], &answer), ["content-encoding: gzip", "set-cookie: a=b", "www-authenticate: Bearer"]);
}

#[test]
fn cookies_of_the_server_are_the_proxys() {
    for (cookie, expected) in [
        ("a=b", "a=b"),
        ("path=domain; HttpOnly", "path=domain; HttpOnly"),
        ("a=b; Path=/v1; Max-Age=7", "a=b; Path=/KEY; Max-Age=7"),
        ("a=b;path=/v1/users/ ; DOMAIN=api.example.com", "a=b; Path=/KEY/users/"),
        ("a=b; Path=/; Secure; SameSite=Lax", "a=b; Path=/KEY/; SameSite=Lax"),
        ("a=b; Path=/v", "a=b; Path=/v"),
        ("a=b; Path=/v12", "a=b; Path=/v12"),
        ("a=b; Path=", "a=b; Path="),
    ] {
        assert_eq!(for_client(&[], &[("set-cookie", cookie)]), [format!("set-cookie: {expected}")], "{cookie}");
    }
}

#[test]
fn of_two_that_tell_where_a_body_ends_one_passes() {
    assert_eq!(for_client(&[], &[("content-length", "3")]), ["content-length: 3"]);
    assert_eq!(for_client(&[], &[("content-length", "3"), ("transfer-encoding", "chunked")]), [""; 0]);
}

#[test]
fn cookies_pass_for_all_but_browsers() {
    let browser = ("sec-fetch-site", "same-origin");
    assert_eq!(for_server(&[browser, ("cookie", "a=b")]), ["sec-fetch-site: same-origin"]);
    assert_eq!(for_client(&[browser], &[("set-cookie", "a=b")]), [""; 0]);
}

#[test]
fn websocket_alone_is_an_upgrade_that_passes() {
    for (connection, upgrade, expected) in [
        ("Upgrade", "websocket", true),
        ("keep-alive, upgrade", "WebSocket", true),
        ("keep-alive", "websocket", false),
        ("Upgrade", "h2c", false),
        ("Upgrade, HTTP2-Settings", "h2c", false),
    ] {
        let headers = headers(&[("connection", connection), ("upgrade", upgrade)]);
        assert_eq!(asks_for_websocket(&headers), expected, "{connection}, {upgrade}");
    }
}
