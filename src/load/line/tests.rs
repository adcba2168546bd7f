//! What lines are read as.

use insta::assert_snapshot;
use reqwest::header::HeaderName;

use super::*;

fn parsed(line: &str) -> Request {
    let server = ServerUrl::parse("https://h/v1").unwrap();
    let line = LineRequest::parse(line).unwrap().unwrap();
    let mut common = Request::new(Method::GET, "https://h/".parse().unwrap());
    common.headers.insert("x-common", HeaderValue::from_static("1"));
    line.to_request(&server, &Attachment::default(), &common).unwrap()
}

#[test]
fn all_forms_of_a_line() {
    for (line, method, url, body) in [
        ("/users", "GET", "https://h/v1/users", None),
        ("  users?i=1\r", "GET", "https://h/v1/users?i=1", None),
        ("DELETE /users/7", "DELETE", "https://h/v1/users/7", None),
        ("post\t/users {\"a\": [1, 2]} ", "POST", "https://h/v1/users", Some("{\"a\": [1, 2]}")),
        ("PUT /x \"text\"", "PUT", "https://h/v1/x", Some("\"text\"")),
        (r#"{"path":"/x"}"#, "GET", "https://h/v1/x", None),
        (r#"{"path":"/x","json":{"n":1.10}}"#, "POST", "https://h/v1/x", Some("{\"n\":1.10}")),
        (r#"{"path":"/x","json":null}"#, "POST", "https://h/v1/x", Some("null")),
        (r#"{"method":"patch","path":"/x","body":"a=b"}"#, "PATCH", "https://h/v1/x", Some("a=b")),
        // Digits stay as they are typed, be they more than a number of this machine holds.
        (
            r#"{"path":"/x","query":{"a":123456789012345678901234,"b":1.10,"c":-1e3,"d":"\u0041"}}"#,
            "GET",
            "https://h/v1/x?a=123456789012345678901234&b=1.10&c=-1e3&d=A",
            None,
        ),
        (
            r#"{"path":"/x?a=1","query":{"b":"c&d","n":2,"t":true}}"#,
            "GET",
            "https://h/v1/x?a=1&b=c%26d&n=2&t=true",
            None,
        ),
    ] {
        let request = parsed(line);
        assert_eq!((request.method.as_str(), request.url.as_str()), (method, url), "{line}");
        assert_eq!(request.body.length(), Some(body.map_or(0, str::len) as u64), "{line}");
        assert_eq!(request.headers["x-common"], "1");
    }
}

#[test]
fn a_lines_headers_go_before_the_common_ones_and_json_says_what_it_is() {
    let request = parsed(r#"{"path":"/x","headers":{"X-Common":2,"X-Own":"o"},"json":[]}"#);
    assert_eq!(request.headers.get_all("x-common").iter().collect::<Vec<_>>(), ["2"]);
    assert_eq!(
        (&request.headers["x-own"], &request.headers[CONTENT_TYPE]),
        (&"o".parse().unwrap(), &"application/json".parse().unwrap())
    );
    let request = parsed(r#"{"path":"/x","headers":{"content-type":"application/vnd.x+json"},"json":[]}"#);
    assert_eq!(request.headers[CONTENT_TYPE], "application/vnd.x+json");
}

#[test]
fn the_header_of_the_token_is_not_the_lines_to_set() {
    let server = ServerUrl::parse("https://h").unwrap();
    let own = Attachment { header: HeaderName::from_static("x-token"), ..Attachment::default() };
    let to_request = |header: &str, attachment: &Attachment| {
        let line = format!(r#"{{"path":"/x","headers":{{"{header}":"canary"}}}}"#);
        let common = Request::new(Method::GET, "https://h/".parse().unwrap());
        LineRequest::parse(&line).unwrap().unwrap().to_request(&server, attachment, &common)
    };
    let refused = |header: &str, attachment: &Attachment| to_request(header, attachment).unwrap_err().to_string();
    assert_eq!(refused("authorization", &Attachment::default()), "`Authorization` is set by authcli");
    assert_eq!(refused("X-Token", &own), "`x-token` is set by authcli");
    // As with `-H`.
    assert_eq!(to_request("Authorization", &own).unwrap().headers["authorization"], "canary");
}

#[test]
fn a_blank_line_is_no_request() {
    for line in ["", " ", "\t\r"] {
        assert!(LineRequest::parse(line).unwrap().is_none());
    }
}

#[test]
fn bad_lines_say_why_and_show_no_value() {
    let mut told = String::new();
    for line in [
        "/a canary",
        "GET /a {\"canary\"",
        "GET /a /canary",
        "{\"path\":\"/a\",\"canary",
        "{}",
        "{\"path\":1}",
        "{\"path\":\"/a\",\"bodyy\":\"canary\"}",
        "{\"path\":\"/a\",\"headers\":\"canary\"}",
        "{\"path\":\"/a\",\"headers\":{\"a\":[\"canary\"]}}",
        "{\"path\":\"/a\",\"headers\":{\"a\":\"can\\nary\"}}",
        "{\"path\":\"/a\",\"headers\":{\"Content-Length\":\"canary\"}}",
        "{\"path\":\"/a\",\"json\":1,\"body\":\"canary\"}",
        "{\"path\":\"/a\",\"method\":\"G T\"}",
        "{\"path\":\"/a\",\"method\":\"Trace\"}",
        "CONNECT /canary",
    ] {
        let error = LineRequest::parse(line).unwrap_err().to_string();
        assert!(!error.contains("canary") && !error.contains("can\n"), "{line}: {error}");
        told.push_str(&error);
        told.push('\n');
    }
    assert_snapshot!(told, @"
    it is neither `PATH`, `METHOD PATH`, `METHOD PATH JSON` nor a JSON object; a blank in a path is %20
    what stands after the path is not JSON (column 9 of it)
    what stands after the path is not JSON (column 1 of it)
    it begins like a JSON object and is none (column 20)
    missing field `path`
    a field holds what it may not: expected a string (column 9)
    unknown field `bodyy`, expected one of `method`, `path`, `query`, `headers`, `json`, `body`
    a field holds what it may not: expected an object (column 31)
    a field holds what it may not: expected a string, a number, true or false (column 39)
    the value of header `a` holds characters that no header may hold
    header `content-length` is set by authcli, from the body
    it has both `json` and `body`
    its method is none
    TRACE and CONNECT are never sent with a token
    TRACE and CONNECT are never sent with a token
    ");
}
