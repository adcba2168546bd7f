//! A pepper that is lost: what the server says leads back to one that runs, with all sessions but those of that pepper.

use std::fs;

use serde_json::{Value, json};

use crate::helpers::{Backend, eventually, on_both_stores};
use crate::pepper::{Scene, login, post, protected, write};
use crate::program::{Program, refused};

on_both_stores!(
    a_lost_newest_pepper_ends_its_own_sessions_and_no_others,
    signing_keys_of_other_peppers_stay_when_one_is_forgotten,
    the_only_pepper_is_lost_and_users_and_passwords_stay,
    several_lost_peppers_are_forgotten_in_any_order,
    no_pepper_is_forgotten_by_mistake,
);

/// Expects that no server starts, and returns the command that the hint names for a pepper that is lost.
fn hinted(stderr: &str) -> Vec<String> {
    let hint = stderr.split("hint: ").nth(1).unwrap_or_else(|| panic!("no hint: {stderr}"));
    let commands = hint.split('`').skip(1).step_by(2).map(|command| command.split_whitespace().collect::<Vec<_>>());
    let command = commands.filter_map(|command| Some(command.strip_prefix(["authcli-server"].as_slice())?.to_vec()));
    let forget = command.filter(|command| command.starts_with(&["pepper", "forget"])).last();
    forget.unwrap_or_else(|| panic!("{hint}")).into_iter().map(ToOwned::to_owned).collect()
}

impl Scene {
    /// Starts a server with a new pepper before the present one; returns it, and the file as it was before.
    fn rotated(&self) -> (Program, String) {
        let before = fs::read_to_string(&self.file).unwrap();
        self.run(&["pepper", "rotate"]);
        (Program::start(self.serve()), before)
    }

    fn refused_command(&self, arguments: &[&str]) -> String {
        refused(&self.command(arguments).output().unwrap(), 1)
    }
}

fn access(pair: &Value) -> &str {
    pair["accessToken"].as_str().unwrap()
}

async fn refreshed(server: &Program, pair: &Value) -> Value {
    let (status, pair) = post(server, "/refresh", pair).await;
    assert_eq!(status, 200);
    pair
}

async fn a_lost_newest_pepper_ends_its_own_sessions_and_no_others(backend: Backend) {
    let scene = Scene::new(backend).await;
    let old = Program::start(scene.serve());
    let kept = login(&old).await;
    let (new, backup) = scene.rotated();
    let lost = login(&new).await;
    // One that is over still refers to the pepper.
    let ended = login(&new).await;
    assert_eq!(post(&new, "/logout", &ended).await.0, 204);
    scene.run(&["keys", "rotate", "--now"]);
    new.stop();
    write(&scene.file, &[backup.trim()]);

    let stderr = scene.refused();
    assert!(stderr.contains("the pepper 2 of this database is missing, and 1 session (the last until 20"), "{stderr}");
    for command in [["pepper", "rotate"].as_slice(), &["keys", "rotate", "--now"]] {
        assert_eq!(hinted(&scene.refused_command(command)), ["pepper", "forget", "2"], "{command:?}");
    }
    // Nothing happens before it is told what that would be.
    let forget = hinted(&stderr);
    let mut forget: Vec<&str> = forget.iter().map(String::as_str).collect();
    let told = scene.refused_command(&forget);
    assert!(told.contains("nothing was changed: with the pepper 2, 1 session (the last until 20"), "{told}");
    assert!(told.contains("and 1 signing key would end") && told.contains("add `--yes`"), "{told}");
    assert_eq!(scene.refused(), stderr);

    forget.push("--yes");
    assert_eq!(scene.run(&forget), "Forgot the pepper 2: 1 session ended, 1 signing key removed\n");
    let listed = scene.run(&["keys", "list"]);
    assert!(listed.contains("signing since 20") && listed.lines().count() == 1, "{listed}");
    // The server that never had it could not sign meanwhile; now it goes on by itself.
    eventually("a key that it can use", async || post(&old, "/refresh", &kept).await.0 == 200).await;
    let server = Program::start(scene.serve());
    let kept = refreshed(&server, &kept).await;
    assert_eq!(protected(&server, access(&kept)).await, 200);
    assert_eq!(post(&server, "/refresh", &lost).await.0, 403);
    assert_eq!(post(&server, "/logout", &lost).await.0, 204);
    assert_eq!(protected(&server, access(&lost)).await, 403);
    login(&server).await;
    let listed = scene.run(&["pepper", "list"]);
    assert!(listed.starts_with("  1  newest  2 sessions ") && listed.lines().count() == 1, "{listed}");

    // The next one comes as the lost one did.
    let (server, _) = scene.rotated();
    refreshed(&server, &kept).await;
    assert!(scene.run(&["pepper", "list"]).starts_with("  2  newest  nothing needs it\n"));
}

/// Nobody notices that a key is gone which did not sign yet, or that an older pepper is.
async fn signing_keys_of_other_peppers_stay_when_one_is_forgotten(backend: Backend) {
    let scene = Scene::new(backend).await;
    let serve = || {
        let mut command = scene.serve();
        command.args(["--access-ttl", "1h"]);
        command
    };
    let server = Program::start(serve());
    let pair = login(&server).await;
    server.stop();
    let signing = scene.run(&["keys", "list"]);
    let (server, backup) = scene.rotated();
    scene.run(&["keys", "rotate"]);
    server.stop();
    let both = fs::read_to_string(&scene.file).unwrap();
    write(&scene.file, &[backup.trim()]);
    let said = scene.run(&["pepper", "forget", "2", "--yes"]);
    assert_eq!(said, "Forgot the pepper 2: 0 sessions ended, 1 signing key removed\n");
    assert_eq!(scene.run(&["keys", "list"]), signing);
    let server = Program::start(serve());
    assert_eq!(protected(&server, access(&pair)).await, 200, "the very token that it had before");
    server.stop();

    // An older one is forgotten like the newest: what was made with the newest goes on.
    write(&scene.file, &both.lines().collect::<Vec<_>>());
    let server = Program::start(serve());
    let newer = login(&server).await;
    for _ in 0..10 {
        assert_eq!(post(&server, "/login", &json!({ "username": "user2", "password": "wrong" })).await.0, 401);
    }
    server.stop();
    write(&scene.file, &[both.lines().next().unwrap()]);
    assert_eq!(hinted(&scene.refused()), ["pepper", "forget", "1"]);
    let said = scene.run(&["pepper", "forget", "1", "--yes"]);
    assert_eq!(said, "Forgot the pepper 1: 1 session ended, 1 signing key removed\n");
    let server = Program::start(serve());
    refreshed(&server, &newer).await;
    assert_eq!(post(&server, "/refresh", &pair).await.0, 403);
    let wrong = json!({ "username": "user2", "password": "wrong" });
    assert_eq!(post(&server, "/login", &wrong).await.0, 429, "what was counted is not forgotten");
}

async fn the_only_pepper_is_lost_and_users_and_passwords_stay(backend: Backend) {
    let scene = Scene::new(backend).await;
    let server = Program::start(scene.serve());
    let pair = login(&server).await;
    server.stop();
    let lost = fs::read_to_string(&scene.file).unwrap();
    fs::remove_file(&scene.file).unwrap();
    let stderr = scene.refused();
    assert!(stderr.contains("the pepper of this database is missing"), "{stderr}");
    assert_eq!(hinted(&stderr), ["pepper", "forget"]);
    assert!(scene.run(&["pepper", "list"]).starts_with("  1  absent  1 session "));
    assert!(scene.refused_command(&["pepper", "forget", "1"]).contains("with the pepper 1, 1 session (the last"));
    assert!(!scene.file.exists());
    let said = scene.run(&["pepper", "forget", "1", "--yes"]);
    assert_eq!(said, "Forgot the pepper 1: 1 session ended, 1 signing key removed\n");

    let server = Program::start(scene.serve());
    assert_ne!(fs::read_to_string(&scene.file).unwrap(), lost);
    assert_eq!(post(&server, "/refresh", &pair).await.0, 403);
    let pair = login(&server).await;
    assert_eq!(protected(&server, access(&pair)).await, 200);
    server.stop();

    // With one from elsewhere in its place the same.
    write(&scene.file, &[lost.trim()]);
    let stderr = scene.refused();
    assert!(stderr.contains("does not belong to this database"), "{stderr}");
    assert_eq!(hinted(&stderr), ["pepper", "forget"]);
    scene.run(&["pepper", "forget", "1", "--yes"]);
    login(&Program::start(scene.serve())).await;
    assert_eq!(fs::read_to_string(&scene.file).unwrap(), lost);
}

async fn several_lost_peppers_are_forgotten_in_any_order(backend: Backend) {
    for order in [["2", "3"], ["3", "2"]] {
        let scene = Scene::new(backend).await;
        let server = Program::start(scene.serve());
        let kept = login(&server).await;
        server.stop();
        let (server, backup) = scene.rotated();
        login(&server).await;
        server.stop();
        scene.rotated().0.stop();
        scene.run(&["keys", "rotate", "--now"]);
        write(&scene.file, &[backup.trim()]);
        for id in order {
            scene.refused();
            scene.run(&["pepper", "forget", id, "--yes"]);
        }
        let server = Program::start(scene.serve());
        let kept = refreshed(&server, &kept).await;
        assert_eq!(protected(&server, access(&kept)).await, 200, "{order:?}");
    }
}

async fn no_pepper_is_forgotten_by_mistake(backend: Backend) {
    let scene = Scene::new(backend).await;
    let server = Program::start(scene.serve());
    let pair = login(&server).await;
    let (other, _) = scene.rotated();
    for id in ["1", "2"] {
        let stderr = scene.refused_command(&["pepper", "forget", id, "--yes"]);
        assert!(
            stderr.contains(&format!("the pepper {id} is not lost")) && stderr.contains("hint: take it"),
            "{stderr}"
        );
    }
    let stderr = scene.refused_command(&["pepper", "forget", "7", "--yes"]);
    assert!(stderr.contains("this database knows no pepper 7"), "{stderr}");
    for wrong in ["0", "-1", "new"] {
        refused(&scene.command(&["pepper", "forget", wrong, "--yes"]).output().unwrap(), 2);
    }
    assert!(scene.run(&["pepper", "list"]).lines().count() == 2);
    let pair = refreshed(&other, &pair).await;
    assert_eq!(protected(&server, access(&pair)).await, 200);
}
