//! Descriptions that cannot work, that miss, or that hold what nobody may see.

use std::thread;

use insta::assert_snapshot;
use serde_json::json;

use super::{LOGIN, described, log_in};
use crate::support::Answer;

#[test]
fn a_login_on_another_server_is_not_sent_in_clear_text_over_the_network() {
    let (endpoint, cli) = described("api.server = 'http://auth.example.com'");
    let refused = cli.run_with_input(&LOGIN, "password\n").expect(2);
    assert!(refused.stderr.contains("clear text"), "{}", refused.stderr);
    assert_eq!(endpoint.connections(), 0);
}

#[test]
fn constants_of_a_profile_are_shown_nowhere() {
    const KEY: &str = "canary-key-4711-of-an-api";
    let api = format!(
        "
        [profiles.default.api]
        login = {{ headers = {{ X-Client = '{KEY}' }}, fields = {{ client = {{ secrets = ['{KEY}'] }} }} }}
        refresh = {{ headers = {{ X-Client = '{KEY}' }}, fields = {{ client_secret = '{KEY}' }} }}
        logout = {{ headers = {{ X-Client = '{KEY}' }}, fields = {{ client_secret = '{KEY}' }} }}
        "
    );
    let check = |login: &Answer, refresh: &Answer| {
        let (endpoint, cli) = described(&api);
        let output = cli.start_with_input(&[&LOGIN[..], &["-vv"]].concat(), "password\n");
        let mut told = vec![output.finish_answering(&endpoint, |call| {
            assert!(String::from_utf8_lossy(&call.body).contains(KEY) && call.header("X-Client") == Some(KEY));
            call.reply(login.clone());
        })];
        for arguments in [["refresh", "-vv"], ["get", "/x"], ["status", "-vv"], ["logout", "-vv"]] {
            told.push(cli.start(&arguments).finish_answering(&endpoint, |call| call.reply(refresh.clone())));
        }
        for output in told {
            assert!(!output.stderr.contains("canary"), "{}", output.stderr);
            assert!(!output.text().contains("canary"));
        }
    };
    let echo = json!({"error": format!("what is {KEY}?")});
    let logins = [Answer::tokens("a1", "r1", 0.001), Answer::json(401, &echo), Answer::json(200, &echo)];
    let refreshes = [Answer::tokens("a2", "r2", 900.0), Answer::json(403, &echo), Answer::json(400, &echo)];
    thread::scope(|scope| {
        for login in &logins {
            for refresh in &refreshes {
                scope.spawn(|| check(login, refresh));
            }
        }
    });
}

#[test]
fn constants_below_a_table_are_shown_nowhere() {
    let api = "api.refresh.fields = { client = { secrets = ['canary-key-4711-of-an-api'] } }";
    let (endpoint, cli) = described(api);
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
    let refresh = cli.start(&["refresh"]);
    endpoint.expect("POST", "/refresh").reply(Answer::error(403, "who is canary-key-4711-of-an-api?"));
    let ended = refresh.finish().expect(7);
    assert!(!ended.stderr.contains("canary"), "{}", ended.stderr);
}

#[test]
fn the_query_of_a_path_is_shown_nowhere() {
    let (endpoint, cli) = described("api = { login.path = '/login?key=canary', refresh.path = '/refresh?key=canary' }");
    let login = cli.start_with_input(&[&LOGIN[..], &["-vv"]].concat(), "password\n");
    endpoint.expect("POST", "/login?key=canary").reply(Answer::new(404, ""));
    let failed = login.finish();
    assert!(failed.stderr.contains("/login answered 404") && !failed.stderr.contains("canary"), "{}", failed.stderr);
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
    let refresh = cli.start(&["refresh", "-vv"]);
    endpoint.expect("POST", "/refresh?key=canary").reply(Answer::new(403, ""));
    let failed = refresh.finish().expect(6);
    assert!(failed.stderr.contains("/refresh answered 403") && !failed.stderr.contains("canary"), "{}", failed.stderr);
    let stamp = std::fs::read_to_string(cli.entry().with_extension("stamp")).unwrap();
    assert!(stamp.contains("answered 403") && !stamp.contains("canary"), "{stamp}");
}

#[test]
fn a_description_that_cannot_work_is_refused_with_its_line_before_anything_is_sent() {
    for (api, expected) in [
        ("api.answer.access_token = 'token'", "must be a JSON Pointer (RFC 6901)"),
        ("api.answer.access_token = '/a~2'", "`~` is written `~0`"),
        ("api.refresh.token = 'header:'", "must name a header"),
        ("api.login.method = 'post'", "must be `POST`"),
        ("api.login.headers = { Host = 'x' }", "`host` is set by authcli"),
        ("api.login.headers = { Idempotency-Key = 'x' }", "`idempotency-key` is set by authcli"),
        ("api.token.header = 'Content-Length'", "`content-length` is set by authcli"),
        ("api.expired = [429]", "must be 200 or a status from 400 to 499"),
        ("api.expired = [302]", "must be 200 or a status from 400 to 499"),
        ("api.expired = [500]", "from 200 to 499"),
        ("api.expired = [200]", "200 refuses no request"),
        ("api.refresh.ended = [200]", "200 ends a session only with an error that `ended_errors` names"),
        ("api.refresh.method = 'GET'", "a GET request has no body"),
        ("api.login.username = 'password'", "two values for field `password`"),
        ("api.login.fields = { canary = 2020-01-01 }", "no date"),
    ] {
        let (endpoint, cli) = described(api);
        let refused = cli.run_with_input(&LOGIN, "password\n").expect(2);
        assert!(refused.stderr.contains(expected), "{api}: {}", refused.stderr);
        assert_eq!(endpoint.connections(), 0, "{api}");
    }
}

#[test]
fn a_pointer_that_misses_is_told_with_the_keys_that_are_there() {
    let (endpoint, cli) = described("api.answer.access_token = '/data/token'");
    let login = cli.start_with_input(&LOGIN, "password\n");
    let answer = json!({"data": {"tokens": {"access": "canary", "refresh": "canary"}}, "ok": true});
    endpoint.expect("POST", "/login").reply(Answer::json(200, &answer));
    let failed = login.finish().expect(6).without_stdout();
    assert_snapshot!(cli.settled(&failed.stderr), @r"
    error: could not log in
      caused by: [server]/login answered 200 OK with no text at `/data/token` (its keys: /data/tokens/access, /data/tokens/refresh, /ok)
    hint: where an API answers in another form, a profile says so: `authcli profile set api.answer.access_token POINTER`
    ");
}

#[test]
fn what_a_profile_promises_and_a_login_lacks_is_a_warning() {
    let (endpoint, cli) = described("api.answer = { refresh_token = '/refresh', expires_in = '/ttl' }");
    let answer = json!({"accessToken": "a1", "refreshToken": "r1"});
    let (_, login) = log_in(&endpoint, &cli, Answer::json(200, &answer));
    assert_snapshot!(cli.settled(&login.stderr), @r"
    warning: the answer to the login has no refresh token at `/refresh` (its keys: /accessToken, /refreshToken)
    warning: the answer to the login has no lifetime at `/ttl` (its keys: /accessToken, /refreshToken)
    Logged in to [server] as admin; tokens are in the file store
    ");
}

#[test]
fn a_refusal_that_is_none_names_what_is_there() {
    let (endpoint, cli) = described("api.answer.error = '/error/code'");
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
    let refresh = cli.start(&["refresh"]);
    endpoint.expect("POST", "/refresh").reply(Answer::json(403, &json!({"errors": [{"code": "canary"}]})));
    let failed = refresh.finish().expect(6);
    assert_snapshot!(cli.settled(&failed.stderr), @r"
    error: could not refresh the session
      caused by: [server]/refresh answered 403 Forbidden with nothing at `/error/code` (its keys: /errors/0/code)
    hint: the session stands; try again later
    ");
}

#[test]
fn each_setting_is_set_by_a_command_and_constants_are_shown_by_name_alone() {
    let (_endpoint, cli) = described("");
    let set = |key: &str, value: &str| cli.run(&["profile", "set", key, value]);
    set("api.answer.access_token", "/data/token").expect(0).silent();
    set("api.expired", "401,419").expect(0).silent();
    set("api.login.headers", "{ X-Api-Key = \"canary\" }").expect(0).silent();
    // A secret comes from a pipe; exactly one newline at its end is not part of it.
    cli.run_with_input(&["profile", "set", "api.refresh.headers", "-"], "{ X-Api-Key = \"canary\" }\n")
        .expect(0)
        .silent();
    cli.run_with_input(&["profile", "set", "api.login.username", "-"], "name\n\n").expect(0).silent();
    let shown = cli.run(&["profile", "show", "--json"]).expect(0).json();
    assert_eq!(shown["api"]["login"]["username"], "name\n", "{shown}");
    let text = std::fs::read_to_string(cli.configuration().join("config.toml")).unwrap();
    assert_eq!(text.matches("canary").count(), 2, "{text}");
    cli.run_with_input(&["profile", "set", "api.login.username", "-"], "").expect(2);
    cli.run(&["profile", "set", "api.login.username", "--unset"]).expect(0);
    let refused = set("api.answer.access_token", "data/token").expect(2);
    assert!(refused.stderr.contains("must be a JSON Pointer (RFC 6901)"), "{}", refused.stderr);
    let shown = cli.run(&["profile", "show", "--json"]).expect(0).json();
    assert_eq!(shown["api"]["login"]["headers"], json!({"X-Api-Key": "[hidden]"}), "{shown}");
    assert_eq!(shown["api"]["expired"], json!([401, 419]), "{shown}");
    assert!(!cli.run(&["profile", "show"]).expect(0).text().contains("canary"));
}
