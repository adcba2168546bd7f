//! Backups, made and restored as docs/SERVER.md says, by the very commands that stand there.

use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use rustix::process::Signal;

use crate::clients::{Chain, Service};
use crate::helpers::{Backend, eventually};
use crate::postgres::Cluster;
use crate::program::{Place, Program};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the program sqlite3: run `make test`"]
async fn r10_a_restored_backup_of_sqlite_logs_nobody_out() {
    a_restored_backup_logs_nobody_out(Backend::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: run `make test`"]
async fn r10_a_restored_backup_of_postgres_logs_nobody_out() {
    a_restored_backup_logs_nobody_out(Backend::Postgres).await;
}

const CLIENTS: usize = 8;
/// The places that the page names, and what they are here.
const PLACES: [(&str, &str); 3] = [("/var/lib/authcli", "lib"), ("/backup", "backup"), ("/elsewhere", "elsewhere")];
/// The database that the page names.
const ADDRESS: &str = "postgres://authcli@db.example.com/authcli?sslmode=verify-full";

/// Returns the commands of the console blocks of a section, a block each.
fn blocks(section: &str) -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/SERVER.md");
    let page = fs::read_to_string(page).unwrap();
    let (_, section) = page.split_once(&format!("\n## {section}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```console\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks
        .map(|block| block.lines().filter_map(|line| line.strip_prefix("$ ")).collect::<Vec<_>>().join("\n"))
        .collect()
}

/// The one block that has such a command in it.
fn block(section: &str, command: &str) -> String {
    let mut found: Vec<String> = blocks(section).into_iter().filter(|block| block.contains(command)).collect();
    assert_eq!(found.len(), 1, "{command} in {section}");
    found.remove(0)
}

/// A machine with a server, its database and a place for backups.
struct Scene {
    place: Place,
    backend: Backend,
    database: String,
}

impl Scene {
    fn new(backend: Backend) -> Scene {
        let place = Place::new();
        for (_, here) in PLACES {
            fs::create_dir(place.path(here)).unwrap();
        }
        let database = match backend {
            Backend::Sqlite => place.database("lib/authcli.db"),
            Backend::Postgres => Cluster::shared().url("authcli").replace("user=postgres", "user=authcli"),
        };
        let scene = Scene { place, backend, database };
        if backend == Backend::Postgres {
            scene.run(&block("Database", "CREATE DATABASE"));
        }
        scene
    }

    fn serve(&self) -> Program {
        let mut command = self.place.command(&["serve", "--demo", "--listen", "127.0.0.1:0", "--access-ttl", "1h"]);
        command.env("AUTHCLI_SERVER_DATABASE", &self.database).env("AUTHCLI_SERVER_LOG", "warn");
        Program::start(command)
    }

    /// Runs commands of the page in a shell, as whoever runs the server.
    fn run(&self, commands: &str) -> String {
        let commands = commands.replace(ADDRESS, &self.database);
        let commands = PLACES
            .iter()
            .fold(commands, |commands, (there, here)| commands.replace(there, self.place.path(here).to_str().unwrap()));
        let mut shell = Command::new("sh");
        shell.args(["-euc", &commands]).current_dir(self.place.path("backup")).env_clear();
        shell.env("HOME", self.place.path("home")).env("AUTHCLI_SERVER_DATABASE", &self.database);
        let mut path = vec![Path::new(env!("CARGO_BIN_EXE_authcli-server")).parent().unwrap().to_owned()];
        if self.backend == Backend::Postgres {
            path.extend(Cluster::programs());
            shell.env("PGHOST", Cluster::shared().directory()).env("PGUSER", "postgres").env("PGDATABASE", "postgres");
        }
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        path.extend(std::env::split_paths(&inherited));
        let path: OsString = std::env::join_paths(path).unwrap();
        let output = shell.env("PATH", path).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success(), "{commands}: {said}");
        said
    }

    /// The disk is gone, and the pepper with it.
    fn lose(&self) {
        let lost = match self.backend {
            Backend::Sqlite => self.place.path("lib"),
            Backend::Postgres => self.place.path("home/.local/share/authcli-server"),
        };
        for file in fs::read_dir(lost).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
}

/// Whoever refreshed since the backup is ahead of the database that comes back, with an answer or without one.
async fn a_restored_backup_logs_nobody_out(backend: Backend) {
    let scene = Scene::new(backend);
    let section = "Back up and restore";
    let (back_up, restore) = match backend {
        Backend::Sqlite => (block(section, ".backup"), block(section, "rm -f")),
        Backend::Postgres => (block(section, "pg_dump"), block(section, "pg_restore")),
    };
    let server = scene.serve();
    let service = Service::of(&server);
    // Each second one sends no key.
    let mut chains = join_all((0..CLIENTS).map(|at| Chain::log_in(&service, at % 2 == 0))).await;
    let mut logged_out = Chain::log_in(&service, true).await;

    let answered: Vec<AtomicUsize> = (0..CLIENTS).map(|_| AtomicUsize::new(0)).collect();
    let storm = join_all(chains.iter_mut().zip(&answered).map(async |(chain, answered)| {
        while let Ok(status) = chain.refresh(&service).await {
            assert_eq!(status, 200);
            answered.fetch_add(1, Ordering::Relaxed);
        }
    }));
    let loss = async {
        let all_have = async |more: &[usize]| {
            let done = || answered.iter().zip(more).all(|(answered, more)| answered.load(Ordering::Relaxed) > *more);
            eventually("refreshes of all", async || done()).await;
        };
        let now = || answered.iter().map(|answered| answered.load(Ordering::Relaxed) + 2).collect::<Vec<_>>();
        all_have(&now()).await;
        tokio::task::block_in_place(|| scene.run(&back_up));
        all_have(&now()).await;
        logged_out.log_out(&service).await;
        let late = Chain::log_in(&service, true).await;
        server.signal(Signal::KILL);
        late
    };
    let (_, mut late) = tokio::join!(storm, loss);
    let log = server.end().stderr;
    assert!(!log.contains("ahead of the database") && !log.contains("reuse"), "{log}");
    scene.lose();
    scene.run(&restore);

    let server = scene.serve();
    let service = Service::of(&server);
    for round in 0..3 {
        for (at, chain) in chains.iter_mut().enumerate() {
            assert_eq!(chain.refresh(&service).await.unwrap(), 200, "round {round}, client {at}");
            let protected = service.get("/protected", Some(chain.access())).await.unwrap();
            assert_eq!(protected, 200, "round {round}, client {at}");
        }
    }
    // An older truth: what ended since goes on, and what began since is not there.
    assert_eq!(logged_out.refresh(&service).await.unwrap(), 200);
    assert_eq!(late.refresh(&service).await.unwrap(), 403);

    let said = scene.run(&block(section, "sessions revoke"));
    assert!(said.starts_with(&format!("{} sessions revoked\n", CLIENTS + 1)), "{said}");
    assert!(said.contains("\nReplaced all signing keys"), "{said}");
    for chain in &mut chains {
        assert_eq!(chain.refresh(&service).await.unwrap(), 403);
    }
    let log = server.stop().stderr;
    assert_eq!(log.matches("a refresh token is ahead of the database").count(), CLIENTS, "{log}");
    assert!(!log.contains("reuse"), "{log}");
}
