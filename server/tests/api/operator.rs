//! `sessions revoke`, as the operator runs it.

use serde_json::{Value, json};

use crate::helpers::{Backend, on_both_stores, tokens};
use crate::program::{Place, Program, finish, refused};
use crate::sessions::sid;

on_both_stores!(sessions_are_revoked_beside_a_running_server);

async fn sessions_are_revoked_beside_a_running_server(backend: Backend) {
    let place = Place::new();
    let database = place.database_on(backend).await;
    let mut command = place.command(&["serve", "--demo", "--listen", "127.0.0.1:0", "--access-ttl", "15m"]);
    command.args(["--database", &database]);
    let server = Program::start(command);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let post =
        async |path: &str, body: &Value| client.post(format!("{}{path}", server.url)).json(body).send().await.unwrap();
    let body = json!({ "username": "admin", "password": "123456" });
    let revoke = |arguments: &[&str]| {
        let arguments: Vec<&str> =
            ["sessions", "revoke", "--database", &database].iter().chain(arguments).copied().collect();
        place.run(&arguments)
    };
    let said = |arguments: &[&str]| {
        let output = revoke(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(said(&["--user", "admin"]), "0 sessions revoked\n");
    let login = tokens(post("/login", &body).await).await;
    tokens(post("/login", &body).await).await;
    assert_eq!(said(&["--before", "2020-01-01T00:00:00Z"]), "0 sessions revoked\n");
    assert_eq!(said(&[&format!("--id={}", sid(&login.access))]), "1 session revoked\n");
    assert_eq!(post("/refresh", &json!({ "refreshToken": login.refresh })).await.status(), 403);
    tokens(post("/login", &body).await).await;
    assert_eq!(said(&["--user", "admin", "--before", "2999-01-01T00:00:00Z"]), "2 sessions revoked\n");

    // A variable that was set for another command narrows this one: what is applied is said.
    let mut narrowed =
        place.command(&["sessions", "revoke", "--database", &database, "--before", "2026-01-31T12:00:00Z"]);
    let narrowed = finish(narrowed.env("AUTHCLI_SERVER_USER", "user2").spawn().unwrap());
    let said = String::from_utf8(narrowed.stderr).unwrap();
    let conditions = "Revoking the sessions that are of the user `user2` and opened before 2026-01-31T12:00:00Z\n";
    assert_eq!((said.as_str(), narrowed.stdout.as_slice()), (conditions, &b"0 sessions revoked\n"[..]));

    assert!(refused(&revoke(&["--user", "nobody"]), 1).contains("there is no user `nobody`"));
    let wrong: [(&[&str], &str); 4] = [
        (&[], "--user <NAME>|--id <ID>|--before <TIME>"),
        (&["--id", "x"], "22 letters of base64url"),
        (&["--before", "yesterday"], "--before"),
        (&["--user", " x"], "does not begin or end"),
    ];
    for (arguments, sentence) in wrong {
        let stderr = refused(&revoke(arguments), 2);
        assert!(stderr.contains(sentence), "{arguments:?}: {stderr}");
    }
}
