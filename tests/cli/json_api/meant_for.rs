//! What a profile holds for one server goes to no other.

use serde_json::json;

use super::{LOGIN, described, log_in};
use crate::support::{Answer, Endpoint};

const CONSTANTS: &str = "
    [profiles.default.api.refresh]
    headers = { X-Key = 'canary' }
    [profiles.default.api.logout]
    headers = { X-Key = 'canary' }
    fields = { client_secret = 'canary' }
    ";

#[test]
fn a_logout_takes_no_constants_to_a_server_that_the_profile_no_longer_names() {
    let (endpoint, cli) = described(CONSTANTS);
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 900.0));
    let cli = cli.without("AUTHCLI_SERVER");
    cli.run(&["profile", "set", "server", "http://127.0.0.1:1"]).expect(0);
    let logout = cli.start(&["logout"]);
    let call = endpoint.expect("POST", "/logout");
    assert_eq!((call.body.as_slice(), call.header("X-Key")), (&b"{\"refreshToken\":\"r1\"}"[..], None));
    call.reply(Answer::new(204, ""));
    logout.finish().expect(0);
}

#[test]
fn the_session_before_is_revoked_without_the_constants_of_the_server_after() {
    let (before, cli) = described(CONSTANTS);
    log_in(&before, &cli, Answer::tokens("a1", "r1", 900.0));
    let after = Endpoint::start();
    let cli = cli.without("AUTHCLI_SERVER");
    cli.run(&["profile", "set", "server", &after.url]).expect(0);
    let login = cli.start_with_input(&LOGIN, "pass word\n");
    after.expect("POST", "/login").reply(Answer::tokens("b1", "s1", 900.0));
    let call = before.expect("POST", "/logout");
    assert_eq!((call.body.as_slice(), call.header("X-Key")), (&b"{\"refreshToken\":\"r1\"}"[..], None));
    call.reply(Answer::new(204, ""));
    login.finish().expect(0);
    // Its own server gets them.
    let logout = cli.start(&["logout"]);
    let call = after.expect("POST", "/logout");
    assert_eq!(call.header("X-Key"), Some("canary"));
    call.reply(Answer::new(204, ""));
    logout.finish().expect(0);
}

#[test]
fn a_refresh_whose_constants_are_for_another_server_is_not_sent() {
    let (endpoint, cli) = described(CONSTANTS);
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
    cli.run(&["profile", "set", "api.server", "http://127.0.0.1:1"]).expect(0);
    let before = endpoint.connections();
    let failed = cli.run(&["refresh"]).expect(1);
    assert!(
        failed.stderr.contains("`api.refresh`: its fields and headers are for http://127.0.0.1:1"),
        "{}",
        failed.stderr
    );
    assert!(failed.stderr.contains("the session stands"), "{}", failed.stderr);
    assert_eq!((endpoint.connections(), &cli.stored()["refresh_token"]), (before, &json!("r1")));
}

#[test]
fn a_login_at_another_server_takes_nothing_to_the_one_that_the_profile_describes() {
    let (api, auth, other) = (Endpoint::start(), Endpoint::start(), Endpoint::start());
    for described in [format!("api.server = '{}'", auth.url), "api.login.headers = { X-Key = 'canary' }".to_owned()] {
        let cli = crate::support::Cli::new(&api.url);
        cli.configure(&format!("[profiles.default]\nserver = '{}'\n{described}\n", api.url));
        let login = [&LOGIN[..], &["--server", &other.url]].concat();
        let refused = cli.run_with_input(&login, "pass word\n").expect(2);
        assert!(refused.stderr.contains("describes the API of"), "{}", refused.stderr);
        assert!(refused.stderr.contains("hint: log in with another profile"), "{}", refused.stderr);
        assert_eq!([&api, &auth, &other].map(Endpoint::connections), [0; 3]);
    }
}
