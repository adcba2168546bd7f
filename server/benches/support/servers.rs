//! The servers that are measured: the release build of ours, and a Koa server as other people write it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use std::{env, fs, thread};

use tempfile::TempDir;

/// A server on a free port of loopback, ended when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
    /// Holds what it keeps, and is deleted after it has ended.
    _directory: TempDir,
}

impl Server {
    /// Ours, on a new SQLite file.
    pub(crate) fn on_sqlite() -> Self {
        let directory = directory();
        let database = format!("sqlite:{}", directory.path().join("bench.db").display());
        Self::ours(&database, directory)
    }

    /// Ours, on an empty PostgreSQL database.
    pub(crate) fn on_postgres(database: &str) -> Self {
        Self::ours(database, directory())
    }

    fn ours(database: &str, directory: TempDir) -> Self {
        let mut command = plain_command(env!("CARGO_BIN_EXE_authcli-server"));
        command.args(["serve", "--demo", "--access-ttl", "1h", "--listen", "127.0.0.1:0"]);
        // Not in the arguments, as in real use: a URL may hold a password. On PostgreSQL, the pepper lies under HOME.
        command.env("AUTHCLI_SERVER_DATABASE", database).env("HOME", directory.path()).env_remove("XDG_DATA_HOME");
        Self::start(command, directory)
    }

    /// The Koa server of `tests/peers`, which keeps nothing: its refresh is two signatures.
    pub(crate) fn koa() -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/peers");
        assert!(peers.join("node_modules").exists(), "its libraries are missing: run scripts/bench.sh");
        let mut command = plain_command("node");
        command.arg(peers.join("koa-server.mjs")).env("ACCESS_TTL", "1h").env("PORT", "0");
        command.env("NODE_ENV", "production");
        Self::start(command, directory())
    }

    fn start(mut command: Command, directory: TempDir) -> Self {
        // The log is written as in real use; that nobody keeps it is what a terminal would cost.
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().expect("the server can be started");
        let stdout = process.stdout.take().expect("stdout is piped");
        // Guards the process from here on.
        let mut server = Self { process, url: String::new(), _directory: directory };
        let mut line = String::new();
        // The end of the pipe ends this wait too: the line is then empty.
        BufReader::new(stdout).read_line(&mut line).expect("the server's output is text");
        line.trim_end()
            .strip_prefix("listening on ")
            .expect("the server says where it listens")
            .clone_into(&mut server.url);
        server
    }

    /// Returns how many connections it has now.
    pub(crate) fn connections(&self) -> usize {
        const ESTABLISHED: &str = "01";
        let port: u16 = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a URL ends in a port");
        let local = format!(":{port:04X}");
        let table = fs::read_to_string("/proc/net/tcp").expect("the system tells of connections");
        table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>())
            .filter(|fields| fields.len() > 3 && fields[1].ends_with(&local) && fields[3] == ESTABLISHED)
            .count()
    }

    /// Answers whether it did next to nothing during a tenth of a second.
    pub(crate) fn is_idle(&self) -> bool {
        let before = self.ticks();
        thread::sleep(Duration::from_millis(100));
        self.ticks() <= before + 1
    }

    /// Returns how long it has computed, in hundredths of a second.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).expect("the server lives");
        // The name in parentheses comes second and may hold anything; user and system time are 14th and 15th.
        let (_, fields) = stat.rsplit_once(')').expect("the system tells the name");
        fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("times are numbers")).sum()
    }

    /// Returns the memory in MB that it holds now.
    pub(crate) fn resident_mb(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).expect("the server lives");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the system tells VmRSS");
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().expect("VmRSS is a number of kB");
        kib / 1024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A directory beside what was built, which is on a disk: what holds temporary files elsewhere may be memory.
fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory can be made")
}

/// A command that the settings of whoever runs this do not reach.
fn plain_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AUTHCLI_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}
