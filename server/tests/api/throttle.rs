//! The throttle from outside: what guesses run into, and who does not.

use std::net::IpAddr;
use std::sync::Arc;

use authcli_server::auth::{Auth, LoginError};
use authcli_server::domain::Password;
use authcli_server::routes::TrustedProxies;
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;

use crate::helpers::{Backend, TestApp, on_both_stores, spawn_app_on};

on_both_stores!(
    e7_guesses_are_refused_unheard_after_ten_and_one_more_is_heard_after_a_while,
    an_unknown_name_is_answered_like_a_known_one,
    of_many_guesses_at_once_on_two_servers_ten_are_heard,
    logins_that_are_right_are_never_refused,
    a_login_that_nobody_could_decide_is_no_failure,
    logins_that_are_right_wait_for_each_other_where_there_is_room_for_one_alone,
    a_network_that_sprays_is_refused_and_the_owner_in_it_is_not,
    e7_strangers_do_not_lock_out_the_owner,
    e7_behind_a_trusted_proxy_strangers_do_not_lock_out_the_owner,
);

/// What a login is answered: the status, when to come back, the body.
async fn login(app: &TestApp, name: &str, password: &str) -> (u16, Option<u64>, String) {
    let response = app.post("/login", &json!({ "username": name, "password": password })).await;
    let retry_after = response.headers().get("retry-after").map(|value| value.to_str().unwrap().parse().unwrap());
    (response.status().as_u16(), retry_after, response.text().await.unwrap())
}

/// The same as a proxy passes it on that was called from this address: the status.
async fn status_through_a_proxy(app: &TestApp, client: &str, name: &str, password: &str) -> u16 {
    let login = app.request(Method::POST, "/login").json(&json!({ "username": name, "password": password }));
    login.header("X-Forwarded-For", client).send().await.unwrap().status().as_u16()
}

/// Tries once from an address: 200, 401 or 429.
async fn status_from(auth: &Arc<Auth>, address: &str, name: &str, password: &str) -> u16 {
    let address: IpAddr = address.parse().unwrap();
    match auth.login(name, Password::presented(password.to_owned()), address).await {
        Ok(_) => 200,
        Err(LoginError::Refused) => 401,
        Err(LoginError::Throttled { .. }) => 429,
        Err(error) => panic!("{error}"),
    }
}

/// People type passwords where the name belongs.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_alarm_is_raised_once_and_neither_log_nor_database_holds_what_was_typed() {
    use crate::program::{Place, Program};

    const TYPED: &str = "canary-that-was-typed";
    let place = Place::new();
    let database = place.database("a.db");
    let serve = ["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &database];
    let mut command = place.command(&serve);
    command.env("AUTHCLI_SERVER_LOG", "debug");
    let server = Program::start(command);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    for (name, tries) in [(TYPED, 30), ("admin", 30)] {
        for at in 0..tries {
            let body = json!({ "username": name, "password": format!("{TYPED}-{at}") });
            let answer = client.post(format!("{}/login", server.url)).json(&body).send().await.unwrap();
            assert_eq!(answer.status(), if at < 10 { 401 } else { 429 }, "{name} {at}");
        }
    }
    for name in ["a.db", "a.db-wal"] {
        let bytes = std::fs::read(place.path(name)).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"canary"), "{name}");
    }
    let log = server.stop().stderr;
    let alarms: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert_eq!(alarms.len(), 2, "{log}");
    assert!(alarms[0].contains("too many failed logins to an unknown name"), "{}", alarms[0]);
    assert!(alarms[1].contains("user_id=1") && alarms[1].contains("network=127.0.0.1"), "{}", alarms[1]);
    assert!(!log.contains("canary"), "{log}");
}

async fn e7_guesses_are_refused_unheard_after_ten_and_one_more_is_heard_after_a_while(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    for _ in 0..10 {
        assert_eq!(login(&app, "admin", "guess").await.0, 401);
    }
    for password in ["guess", "123456"] {
        let (status, retry_after, body) = login(&app, "admin", password).await;
        assert_eq!((status, body.as_str()), (429, r#"{"error":"Too many failed logins"}"#));
        assert!((200..=300).contains(&retry_after.unwrap()), "{retry_after:?}");
    }
    assert_eq!(login(&app, "user2", "password2").await.0, 200, "another account is not concerned");
    app.db_execute("UPDATE login_attempts SET empty_at = empty_at - 300000").await;
    assert_eq!(login(&app, "admin", "guess").await.0, 401);
    assert_eq!(login(&app, "admin", "guess").await.0, 429);
    app.db_execute("UPDATE login_attempts SET empty_at = empty_at - 300000").await;
    assert_eq!(login(&app, "admin", "123456").await.0, 200);
}

async fn an_unknown_name_is_answered_like_a_known_one(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let name_that_nobody_can_have = "\n".repeat(100);
    for name in ["admin", "nobody", "", &name_that_nobody_can_have] {
        let mut answers = Vec::new();
        for _ in 0..12 {
            let (status, retry_after, body) = login(&app, name, "guess").await;
            answers.push((status, retry_after.is_some(), body));
        }
        let wrong = (401, false, r#"{"error":"Invalid username or password"}"#.to_owned());
        let throttled = (429, true, r#"{"error":"Too many failed logins"}"#.to_owned());
        assert_eq!(answers[..10], vec![wrong; 10], "{name:?}");
        assert_eq!(answers[10..], vec![throttled; 2], "{name:?}");
    }
}

async fn of_many_guesses_at_once_on_two_servers_ten_are_heard(backend: Backend) {
    let one = spawn_app_on(backend, |_| {}).await;
    let two = one.sibling().await;
    for name in ["admin", "nobody"] {
        let guesses = (0..64).map(|at| login(if at % 2 == 0 { &one } else { &two }, name, "guess"));
        let statuses: Vec<u16> = join_all(guesses).await.into_iter().map(|answer| answer.0).collect();
        let count = |status| statuses.iter().filter(|one| **one == status).count();
        assert_eq!((count(401), count(429)), (10, 54), "{statuses:?}");
    }
}

async fn logins_that_are_right_are_never_refused(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    for _ in 0..20 {
        app.login().await;
    }
    // From a strange address as well, and many at once.
    let auth = app.auth().await;
    let logins = (0..64).map(|_| status_from(&auth, "203.0.113.7", "user2", "password2"));
    assert_eq!(join_all(logins).await, [200; 64]);
    // All of them were given back.
    let mut guesses = Vec::new();
    for _ in 0..11 {
        guesses.push(status_from(&auth, "198.51.100.1", "user2", "guess").await);
    }
    assert_eq!(guesses, [[401; 10].as_slice(), &[429]].concat());
}

async fn a_login_that_nobody_could_decide_is_no_failure(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    // Nobody can compare a password with this.
    app.db_execute("UPDATE users SET password_hash = 'x' || password_hash WHERE name = 'admin'").await;
    for _ in 0..11 {
        assert_eq!(login(&app, "admin", "123456").await.0, 500);
    }
    app.db_execute("UPDATE users SET password_hash = substr(password_hash, 2) WHERE name = 'admin'").await;
    assert_eq!(login(&app, "admin", "123456").await.0, 200);
}

async fn logins_that_are_right_wait_for_each_other_where_there_is_room_for_one_alone(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let auth = app.auth().await;
    for _ in 0..9 {
        assert_eq!(status_from(&auth, "203.0.113.7", "user2", "guess").await, 401);
    }
    let logins = (0..16).map(|at| {
        let (auth, address) = (Arc::clone(&auth), format!("198.51.{at}.1"));
        tokio::spawn(async move { status_from(&auth, &address, "user2", "password2").await })
    });
    let statuses: Vec<u16> = join_all(logins).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(statuses, [200; 16]);
    // A guess among them is one failure, and the last that there is room for.
    let logins = [("192.0.2.1", "password2"), ("192.0.3.1", "guess"), ("192.0.4.1", "password2")];
    join_all(logins.map(|(address, password)| status_from(&auth, address, "user2", password))).await;
    assert_eq!(status_from(&auth, "192.0.5.1", "user2", "password2").await, 429);
}

async fn a_network_that_sprays_is_refused_and_the_owner_in_it_is_not(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let auth = app.auth().await;
    assert_eq!(status_from(&auth, "203.0.113.7", "admin", "123456").await, 200);
    for at in 0..100 {
        let neighbour = format!("203.0.113.{at}");
        assert_eq!(status_from(&auth, &neighbour, &format!("name {at}"), "guess").await, 401, "{at}");
    }
    assert_eq!(status_from(&auth, "203.0.113.200", "name 200", "guess").await, 429);
    assert_eq!(status_from(&auth, "203.0.113.200", "user2", "password2").await, 429);
    assert_eq!(status_from(&auth, "203.0.113.7", "admin", "123456").await, 200, "known here");
    assert_eq!(status_from(&auth, "203.0.114.7", "user2", "password2").await, 200, "elsewhere");
    // One that knows a password of its own does not get more guesses by logging in.
    assert_eq!(status_from(&auth, "203.0.113.200", "name 200", "guess").await, 429);
}

async fn e7_strangers_do_not_lock_out_the_owner(backend: Backend) {
    let app = spawn_app_on(backend, |_| {}).await;
    let auth = app.auth().await;
    assert_eq!(status_from(&auth, "2001:db8:1:2::3", "admin", "123456").await, 200);
    for at in 0..30 {
        let heard = status_from(&auth, &format!("198.51.{at}.1"), "admin", "guess").await;
        assert_eq!(heard, if at < 10 { 401 } else { 429 }, "{at}");
    }
    assert_eq!(status_from(&auth, "198.51.99.1", "admin", "123456").await, 429, "no change of the address helps");
    for password in ["typo", "123456", "typo", "123456"] {
        let expected = if password == "typo" { 401 } else { 200 };
        assert_eq!(status_from(&auth, "2001:db8:1:2:ffff::1", "admin", password).await, expected);
    }
}

async fn e7_behind_a_trusted_proxy_strangers_do_not_lock_out_the_owner(backend: Backend) {
    let app = spawn_app_on(backend, |config| config.proxies = TrustedProxies::parse(&["127.0.0.1"]).unwrap()).await;
    assert_eq!(status_through_a_proxy(&app, "203.0.113.7", "admin", "123456").await, 200);
    for at in 0..30 {
        // It may say that it is the owner as often as it likes: what the proxy adds is to the right of that.
        let stranger = format!("203.0.113.7, 198.51.{at}.1");
        let heard = status_through_a_proxy(&app, &stranger, "admin", "guess").await;
        assert_eq!(heard, if at < 10 { 401 } else { 429 }, "{at}");
    }
    for password in ["typo", "123456", "typo", "123456"] {
        let expected = if password == "typo" { 401 } else { 200 };
        assert_eq!(status_through_a_proxy(&app, "203.0.113.7", "admin", password).await, expected);
    }
    // A network that sprays is one behind the proxy too, and others behind it are not.
    for at in 0..100 {
        assert_eq!(status_through_a_proxy(&app, "192.0.2.1", &format!("name {at}"), "guess").await, 401, "{at}");
    }
    assert_eq!(status_through_a_proxy(&app, "192.0.2.2", "user2", "password2").await, 429);
    assert_eq!(status_through_a_proxy(&app, "192.0.3.2", "user2", "password2").await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_may_say_where_it_calls_from() {
    let app = spawn_app_on(Backend::Sqlite, |_| {}).await;
    // Believed, they would come from a network that is full after a hundred.
    for at in 0..101 {
        assert_eq!(status_through_a_proxy(&app, "192.0.2.1", &format!("name {at}"), "guess").await, 401, "{at}");
    }
}
