//! A copy of the store in other hands: the session ends for both once its owner is refused.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::{Answer, Cli, Endpoint, Server};

/// Returns somebody who has a copy of all that `owner` keeps.
fn thief_of(owner: &Cli, server: &Server) -> Cli {
    let thief = Cli::new(&server.url);
    copy(&owner.configuration(), &thief.configuration());
    thief
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            // With its mode.
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_thief_who_is_ahead_loses_the_session_as_soon_as_its_owner_is_refused() {
    for steps in [2, 3, 10] {
        let server = Server::start();
        let owner = Cli::new(&server.url);
        owner.login();
        let thief = thief_of(&owner, &server);
        for _ in 0..steps {
            thief.run(&["refresh"]).expect(0);
        }
        thief.run(&["get", "/protected"]).expect(0);
        // The server takes this for a late repetition of what it has seen, or for a token that was used again.
        owner.run(&["refresh"]).expect(7);
        thief.run(&["refresh"]).expect(7);
        thief.run(&["get", "/protected"]).expect(7);
        owner.login();
        owner.run(&["get", "/protected"]).expect(0);
    }
}

#[test]
fn a_logout_that_fails_or_hangs_changes_nothing_for_the_owner() {
    for broken in [Some(Answer::new(500, "")), Some(Answer::new(404, "")), None] {
        let endpoint = Endpoint::start();
        let cli = Cli::new(&endpoint.url);
        cli.login_at(&endpoint, "access-1", "refresh-1", 0.001);
        let get = cli.start(&["get", "/x"]);
        endpoint.expect("POST", "/refresh").reply(Answer::error(403, "Invalid refresh token"));
        let logout = endpoint.expect("POST", "/logout");
        match broken {
            Some(answer) => {
                logout.reply(answer);
                get.finish().expect(7)
            }
            // It is given up in a few seconds.
            None => get.finish_within(Duration::from_secs(10), || {}).expect(7),
        };
        cli.run(&["token"]).expect(7);
    }
}
