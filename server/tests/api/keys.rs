//! Signing keys: what is published, and a rotation beside a running server, step by step.
//!
//! The steps are minutes apart. A test does not wait for them: it moves the moments in the rows.

use std::collections::HashSet;

use reqwest::{Client, Method};
use serde_json::{Value, json};

use crate::helpers::{eventually, spawn_app};

#[tokio::test]
async fn s6_the_public_keys_are_for_everybody_to_read_and_to_keep_a_while() {
    let app = spawn_app().await;
    let access = app.login().await.access;
    let response = app.request(Method::GET, "/.well-known/jwks.json").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.headers()["cache-control"], "public, max-age=300");
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let body = response.text().await.unwrap();
    let jwks: Value = serde_json::from_str(&body).unwrap();
    let keys = jwks["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    let header = jsonwebtoken::decode_header(&access).unwrap();
    assert_eq!(keys[0]["kid"].as_str(), header.kid.as_deref());
    let members: HashSet<&str> = keys[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(members, HashSet::from(["kty", "crv", "x", "kid", "use", "alg"]));
    let head = app.request(Method::HEAD, "/.well-known/jwks.json").send().await.unwrap();
    assert_eq!(head.status(), 200);
    let posted = app.request(Method::POST, "/.well-known/jwks.json").send().await.unwrap();
    assert_eq!((posted.status().as_u16(), &posted.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
}

#[cfg(unix)]
pub(crate) mod rotation {
    use super::*;
    use crate::helpers::{Backend, on_both_stores};
    use crate::program::{Place, Program, refused};

    on_both_stores!(
        s6_running_servers_go_through_a_rotation_and_nobody_is_refused,
        keys_that_may_be_known_to_others_are_replaced_at_once,
    );

    /// Two servers on one database.
    pub(crate) struct World {
        place: Place,
        database: String,
        servers: [Program; 2],
    }

    /// A key as it was last seen, and a token that it signed.
    pub(crate) struct Signed {
        pub(crate) kid: String,
        pub(crate) access: String,
        refresh: String,
    }

    impl World {
        pub(crate) async fn start(backend: Backend) -> World {
            let place = Place::new();
            let database = place.database_on(backend).await;
            let start = || {
                let mut command = place.command(&["serve", "--demo", "--listen", "127.0.0.1:0", "--access-ttl", "15m"]);
                command.args(["--database", &database]);
                Program::start(command)
            };
            let servers = [start(), start()];
            World { place, database, servers }
        }

        pub(crate) fn url(&self, at: usize) -> &str {
            &self.servers[at].url
        }

        pub(crate) fn keys(&self, arguments: &[&str]) -> std::process::Output {
            let arguments: Vec<&str> =
                ["keys"].iter().chain(arguments).chain(&["--database", &self.database]).copied().collect();
            self.place.run(&arguments)
        }

        /// Returns what `keys list` says of each key.
        fn list(&self) -> Vec<String> {
            let output = self.keys(&["list"]);
            assert_eq!(output.status.code(), Some(0));
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
        }

        pub(crate) async fn login(&self, at: usize) -> Signed {
            let body = json!({ "username": "admin", "password": "123456" });
            self.signed(at, "/login", &body).await
        }

        /// The same attempt may be repeated at any time, and each answer is signed anew: cheaper than a login.
        pub(crate) async fn refresh(&self, at: usize, signed: &Signed) -> Signed {
            self.signed(at, "/refresh", &json!({ "refreshToken": signed.refresh })).await
        }

        async fn signed(&self, at: usize, path: &str, body: &Value) -> Signed {
            let request = client().post(format!("{}{path}", self.url(at))).json(body);
            let request = request.header("Idempotency-Key", "the-same-attempt-each-time");
            let pair: Value = request.send().await.unwrap().json().await.unwrap();
            let [access, refresh] = ["accessToken", "refreshToken"].map(|name| pair[name].as_str().unwrap().to_owned());
            Signed { kid: jsonwebtoken::decode_header(&access).unwrap().kid.unwrap(), access, refresh }
        }

        pub(crate) async fn protected(&self, at: usize, access: &str) -> u16 {
            let request = client().get(format!("{}/protected", self.url(at))).bearer_auth(access);
            request.send().await.unwrap().status().as_u16()
        }

        pub(crate) async fn published(&self, at: usize) -> HashSet<String> {
            let url = format!("{}/.well-known/jwks.json", self.url(at));
            let jwks: Value = client().get(url).send().await.unwrap().json().await.unwrap();
            jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
        }

        /// Answers whether both servers publish these keys and no others.
        async fn both_publish(&self, kids: &[&String]) -> bool {
            let expected: HashSet<String> = kids.iter().map(|kid| (*kid).clone()).collect();
            self.published(0).await == expected && self.published(1).await == expected
        }

        /// Expects both servers to answer a call with such a token like this.
        async fn expect_both(&self, access: &str, status: u16) {
            for at in 0..2 {
                assert_eq!(self.protected(at, access).await, status, "server {at}");
            }
        }

        /// Lets everything that the keys have planned be so much nearer.
        pub(crate) async fn pass_minutes(&self, minutes: u32) {
            let millis = minutes * 60_000;
            let sql = format!("UPDATE signing_keys SET signs_from = signs_from - {millis}");
            self.place.execute(&self.database, &sql).await;
        }
    }

    fn client() -> Client {
        Client::builder().no_proxy().build().unwrap()
    }

    async fn s6_running_servers_go_through_a_rotation_and_nobody_is_refused(backend: Backend) {
        let world = World::start(backend).await;
        let old = world.login(0).await;
        assert!(world.both_publish(&[&old.kid]).await);
        assert_eq!(world.list().len(), 1);
        assert!(world.list()[0].starts_with(&format!("{}  signing since 2", old.kid)), "{:?}", world.list());

        let rotated = world.keys(&["rotate"]);
        assert_eq!(rotated.status.code(), Some(0));
        let said = String::from_utf8(rotated.stderr).unwrap();
        assert!(said.starts_with("Announced the signing key ") && rotated.stdout.is_empty(), "{said}");
        assert!(refused(&world.keys(&["rotate"]), 1).contains("is announced already"));
        // Published by both, used by neither.
        let announced = world.list()[1].split("  ").next().unwrap().to_owned();
        assert!(said.contains(&announced), "{said}");
        eventually("the announcement", async || {
            for at in 0..2 {
                assert_eq!(world.refresh(at, &old).await.kid, old.kid, "server {at}");
            }
            world.both_publish(&[&old.kid, &announced]).await
        })
        .await;
        assert!(world.list()[1].contains("  announced, signs from 2"), "{:?}", world.list());

        world.pass_minutes(10).await;
        for at in 0..2 {
            eventually("the relief", async || world.refresh(at, &old).await.kid == announced).await;
        }
        let new = world.login(0).await;
        assert_eq!(new.kid, announced);
        assert!(world.both_publish(&[&old.kid, &new.kid]).await);
        for access in [&old.access, &new.access] {
            world.expect_both(access, 200).await;
        }
        assert!(world.list()[0].starts_with(&format!("{}  verifying until 2", old.kid)), "{:?}", world.list());

        world.pass_minutes(16).await;
        eventually("the end", async || world.both_publish(&[&new.kid]).await).await;
        world.expect_both(&old.access, 403).await;
        world.expect_both(&new.access, 200).await;
        eventually("the removal", async || world.list().len() == 1).await;

        for server in world.servers {
            let log = server.stop().stderr;
            for event in ["a new signing key is published", "signed with another key", "a signing key is gone"] {
                let lines: Vec<&str> = log.lines().filter(|line| line.contains(event)).collect();
                assert!(lines.len() == 1 && lines[0].contains("WARN"), "{event} in {log}");
            }
        }
    }

    async fn keys_that_may_be_known_to_others_are_replaced_at_once(backend: Backend) {
        let world = World::start(backend).await;
        let old = world.login(0).await;
        world.expect_both(&old.access, 200).await;
        assert_eq!(world.keys(&["rotate"]).status.code(), Some(0));
        let replaced = world.keys(&["rotate", "--now"]);
        assert_eq!(replaced.status.code(), Some(0));
        for at in 0..2 {
            eventually("the refusal", async || world.protected(at, &old.access).await == 403).await;
        }
        let new = world.login(0).await;
        assert_ne!(new.kid, old.kid);
        assert!(world.both_publish(&[&new.kid]).await);
        world.expect_both(&new.access, 200).await;
    }

    #[tokio::test]
    async fn only_who_has_the_pepper_makes_keys() {
        let world = World::start(Backend::Sqlite).await;
        let before = world.list();
        std::fs::remove_file(world.place.path("a.db.pepper")).unwrap();
        assert!(refused(&world.keys(&["rotate"]), 1).contains("the pepper of this database is missing"));
        assert!(refused(&world.keys(&["rotate", "--now"]), 1).contains("\nhint: "));
        assert_eq!(world.list(), before, "to look at them takes none");
        let none = ["keys", "list", "--database", &world.place.database("none.db")];
        assert!(refused(&world.place.run(&none), 1).contains("there is no database at"));
    }
}

/// No start works without it, and a row is all there is of it: the way out must be in the message.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_signing_key_is_replaced_as_the_hint_says() {
    use crate::program::{Place, Program, refused};

    let place = Place::new();
    let database = place.database("a.db");
    let serve = ["serve", "--demo", "--listen", "127.0.0.1:0", "--database", &database];
    assert_eq!(Program::start(place.command(&serve)).stop().code, Some(0));
    place.execute(&database, "UPDATE signing_keys SET sealed = x'00'").await;
    let stderr = refused(&place.run(&serve), 1);
    assert!(stderr.contains("is damaged") && stderr.contains("hint: `authcli-server keys rotate --now`"), "{stderr}");
    let rotated = place.run(&["keys", "rotate", "--now", "--database", &database]);
    assert_eq!(rotated.status.code(), Some(0), "{}", String::from_utf8_lossy(&rotated.stderr));
    assert_eq!(Program::start(place.command(&serve)).stop().code, Some(0));
}
