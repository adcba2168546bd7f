//! Logins with a browser, which the test plays.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use url::Url;

use super::{assert_no_secret, begin, come_back, discover, fields, id_token, login, query, tokens};
use crate::support::{Answer, Cli, Endpoint};

#[test]
fn a_login_with_a_browser_says_what_the_standards_ask_for() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let (running, conversation, address) = begin(&endpoint, &cli, &["--audience", "api"], "");
    let asked = query(&address);
    let redirect_uri = &asked["redirect_uri"];
    assert!(redirect_uri.starts_with("http://127.0.0.1:") && redirect_uri.ends_with("/callback"), "{redirect_uri}");
    let [challenge, state, nonce] = ["code_challenge", "state", "nonce"].map(|name| asked[name].as_str());
    let expected = [
        ("audience", "api"),
        ("client_id", "cli"),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256"),
        ("nonce", nonce),
        ("prompt", "consent"),
        ("redirect_uri", redirect_uri),
        ("response_type", "code"),
        ("scope", "openid offline_access"),
        ("state", state),
    ];
    assert_eq!(asked, fields(expected));

    let shown = come_back(&asked, &[("code", "canary-code"), ("state", state), ("iss", &endpoint.url)]);
    assert!(shown.contains("You may close this page") && !shown.contains("canary"), "{shown}");
    let call = endpoint.expect("POST", "/token");
    let form = call.form();
    let verifier = form["code_verifier"].as_str();
    assert_eq!(URL_SAFE_NO_PAD.encode(Sha256::digest(verifier)), challenge);
    let expected = [
        ("client_id", "cli"),
        ("code", "canary-code"),
        ("code_verifier", verifier),
        ("grant_type", "authorization_code"),
        ("redirect_uri", redirect_uri),
    ];
    assert_eq!(form, fields(expected));
    assert_eq!((call.header("accept"), call.header("authorization")), (Some("application/json"), None));
    let mut answer = tokens(1);
    let claims = json!({"iss": endpoint.url, "aud": "cli", "nonce": nonce, "sub": "42", "preferred_username": "ann"});
    answer["id_token"] = id_token(&claims).into();
    call.reply(Answer::json(200, &answer));
    running.finish().expect(0).without_stdout();
    let said = conversation.rest();
    assert!(said.contains(&format!("Logged in to {} as ann", endpoint.url)), "{said}");
    assert_no_secret(&said);
    assert!(!said.contains(verifier), "{said}");

    let status = cli.run(&["status", "--json"]).expect(0).json();
    assert_eq!((&status["username"], &status["server"]), (&json!("ann"), &json!(endpoint.url)));
}

#[test]
fn the_address_may_be_pasted_back() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    // One that leads elsewhere: nothing listens for it.
    let more = ["--redirect-uri", "https://app.example/done", "--scope", "read"];
    let (running, mut conversation, address) = begin(&endpoint, &cli, &more, "hm\n\n");
    let asked = query(&address);
    assert_eq!((asked["redirect_uri"].as_str(), asked["scope"].as_str()), ("https://app.example/done", "read"));
    conversation.line("That is no address");
    let pasted = format!("https://app.example/done?code=canary-code&state={}&iss={}\n", asked["state"], endpoint.url);
    conversation.stdin.write_all(pasted.as_bytes()).unwrap();
    let call = endpoint.expect("POST", "/token");
    assert_eq!(call.form()["redirect_uri"], "https://app.example/done");
    call.reply(Answer::json(200, &tokens(1)));
    running.finish().expect(0);
    assert_no_secret(&conversation.rest());
}

#[test]
fn an_answer_that_is_not_to_this_login_is_not_used() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let issuer = endpoint.url.as_str();
    for (answer, code, expected) in [
        (&[("code", "canary-code"), ("state", "other"), ("iss", issuer)][..], 6, "`state` is that of another login"),
        (&[("code", "canary-code"), ("iss", issuer)], 6, "no `state`"),
        (&[("code", "canary-code"), ("state", "STATE"), ("iss", "https://evil.example")], 6, "another server"),
        (&[("code", "canary-code"), ("state", "STATE")], 6, "no `iss`"),
        (
            &[
                ("error", "access_denied"),
                ("error_description", "no\u{1b}[31m\nway"),
                ("state", "STATE"),
                ("iss", issuer),
            ],
            4,
            "access_denied: no[31mway",
        ),
    ] {
        let (running, conversation, address) = begin(&endpoint, &cli, &[], "");
        let asked = query(&address);
        let answer: Vec<_> =
            answer.iter().map(|&(name, value)| (name, value.replace("STATE", &asked["state"]))).collect();
        let answer: Vec<_> = answer.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert!(come_back(&asked, &answer).starts_with("HTTP/1.1 200"));
        running.finish().expect(code).without_stdout();
        let said = conversation.rest();
        assert!(said.contains(expected), "{expected}: {said}");
        assert_no_secret(&said);
    }
    cli.run(&["status"]).expect(7);
}

#[test]
fn an_id_token_for_another_login_is_not_used() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let (running, conversation, address) = begin(&endpoint, &cli, &[], "");
    let asked = query(&address);
    come_back(&asked, &[("code", "canary-code"), ("state", &asked["state"]), ("iss", &endpoint.url)]);
    let mut answer = tokens(1);
    answer["id_token"] = id_token(&json!({"iss": endpoint.url, "aud": "cli", "nonce": "other", "sub": "42"})).into();
    endpoint.expect("POST", "/token").reply(Answer::json(200, &answer));
    running.finish().expect(6);
    assert!(conversation.rest().contains("`nonce` is that of another login"));
    cli.run(&["status"]).expect(7);
}

#[test]
fn a_browser_that_has_the_terminal_to_itself_gets_its_page() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    // A text browser by its name. It ends once the page has been shown.
    let browser = cli.path("w3m");
    let (sent_to, shown) = (cli.path("sent-to"), cli.path("shown"));
    let script = format!(
        "#!/bin/sh\nprintf %s \"$1\" > {0}.new && mv {0}.new {0}\nwhile ! [ -e {1} ]; do sleep 0.05; done\n",
        sent_to.display(),
        shown.display()
    );
    std::fs::write(&browser, script).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let cli = cli.with("BROWSER", browser.to_str().unwrap());
    let running = cli.start(&login(&endpoint, &[]));
    discover(&endpoint);
    crate::support::eventually("the browser's start", || sent_to.exists());
    let asked = query(&Url::parse(&std::fs::read_to_string(&sent_to).unwrap()).unwrap());
    let page = come_back(&asked, &[("code", "canary-code"), ("state", &asked["state"]), ("iss", &endpoint.url)]);
    assert!(page.contains("You may close this page"), "{page}");
    std::fs::write(&shown, "").unwrap();
    endpoint.expect("POST", "/token").reply(Answer::json(200, &tokens(1)));
    assert_no_secret(&running.finish().expect(0).without_stdout().stderr);
}

#[test]
fn standard_input_is_not_read_where_nobody_asked_for_that() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    // A flow with a browser, and no display to open one on.
    let input = "https://app.example/done?code=canary-code&state=other\n";
    let (running, mut conversation) = cli.start_conversation(&login(&endpoint, &["--flow", "browser"]), input);
    discover(&endpoint);
    let asked = query(&Url::parse(&conversation.line(&endpoint.url)).unwrap());
    come_back(&asked, &[("code", "canary-code"), ("state", &asked["state"]), ("iss", &endpoint.url)]);
    endpoint.expect("POST", "/token").reply(Answer::json(200, &tokens(1)));
    running.finish().expect(0);
    assert!(!conversation.rest().contains("paste"));
}

#[test]
fn a_display_decides_how_to_log_in_where_nobody_says() {
    let endpoint = Endpoint::start();
    for name in ["DISPLAY", "WAYLAND_DISPLAY"] {
        // No program there could open a browser, so the address is shown alone.
        let cli = Cli::new(&endpoint.url).with(name, ":99").with("PATH", "/nonexistent");
        let (running, mut conversation) = cli.start_conversation(&login(&endpoint, &[]), "");
        discover(&endpoint);
        conversation.line(&format!("{}/authorize?", endpoint.url));
        running.kill();
    }
    let cli = Cli::new(&endpoint.url).with("DISPLAY", "");
    let running = cli.start(&login(&endpoint, &[]));
    discover(&endpoint);
    endpoint.expect("POST", "/device").reply(Answer::error(400, "unauthorized_client"));
    running.finish().expect(4);
}
