//! A PostgreSQL cluster that belongs to this test run alone.
//!
//! It lies in a temporary directory, listens on a socket in it, and runs as an ordinary user also where the tests run as
//! root, which PostgreSQL refuses to. A guard outlives this process, however it ends, stops the cluster by its process
//! id and removes the directory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use authcli_server::store::DatabaseUrl;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

/// What the cluster is told; nothing but this process's own crash matters, so nothing needs to reach the disk.
const SETTINGS: &str = "
listen_addresses = ''
port = 5432
max_connections = 200
shared_buffers = '32MB'
fsync = off
autovacuum_naptime = '1h'
";

/// Waits for the end of its standard input, which comes when this process ends, then for that of the server.
const GUARD: &str = r#"
cat >/dev/null
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -INT "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
fi
rm -rf "$1"
"#;

/// A running cluster.
pub(crate) struct Cluster {
    directory: PathBuf,
    programs: PathBuf,
    /// Dropping it lets the guard know.
    guard: Option<Child>,
    databases: AtomicU32,
}

impl Cluster {
    /// Returns the cluster that all tests of this process share.
    pub(crate) fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(Cluster::start)
    }

    /// Starts a cluster of one's own, for tests that stop it.
    pub(crate) fn start() -> Cluster {
        let directory = tempfile::Builder::new().prefix("authcli-pg-").tempdir().unwrap().keep();
        if rustix::process::geteuid().is_root() {
            let (user, group) = ordinary_user();
            chown(&directory, Some(user), Some(group)).unwrap();
        }
        // A test that runs as an ordinary user has it to itself; root may pass anyway.
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        let mut guard = unprivileged(Path::new("sh"), &directory);
        guard.args(["-c", GUARD, "sh"]).arg(&directory).stdin(Stdio::piped()).stdout(Stdio::null());
        // A Ctrl-C in the terminal is for the tests; the guard has work to do afterwards.
        let guard = guard.stderr(Stdio::null()).process_group(0).spawn().unwrap();
        let Some(programs) = Self::programs() else { panic!("PostgreSQL is not installed") };
        let cluster = Cluster { directory, programs, guard: Some(guard), databases: AtomicU32::new(0) };
        cluster.run("initdb", &["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]);
        let settings = cluster.directory.join("data/postgresql.conf");
        let text = fs::read_to_string(&settings).unwrap() + SETTINGS;
        let text = text + &format!("unix_socket_directories = '{}'\n", cluster.directory.display());
        fs::write(&settings, text).unwrap();
        cluster.resume();
        cluster
    }

    /// Starts the server, and waits until it takes connections.
    pub(crate) fn resume(&self) {
        let log = self.directory.join("log");
        self.run("pg_ctl", &["-w", "-s", "-t", "60", "-l", log.to_str().unwrap(), "start"]);
    }

    /// Starts the server where only who knows of it finds it, and returns the URL that a database has there.
    pub(crate) fn resume_aside(&self, database: &str) -> String {
        let log = self.directory.join("log");
        self.run("pg_ctl", &["-w", "-s", "-t", "60", "-l", log.to_str().unwrap(), "-o", "-p 5433", "start"]);
        database.replace("&port=5432&", "&port=5433&")
    }

    /// Ends the server in good order.
    pub(crate) fn stop(&self) {
        self.run("pg_ctl", &["-w", "-s", "-m", "fast", "stop"]);
    }

    /// Ends the server without letting it finish anything.
    pub(crate) fn crash(&self) {
        self.run("pg_ctl", &["-w", "-s", "-m", "immediate", "stop"]);
    }

    /// Returns the directory of PostgreSQL's own programs, which Debian keeps off the PATH.
    pub(crate) fn programs() -> Option<PathBuf> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        if let Some(directory) = std::env::split_paths(&path).find(|directory| directory.join("initdb").is_file()) {
            return Some(directory);
        }
        let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
        installed
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().to_string_lossy().parse().unwrap_or(0), entry.path().join("bin")))
            .filter(|(_, directory)| directory.join("initdb").is_file())
            .max_by_key(|(version, _): &(u32, PathBuf)| *version)
            .map(|(_, directory)| directory)
    }

    /// Makes an empty database and returns its URL.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut connection = connect(&self.url("postgres")).await;
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        self.url(&name)
    }

    /// Returns the directory that the socket is in.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the URL of a database.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres:///{database}?host={}&port=5432&user=postgres", self.directory.display())
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let errors = self.directory.join("errors");
        let started = Instant::now();
        let status = unprivileged(&self.programs.join(program), &self.directory)
            .arg("-D")
            .arg(self.directory.join("data"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // Not a pipe: the server inherits it and would keep it open.
            .stderr(fs::File::create(&errors).unwrap())
            .status()
            .unwrap();
        let errors = || fs::read_to_string(&errors).unwrap_or_default();
        assert!(status.success(), "{program} failed after {:?}: {}", started.elapsed(), errors());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut guard) = self.guard.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }
}

/// Opens a connection of the test's own.
pub(crate) async fn connect(url: &str) -> PgConnection {
    let started = Instant::now();
    loop {
        match PgConnection::connect(url).await {
            Ok(connection) => return connection,
            Err(error) => assert!(started.elapsed() < Duration::from_secs(10), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Reads a URL that is known to be one.
pub(crate) fn database_url(url: &str) -> DatabaseUrl {
    DatabaseUrl::parse(url).unwrap()
}

/// Returns a command that runs as whoever owns `directory`, and in it.
fn unprivileged(program: &Path, directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    if rustix::process::geteuid().is_root() {
        let owner = fs::metadata(directory).unwrap();
        command.uid(owner.uid()).gid(owner.gid());
    }
    command
}

/// Returns the numbers of a user that is not root.
fn ordinary_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let number = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    number("postgres").or_else(|| number("nobody")).unwrap()
}
