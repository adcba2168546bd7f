//! Replacing the pepper: nobody is logged out, and none goes that is still needed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use authcli_server::keys;
use authcli_server::pepper::{self, Absent, Peppers};
use base64::Engine as _;
use reqwest::Client;
use serde_json::{Value, json};

use crate::helpers::{Backend, TestApp, eventually, on_both_stores, spawn_app_on};
use crate::program::{Place, Program, finish, refused};

on_both_stores!(
    a_new_pepper_logs_nobody_out_and_a_server_without_it_refuses_nobody,
    failed_logins_are_counted_on_under_a_new_pepper,
    keys_of_a_new_pepper_break_no_server_that_lacks_it,
    keys_rotated_before_the_restart_are_opened_by_all,
    of_two_servers_with_a_new_pepper_each_the_second_is_told,
    an_operator_replaces_the_pepper_step_by_step,
);

const KEY: &str = "an-attempt-key-of-its-owner";

/// Puts a new pepper before the present one, and starts a server that has both beside the one that has not.
async fn rotated(old: &TestApp) -> TestApp {
    pepper::rotate(&old.config.pepper, &*old.store().await).await.unwrap();
    old.sibling().await
}

async fn a_new_pepper_logs_nobody_out_and_a_server_without_it_refuses_nobody(backend: Backend) {
    let old = spawn_app_on(backend, |_| {}).await;
    let before = old.login().await;
    let new = rotated(&old).await;
    assert_eq!(new.protected_status(&before.access).await, 200);
    let before = new.refresh(&before.refresh, Some(KEY)).await;
    assert_eq!(new.db_value::<i64>("SELECT max(pepper_id) FROM sessions").await, 1);
    let opened = new.login().await;
    assert_eq!(new.db_value::<i64>("SELECT max(pepper_id) FROM sessions").await, 2);

    // 503 and not 403: a client would throw a good session away.
    assert_eq!(old.protected_status(&opened.access).await, 200);
    assert_eq!(old.refresh_status(&opened.refresh, Some(KEY)).await, 503);
    assert_eq!(old.post("/logout", &json!({ "refreshToken": opened.refresh })).await.status(), 503);
    old.refresh(&before.refresh, Some("the-next-key-of-the-owner")).await;
    let opened = new.refresh(&opened.refresh, Some(KEY)).await;
    assert_eq!(new.protected_status(&opened.access).await, 200);

    // Thieves are found out as before, whichever pepper it is.
    assert_eq!(new.refresh_status(&before.refresh, Some("an-attempt-key-of-a-thief")).await, 403);
    let reason = "SELECT revoked_reason FROM sessions WHERE pepper_id = 1";
    assert_eq!(new.db_value::<String>(reason).await, "reuse");
}

/// 503 only for what that server cannot know: what is signed with keys that it has goes on, what is gone is refused.
async fn keys_of_a_new_pepper_break_no_server_that_lacks_it(backend: Backend) {
    let old = spawn_app_on(backend, |_| {}).await;
    let before = old.login().await;
    let new = rotated(&old).await;
    let store = new.store().await;
    let peppers = Peppers::load(&new.config.pepper, &*store, Absent::Check).await.unwrap();
    keys::replace(&*store, &peppers).await.unwrap();
    for server in [&old, &new] {
        eventually("the replacement", async || server.protected_status(&before.access).await == 403).await;
    }
    let after = new.login().await.access;
    assert_eq!(new.protected_status(&after).await, 200);
    assert_eq!(old.protected_status(&after).await, 503);
    let of_nobody = after.replacen('.', "A.", 1);
    assert_eq!(old.protected_status(&of_nobody).await, 403);
}

async fn keys_rotated_before_the_restart_are_opened_by_all(backend: Backend) {
    let scene = Scene::new(backend).await;
    let server = Program::start(scene.serve());
    let before = login(&server).await;
    scene.run(&["pepper", "rotate"]);
    let said = scene.run(&["keys", "rotate"]);
    assert!(said.contains("under the present pepper") && said.contains("Announced the signing key"), "{said}");
    assert!(scene.run(&["pepper", "list"]).starts_with("new  newest  no server was started with it yet\n"));
    scene.run(&["keys", "rotate", "--now"]);
    let access = before["accessToken"].as_str().unwrap();
    eventually("the replacement", async || protected(&server, access).await == 403).await;
    let after = login(&server).await;
    assert_eq!(protected(&server, after["accessToken"].as_str().unwrap()).await, 200);
    let log = server.stop().stderr;
    assert!(!log.contains("the signing keys are as old as they are"), "{log}");
}

async fn of_two_servers_with_a_new_pepper_each_the_second_is_told(backend: Backend) {
    let scene = Scene::new(backend).await;
    Program::start(scene.serve()).stop();
    let old = fs::read_to_string(&scene.file).unwrap();
    let with = |byte: u8, command: &[&str]| {
        let mut command = scene.command(command);
        let new = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        command.env("AUTHCLI_SERVER_PEPPER", format!("{new} {}", old.trim()));
        command
    };
    let serve = ["serve", "--demo", "--listen", "127.0.0.1:0"];
    let first = Program::start(with(1, &serve));
    let stderr = refused(&with(2, &serve).output().unwrap(), 1);
    assert!(stderr.contains("the newest pepper 2 of this database is missing"), "{stderr}");
    assert!(stderr.contains("hint: another server was started with it"), "{stderr}");
    // Nothing was made with it yet, and it is no pepper that may go.
    let listed = scene.run(&["pepper", "list"]);
    assert!(listed.contains("  2  absent  a server was started with it: keep it"), "{listed}");
    for command in [["pepper", "rotate"].as_slice(), &["keys", "rotate"], &["keys", "rotate", "--now"]] {
        let stderr = refused(&scene.command(command).output().unwrap(), 1);
        assert!(stderr.contains("the newest pepper 2 of this database is missing"), "{command:?}: {stderr}");
    }
    assert_eq!(first.stop().code, Some(0));
}

async fn failed_logins_are_counted_on_under_a_new_pepper(backend: Backend) {
    let old = spawn_app_on(backend, |_| {}).await;
    let wrong = json!({ "username": "nobody", "password": "wrong" });
    for _ in 0..5 {
        assert_eq!(old.post("/login", &wrong).await.status(), 401);
    }
    let new = rotated(&old).await;
    for _ in 0..5 {
        assert_eq!(new.post("/login", &wrong).await.status(), 401);
    }
    for server in [&old, &new] {
        assert_eq!(server.post("/login", &wrong).await.status(), 429);
    }
}

/// A server's place, its database, and where its peppers lie.
pub(crate) struct Scene {
    pub(crate) place: Place,
    pub(crate) database: String,
    pub(crate) file: PathBuf,
}

impl Scene {
    pub(crate) async fn new(backend: Backend) -> Scene {
        let place = Place::new();
        let database = place.database_on(backend).await;
        let file = match database.strip_prefix("sqlite:") {
            Some(path) => PathBuf::from(format!("{path}.pepper")),
            None => place.path("home/.local/share/authcli-server/postgres.pepper"),
        };
        Scene { place, database, file }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.place.command(arguments);
        command.env("AUTHCLI_SERVER_DATABASE", &self.database);
        command
    }

    pub(crate) fn serve(&self) -> Command {
        self.command(&["serve", "--demo", "--listen", "127.0.0.1:0"])
    }

    /// Runs a command that must work, and returns what it prints on both streams.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = finish(self.command(arguments).spawn().unwrap());
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}");
        text
    }

    /// Expects that no server starts; returns why.
    pub(crate) fn refused(&self) -> String {
        refused(&self.serve().output().unwrap(), 1)
    }
}

/// Writes peppers as an operator does.
pub(crate) fn write(file: &Path, peppers: &[&str]) {
    fs::write(file, peppers.join("\n") + "\n").unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

pub(crate) async fn post(server: &Program, path: &str, body: &Value) -> (u16, Value) {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.post(format!("{}{path}", server.url)).header("Idempotency-Key", KEY).json(body);
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

pub(crate) async fn protected(server: &Program, access: &str) -> u16 {
    let client = Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("{}/protected", server.url)).bearer_auth(access);
    request.send().await.unwrap().status().as_u16()
}

pub(crate) async fn login(server: &Program) -> Value {
    let (status, pair) = post(server, "/login", &json!({ "username": "admin", "password": "123456" })).await;
    assert_eq!(status, 200);
    pair
}

async fn an_operator_replaces_the_pepper_step_by_step(backend: Backend) {
    let scene = Scene::new(backend).await;
    let server = Program::start(scene.serve());
    let first = login(&server).await;
    let listed = scene.run(&["pepper", "list"]);
    assert!(listed.starts_with("  1  newest  1 session (the last until 20"), "{listed}");
    assert!(listed.ends_with("unless refreshed) and 1 signing key\n"), "{listed}");

    assert!(scene.run(&["pepper", "rotate"]).contains("start the servers anew"));
    let stderr = refused(&scene.command(&["pepper", "rotate"]).output().unwrap(), 1);
    assert!(stderr.contains("a new pepper waits already"), "{stderr}");
    assert!(scene.run(&["pepper", "list"]).starts_with("new  newest  no server was started with it yet\n  1  older "));
    server.stop();
    let server = Program::start(scene.serve());
    let (status, first) = post(&server, "/refresh", &first).await;
    assert_eq!(status, 200);
    let second = login(&server).await;
    assert!(scene.run(&["pepper", "list"]).starts_with("  2  newest  1 session "));
    let log = server.stop().stderr;
    assert_eq!(log.matches("a new pepper is known to the database").count(), 1, "{log}");

    // The old one is needed by its session and the signing key, the new one by its session.
    let text = fs::read_to_string(&scene.file).unwrap();
    let [new, old] = *text.lines().collect::<Vec<_>>() else { panic!("two lines") };
    write(&scene.file, &[new]);
    let stderr = scene.refused();
    assert!(stderr.contains("the pepper 1 of this database is missing, and 1 session (the last until 20"), "{stderr}");
    assert!(stderr.contains("and 1 signing key need it") && stderr.contains("hint: put it back"), "{stderr}");
    assert!(!stderr.contains(new), "{stderr}");
    write(&scene.file, &[old]);
    assert!(scene.refused().contains("the pepper 2 of this database is missing, and 1 session"));

    // From the environment the same, in either order.
    for words in [format!("{new} {old}"), format!("{old} {new}")] {
        let mut command = scene.serve();
        command.env("AUTHCLI_SERVER_PEPPER", words).env("AUTHCLI_SERVER_LOG", "off");
        assert_eq!(Program::start(command).stop().code, Some(0));
    }
    let mut command = scene.command(&["pepper", "rotate"]);
    let stderr = refused(&command.env("AUTHCLI_SERVER_PEPPER", text.trim()).output().unwrap(), 1);
    assert!(stderr.contains("comes from AUTHCLI_SERVER_PEPPER") && stderr.contains("openssl rand"), "{stderr}");

    // What needs the old one is ended: it may go, and is not missed.
    write(&scene.file, &[new]);
    scene.place.execute(&scene.database, "UPDATE sessions SET revoked_at = 1 WHERE pepper_id = 1").await;
    assert!(scene.refused().contains("0 sessions and 1 signing key need it"));
    scene.run(&["keys", "rotate", "--now"]);
    write(&scene.file, &[new, old]);
    let server = Program::start(scene.serve());
    let log = server.stop().stderr;
    assert!(log.contains("nothing needs an older pepper any more") && log.contains("pepper=1"), "{log}");
    write(&scene.file, &[new]);
    let server = Program::start(scene.serve());
    assert_eq!(post(&server, "/refresh", &second).await.0, 200);
    // Its sessions are over: their clients are told so, and log in again.
    assert_eq!(post(&server, "/refresh", &first).await.0, 403);
    assert_eq!(post(&server, "/logout", &first).await.0, 204);
    assert!(scene.run(&["pepper", "list"]).contains("  1  absent  nothing needs it\n"));
}
