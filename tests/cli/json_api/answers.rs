//! What answers in the wild come to.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{LOGIN, described, log_in};
use crate::support::Answer;

#[test]
fn a_refresh_without_a_new_refresh_token_keeps_the_old_one() {
    for answer in [
        json!({"accessToken": "a2", "expiresIn": 0.001}),
        json!({"accessToken": "a2", "refreshToken": null, "expiresIn": 0.001}),
        json!({"accessToken": "a2", "refreshToken": "", "expiresIn": 0.001}),
        json!({"accessToken": "a2", "refreshToken": "r1", "expiresIn": 0.001}),
    ] {
        let (endpoint, cli) = described("");
        log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
        for answer in [answer, json!({"accessToken": "a3", "expiresIn": 900})] {
            let refresh = cli.start(&["refresh"]);
            let call = endpoint.expect("POST", "/refresh");
            assert_eq!(call.refresh_token(), "r1");
            call.reply(Answer::json(200, &answer));
            refresh.finish().expect(0);
        }
    }
}

#[test]
fn the_statuses_that_mean_expired_are_the_profiles() {
    let (endpoint, cli) = described("api.expired = [419]");
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 900.0));
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::error(419, "expired"));
    endpoint.expect("POST", "/refresh").reply(Answer::tokens("a2", "r2", 900.0));
    let call = endpoint.expect("GET", "/x");
    assert_eq!(call.bearer(), Some("a2"));
    call.reply(Answer::new(200, "fine"));
    assert_eq!(get.finish().expect(0).text(), "fine");
    for status in [401, 403] {
        let get = cli.start(&["get", "/x"]);
        endpoint.expect("GET", "/x").reply(Answer::error(status, "not yours"));
        get.finish().expect(4);
    }
}

#[test]
fn a_refused_session_is_ended_only_where_the_server_knows_attempts_and_the_call_ends_no_more() {
    for (api, ends) in [
        ("api.login.path = '/login'", true),
        ("api.refresh.safe_to_repeat = false", false),
        ("api.logout.access_token = 'header:Authorization'", false),
        ("api.logout.enabled = false", false),
    ] {
        let (endpoint, cli) = described(api);
        log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
        let get = cli.start(&["get", "/x"]);
        if ends {
            endpoint.refuse_refresh();
        } else {
            // Another call would be one that nobody expects.
            endpoint.expect("POST", "/refresh").reply(Answer::error(403, "Invalid refresh token"));
        }
        get.finish().expect(7);
    }
}

#[test]
fn what_is_not_safe_to_repeat_is_not_repeated_but_the_session_stands() {
    // An API of another shape is not known to be safe; one that refreshes as most do is.
    for (api, tries) in [
        ("api.refresh.safe_to_repeat = false", 1),
        ("api.refresh.path = '/renew'", 1),
        ("api.refresh = { path = '/renew', safe_to_repeat = true }", 3),
        ("api.expired = [401]", 3),
        ("api.body = 'form'", 1),
        ("api.refresh.fields = { client_id = 'cli' }", 1),
        ("api.refresh.access_token = 'header:X-Access'", 1),
        ("api.refresh.ended = [409]", 1),
    ] {
        for fault in [None, Some(Answer::new(500, "")), Some(Answer::new(200, "{\"acc"))] {
            let (endpoint, cli) = described(api);
            log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
            let mut keys = Vec::new();
            let failed = cli.start(&["refresh"]).finish_answering(&endpoint, |call| {
                keys.push(call.header("Idempotency-Key").unwrap().to_owned());
                match &fault {
                    Some(answer) => call.reply(answer.clone()),
                    None => call.hang_up(),
                }
            });
            failed.expect(6);
            assert_eq!(keys.len(), tries, "{api} {fault:?}");
            assert!(keys.iter().all(|key| *key == keys[0]));
            assert_eq!(cli.stored()["refresh_token"], "r1");
        }
    }
}

#[test]
fn lifetimes_in_the_wild_lose_no_session() {
    for (stated, known) in [
        (json!(null), false),
        (json!(-1), false),
        (json!(0), false),
        (json!("900"), true),
        (json!(1e300), true),
        (json!("soon"), false),
        (json!({"seconds": 900}), false),
    ] {
        let (endpoint, cli) = described("");
        let answer = json!({"accessToken": "a1", "refreshToken": "r1", "expiresIn": stated});
        log_in(&endpoint, &cli, Answer::json(200, &answer));
        let status = cli.run(&["status", "--json"]).expect(0).json();
        assert_eq!(!status["access_token_expires_at"].is_null(), known, "{stated}");
        // Used until it is refused, and renewed then.
        let get = cli.start(&["get", "/x"]);
        endpoint.expect("GET", "/x").reply(Answer::error(401, "expired"));
        endpoint.expect("POST", "/refresh").reply(Answer::json(200, &answer));
        endpoint.expect("GET", "/x").reply(Answer::new(200, "fine"));
        get.finish().expect(0);
    }
}

#[test]
fn only_what_the_profile_calls_the_end_ends_a_session() {
    let api = "api = { answer = { error = '/meta/code' }, refresh = { ended = [200, 419], ended_errors = ['4010', 'over'] } }";
    let over = |code: Value| json!({"meta": {"code": code}});
    for (answer, code) in [
        (Answer::json(419, &over(json!("over"))), 7),
        (Answer::json(200, &over(json!(4010))), 7),
        (Answer::json(419, &over(json!("busy"))), 6),
        (Answer::json(200, &over(json!(5000))), 6),
        (Answer::json(401, &over(json!("over"))), 6),
        (Answer::new(419, "<html>over</html>"), 6),
        (Answer::new(419, "{\"meta\":{\"code\":\"o\\u0000ver"), 6),
        (Answer::error(403, "Invalid refresh token"), 6),
        (Answer::json(200, &json!({"meta": {"code": 0}, "renamed": "canary"})), 6),
    ] {
        let (endpoint, cli) = described(api);
        log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
        let refresh = cli.start(&["refresh"]).finish_answering(&endpoint, |call| call.reply(answer.clone()));
        refresh.expect(code);
        let status = cli.run(&["status"]);
        assert_eq!(status.code, Some(if code == 7 { 7 } else { 0 }), "{answer:?}");
    }
}

#[test]
fn what_a_gateway_says_in_the_servers_place_ends_no_session() {
    for answer in [
        Answer::json(403, &json!({"error": {}})),
        Answer::json(403, &json!({"error": []})),
        Answer::json(403, &json!({"error": 0})),
        Answer::json(403, &json!({"error": 403})),
        Answer::json(403, &json!({"status": 403, "error": "Forbidden", "path": "/refresh"})),
        Answer::error(401, "unauthorized"),
        Answer::error(403, "403 Forbidden"),
        Answer::error(400, "temporarily_unavailable"),
        Answer::error(400, "server_error"),
        Answer::error(400, "slow_down"),
        Answer::error(403, "too many of you").with("Retry-After", "5"),
    ] {
        let (endpoint, cli) = described("");
        log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 0.001));
        let refresh = cli.start(&["refresh"]).finish_answering(&endpoint, |call| call.reply(answer.clone()));
        refresh.expect(6);
        assert_eq!(cli.stored()["refresh_token"], "r1", "{answer:?}");
    }
}

#[test]
fn a_success_without_tokens_names_what_is_missed_and_may_have_spent_the_token() {
    let api = "api = { answer = { error = '/code', access_token = '/data/token' }, refresh = { ended = [200], ended_errors = ['4010'] } }";
    let missed = "200 OK with no text at `/data/token` (its keys: /code, /data/tok)";
    for code in [json!(0), json!(200), json!("ok")] {
        let answer = Answer::json(200, &json!({"code": code, "data": {"tok": "canary"}}));
        let (endpoint, cli) = described(api);
        if code.is_number() {
            let login = cli.start_with_input(&LOGIN, "password\n");
            endpoint.expect("POST", "/login").reply(answer.clone());
            let failed = login.finish();
            assert_ne!(failed.code, Some(4), "nobody refused it");
            assert!(failed.stderr.contains(missed), "{}", failed.stderr);
        }
        log_in(&endpoint, &cli, Answer::json(200, &json!({"data": {"token": "a1"}, "refreshToken": "r1"})));
        let refresh = cli.start(&["refresh"]).finish_answering(&endpoint, |call| call.reply(answer.clone()));
        assert!(refresh.expect(6).stderr.contains(missed));
        // Should the session be refused next, this may be why: the others are told.
        let stamp = std::fs::read(cli.entry().with_extension("stamp")).unwrap();
        let stamp: Value = serde_json::from_slice(&stamp).unwrap();
        assert!(stamp["renewing"].is_object(), "{stamp}");
    }
}

#[test]
fn a_refresh_that_lacks_the_refresh_token_it_should_bring_says_so_when_asked() {
    let (endpoint, cli) = described("api.answer.refresh_token = '/refresh'");
    log_in(&endpoint, &cli, Answer::json(200, &json!({"accessToken": "a1", "refresh": "r1"})));
    let refresh = cli.start(&["refresh", "-v"]);
    endpoint.expect("POST", "/refresh").reply(Answer::json(200, &json!({"accessToken": "a2", "refreshed": "r2"})));
    let told = refresh.finish().expect(0).stderr;
    assert!(told.contains("no refresh token at `/refresh` (its keys: /accessToken, /refreshed)"), "{told}");
}

#[test]
fn a_login_that_is_refused_says_why_in_the_servers_words() {
    let (endpoint, cli) = described("api.answer.error = '/errors/0/detail'");
    for status in [400, 401, 403, 422] {
        let login = cli.start_with_input(&LOGIN, "password\n");
        let answer = json!({"errors": [{"detail": "no\u{1b}[31m such\nuser"}]});
        endpoint.expect("POST", "/login").reply(Answer::json(status, &answer));
        let failed = login.finish().expect(4);
        assert!(failed.stderr.contains("refused the login: no[31m suchuser"), "{}", failed.stderr);
    }
}

#[test]
fn a_refresh_token_that_is_not_good_yet_is_kept_until_it_is() {
    use base64::Engine as _;

    // Redeemed before its time, such a token would end the session.
    let claims = json!({"iat": 1_000, "nbf": 1_840}).to_string();
    let refresh_token =
        format!("e30.{}.c2ln", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.as_bytes()));
    let (endpoint, cli) = described("");
    log_in(&endpoint, &cli, Answer::tokens("a1", &refresh_token, 900.0));
    let early = cli.run(&["refresh"]).expect(6);
    assert!(early.stderr.contains("the refresh token is not good yet"), "{}", early.stderr);
    assert!(early.stderr.contains("hint: the session stands; try again in"), "{}", early.stderr);
    // A refusal of the live token is no reason either.
    let get = cli.start(&["get", "/x"]);
    endpoint.expect("GET", "/x").reply(Answer::error(403, "not yours"));
    let refused = get.finish().expect(4);
    assert!(refused.stderr.contains("the refresh token is not good yet"), "{}", refused.stderr);
    cli.let_pass(SignedDuration::from_secs(845));
    let refresh = cli.start(&["refresh"]);
    let call = endpoint.expect("POST", "/refresh");
    assert_eq!(call.refresh_token(), refresh_token);
    call.reply(Answer::tokens("a2", "r2", 900.0));
    refresh.finish().expect(0);
}

#[test]
fn a_refresh_token_that_stays_is_as_old_as_it_is() {
    use base64::Engine as _;

    let claims = json!({"iat": 1_000, "nbf": 1_030, "exp": 1_900}).to_string();
    let kept = format!("e30.{}.c2ln", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(claims.as_bytes()));
    let (endpoint, cli) = described("");
    log_in(&endpoint, &cli, Answer::tokens("a1", &kept, 900.0));
    let ends = || cli.run(&["status", "--json"]).expect(0).json()["refresh_token_expires_at"].clone();
    cli.let_pass(SignedDuration::from_secs(40));
    let at = ends();
    assert!(at.is_string(), "{at}");
    let refresh = |answer: Value| {
        let refresh = cli.start(&["refresh"]).finish_answering(&endpoint, |call| {
            assert_eq!(call.refresh_token(), kept);
            call.reply(Answer::json(200, &answer));
        });
        refresh.expect(0);
    };
    // Good since before the first of these: nothing begins anew.
    refresh(json!({"accessToken": "a2", "expiresIn": 900}));
    assert_eq!(ends(), at);
    refresh(json!({"accessToken": "a3", "refreshToken": kept, "expiresIn": 900}));
    assert_eq!(ends(), at);
    // Unless the server says so.
    refresh(json!({"accessToken": "a4", "expiresIn": 900, "refreshExpiresIn": 7200}));
    assert!(ends().as_str() > at.as_str());
}

#[test]
fn a_burst_across_an_expiry_is_one_refresh_in_any_shape() {
    let api = "
        [profiles.default.api]
        token = { header = 'X-Token' }
        expired = [440]
        refresh = { path = '/renew', token = 'header:X-Refresh' }
        ";
    let (endpoint, cli) = described(api);
    log_in(&endpoint, &cli, Answer::tokens("a1", "r1", 900.0));
    let mut refreshes = 0;
    let burst = cli.start(&["burst", "-n", "50", "-c", "10", "/x", "--json"]);
    let report = burst.finish_answering(&endpoint, |call| match call.path.as_str() {
        "/renew" => {
            refreshes += 1;
            assert_eq!(call.header("X-Refresh"), Some("r1"));
            call.reply(Answer::tokens("a2", "r2", 900.0));
        }
        // The old token is dead from the first call on.
        _ if call.header("X-Token") == Some("a2") => call.reply(Answer::new(200, "fine")),
        _ => call.reply(Answer::new(440, "")),
    });
    let report = report.expect(0).json();
    assert_eq!((refreshes, &report["succeeded"], &report["refreshes"]), (1, &json!(50), &json!(1)), "{report}");
}
