//! Whoever gets a copy of the database, its raw files or all logs finds no secret in them, in no spelling.

mod scene;
mod spellings;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Method};
use rustix::process::Signal;
use serde_json::json;

use self::scene::{Scene, post};
use self::spellings::hexadecimal;
use crate::helpers::{Backend, eventually, on_both_stores};
use crate::program::Program;

on_both_stores!(r8_database_files_and_logs_hold_no_secret);

const FIRST_PASSWORD: &str = "the first password of anna";
const SECOND_PASSWORD: &str = "the second password of anna";
const BERTS_PASSWORD: &str = "another one, of bert's";
const MISTYPED: &str = "the frist password of anna";
const GUESSED_NAME: &str = "a name that nobody here has";

async fn live(scene: &mut Scene) {
    for (name, password) in [("anna", FIRST_PASSWORD), ("bert", BERTS_PASSWORD)] {
        scene.run(&["user", "add", name, "--password-stdin"], password);
    }
    for password in [FIRST_PASSWORD, SECOND_PASSWORD, BERTS_PASSWORD, MISTYPED] {
        scene.secrets.add("a password", password.as_bytes());
    }
    let server = scene.start();
    scene.add_peppers();
    scene.add_signing_keys().await;
    let key = |number: u8| format!("an-attempt-key-of-the-test-{number}");

    // Refreshed with keys and without, repeated, late, forged; then stolen.
    let first = scene.login(&server, "anna", FIRST_PASSWORD).await.unwrap();
    let second = scene.refresh(&server, &first, Some(&key(1))).await.unwrap();
    assert_eq!(scene.refresh(&server, &first, Some(&key(1))).await.as_ref(), Some(&second));
    let third = scene.refresh(&server, &second, Some(&key(2))).await.unwrap();
    assert_eq!(scene.refresh(&server, &first, Some(&key(1))).await, None, "late");
    let other = if third.ends_with('A') { 'E' } else { 'A' };
    let forged = format!("{}{other}", &third[..third.len() - 1]);
    assert_eq!(scene.refresh(&server, &forged, Some(&key(3))).await, None, "forged");
    let fourth = scene.refresh(&server, &third, None).await.unwrap();
    assert_eq!(scene.refresh(&server, &first, Some(&key(4))).await, None, "stolen");
    assert_eq!(scene.refresh(&server, &fourth, Some(&key(5))).await, None, "over");

    // Logged out; mistyped; a password in the place of the name.
    let other = scene.login(&server, "anna", FIRST_PASSWORD).await.unwrap();
    post(&server, "/logout", Some(&key(6)), &json!({ "refreshToken": other })).await;
    scene.secrets.add("an attempt key", key(6).as_bytes());
    for (name, password) in [("anna", MISTYPED), (FIRST_PASSWORD, MISTYPED), ("nobody", SECOND_PASSWORD)] {
        assert_eq!(scene.login(&server, name, password).await, None);
    }

    // Guessed at, until nobody listens any more.
    scene.secrets.add("a name that was typed", GUESSED_NAME.as_bytes());
    for _ in 0..11 {
        assert_eq!(scene.login(&server, GUESSED_NAME, MISTYPED).await, None);
    }

    // Keys, passwords and sessions are changed beside the server.
    let kept = scene.login(&server, "bert", BERTS_PASSWORD).await.unwrap();
    let ended = scene.login(&server, "anna", FIRST_PASSWORD).await.unwrap();
    scene.run(&["keys", "rotate"], "");
    scene.add_signing_keys().await;
    scene.run(&["keys", "rotate", "--now"], "");
    scene.add_signing_keys().await;
    scene.run(&["keys", "list"], "");
    scene.run(&["user", "password", "anna", "--password-stdin"], SECOND_PASSWORD);
    assert_eq!(scene.refresh(&server, &ended, Some(&key(7))).await, None);
    scene.login(&server, "anna", SECOND_PASSWORD).await.unwrap();
    scene.run(&["sessions", "revoke", "--user", "anna"], "");
    let client = Client::builder().no_proxy().build().unwrap();
    client.request(Method::DELETE, format!("{}/sessions/{kept}", server.url)).send().await.unwrap();

    // The database goes away, and comes back.
    if scene.cluster.is_some() {
        outage(scene, &server, &kept).await;
    }

    // The pepper is replaced, the server dies and begins anew.
    scene.run(&["pepper", "rotate"], "");
    scene.add_peppers();
    server.signal(Signal::KILL);
    scene.logs += &server.end().stderr;
    let server = scene.start();
    scene.run(&["keys", "rotate", "--now"], "");
    scene.add_signing_keys().await;
    let newest = scene.login(&server, "bert", BERTS_PASSWORD).await.unwrap();
    let newest = scene.refresh(&server, &newest, Some(&key(10))).await.unwrap();
    assert!(scene.refresh(&server, &newest, None).await.is_some());
    assert!(scene.refresh(&server, &kept, Some(&key(8))).await.is_some());
    assert_eq!(scene.refresh(&server, &kept, Some(&key(9))).await, None);

    // As it lies there while the server runs.
    if scene.database.starts_with("sqlite:") {
        assert!(scene.place.path("a.db-wal").metadata().unwrap().len() > 0);
    }
    let files = scene.files().await;
    assert_eq!(scene.secrets.found_in(&files), BTreeSet::new());
    assert!(!files.is_empty());
    scene.logs += &server.stop().stderr;
}

/// Each call fails, with all its causes in the log.
async fn outage(scene: &mut Scene, server: &Program, token: &str) {
    let cluster = scene.cluster.take().unwrap();
    tokio::task::block_in_place(|| cluster.crash());
    assert_eq!(scene.login(server, "bert", BERTS_PASSWORD).await, None);
    for path in ["/refresh", "/logout"] {
        post(server, path, Some("an-attempt-key-of-an-outage"), &json!({ "refreshToken": token })).await;
    }
    scene.secrets.add("an attempt key", b"an-attempt-key-of-an-outage");
    tokio::task::block_in_place(|| cluster.resume());
    scene.cluster = Some(cluster);
    let client = Client::builder().no_proxy().build().unwrap();
    let ready = async || client.get(format!("{}/readyz", server.url)).send().await.unwrap().status() == 200;
    eventually("a database that is back", ready).await;
}

async fn r8_database_files_and_logs_hold_no_secret(backend: Backend) {
    let mut scene = Scene::new(backend).await;
    live(&mut scene).await;
    let dump = scene.dump().await;
    assert_eq!(scene.secrets.found_in(&dump), BTreeSet::new(), "in the rows");
    assert_eq!(scene.secrets.found_in(scene.logs.as_bytes()), BTreeSet::new(), "in the logs");
    let logged = [
        "POST /refresh 200",
        "POST /login 401",
        "POST /login 429",
        "too many failed logins to an unknown name",
        "refresh token reuse",
        "sessions/{id}",
        "a new pepper is known to the database",
    ];
    let outage = ["ERROR", "the database is not available: ", "POST /refresh 503", "POST /login 503"];
    let outage = outage.iter().filter(|_| backend == Backend::Postgres);
    for what in logged.iter().chain(outage) {
        assert!(scene.logs.contains(what), "{what} in {}", scene.logs);
    }

    // The search finds what is there, in each column type and spelling.
    let first = |name: &str| scene.secrets.0.iter().find(|(of, _)| of == name).unwrap().1.clone();
    let names = ["a refresh token", "the tag of a refresh token", "an attempt key", "a password", "the pepper"];
    let [token, tag, key, password, pepper] = names.map(first);
    let seed = first("the seed of a signing key");
    let binary = |bytes: &[u8]| {
        let hex = hexadecimal(bytes);
        if backend == Backend::Sqlite { format!("X'{hex}'") } else { format!("'\\x{hex}'::bytea") }
    };
    let within = STANDARD.encode([b"a password: ".as_slice(), &password].concat());
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    scene.execute(format!("UPDATE users SET name = '{}' WHERE name = 'anna'", text(&token))).await;
    scene.execute(format!("UPDATE sessions SET salt = {}, revoked_reason = '{}'", binary(&tag), text(&key))).await;
    scene.execute(format!("UPDATE signing_keys SET algorithm = '{within}', sealed = {}", binary(&seed))).await;
    scene.execute(format!("UPDATE peppers SET check_value = {}", binary(&pepper))).await;
    let planted = names.into_iter().chain(["the seed of a signing key"]).collect();
    assert_eq!(scene.secrets.found_in(&scene.dump().await), planted);
    let log = format!("{} POST /refresh?refreshToken={}", scene.logs, text(&token));
    let found = scene.secrets.found_in(log.as_bytes());
    assert_eq!(found, ["a refresh token", "the tag of a refresh token"].into());
    let found = scene.secrets.found_in(&scene.files().await);
    assert!(found.is_superset(&planted), "{found:?}");
}
