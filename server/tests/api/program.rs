//! The real program, started and stopped.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::helpers::Backend;
use crate::leaks;
use crate::postgres::{Cluster, connect};

const PATIENCE: Duration = Duration::from_secs(20);

/// A place of its own: a home, a directory for temporary files, nothing of the real environment.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let directory = tempfile::tempdir().unwrap();
        for name in ["home", "tmp"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        Place { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the value of `--database` for a file of this name.
    pub(crate) fn database(&self, name: &str) -> String {
        format!("sqlite:{}", self.path(name).display())
    }

    /// Returns the value of `--database` for a new database of this kind.
    pub(crate) async fn database_on(&self, backend: Backend) -> String {
        match backend {
            Backend::Sqlite => self.database("a.db"),
            Backend::Postgres => Cluster::shared().database().await,
        }
    }

    /// Runs a statement on such a database.
    pub(crate) async fn execute(&self, database: &str, sql: &str) {
        let sql = AssertSqlSafe(sql);
        match database.strip_prefix("sqlite:") {
            Some(path) => {
                let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
                connection.close().await.unwrap();
            }
            None => {
                sqlx::raw_sql(sql).execute(&mut connect(database).await).await.unwrap();
            }
        }
    }

    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_authcli-server"));
        command.args(arguments).env_clear();
        command.env("HOME", self.path("home")).env("TMPDIR", self.path("tmp"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command to its end; one that does not end is stopped and has failed.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        finish(self.command(arguments).spawn().unwrap())
    }

    /// Runs a command that reads a password.
    pub(crate) fn run_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> Output {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // It may have refused already, without reading.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        leaks::remember(input);
        finish(child)
    }
}

/// Waits for the end of a program, and returns what it wrote.
pub(crate) fn finish(mut child: Child) -> Output {
    let stderr = read_in_background(child.stderr.take().unwrap());
    let stdout = read_in_background(child.stdout.take().unwrap());
    let status = wait(&mut child);
    let output = Output { status, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() };
    leaks::expect_none_in(&output.stdout);
    leaks::expect_none_in(&output.stderr);
    output
}

fn read_in_background(mut stream: impl std::io::Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

fn wait(child: &mut Child) -> ExitStatus {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if started.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("the program did not end");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// A running server.
pub(crate) struct Program {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
    stderr: Option<thread::JoinHandle<Vec<u8>>>,
    pub(crate) url: String,
}

/// How a server ended, and what it wrote after its first line.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Program {
    /// Starts a server and waits for its line on standard output.
    pub(crate) fn start(mut command: Command) -> Program {
        let mut child = command.spawn().unwrap();
        let stderr = read_in_background(child.stderr.take().unwrap());
        Program::announced(child, stderr)
    }

    /// Starts a server whose standard error goes where the command sends it.
    pub(crate) fn start_without_stderr(mut command: Command) -> Program {
        Program::announced(command.spawn().unwrap(), thread::spawn(Vec::new))
    }

    fn announced(mut child: Child, stderr: thread::JoinHandle<Vec<u8>>) -> Program {
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            let _ = send.send((line, stdout));
        });
        let Ok((line, stdout)) = receive.recv_timeout(PATIENCE) else {
            child.kill().unwrap();
            panic!("the server said nothing");
        };
        let url = line.strip_prefix("listening on ").map(|url| url.trim_end().to_owned());
        let Some(url) = url else {
            child.kill().unwrap();
            child.wait().unwrap();
            let stderr = String::from_utf8(stderr.join().unwrap()).unwrap();
            panic!("the server said {line:?} and {stderr}");
        };
        Program { child, stdout: Some(stdout), stderr: Some(stderr), url }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Returns the memory in KiB that it holds now.
    #[cfg(target_os = "linux")]
    pub(crate) fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches("kB").trim().parse().unwrap()
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let status = wait(&mut self.child);
        let mut stdout = String::new();
        self.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        let stderr = self.stderr.take().unwrap().join().unwrap();
        leaks::expect_none_in(&stderr);
        Ended { code: status.code(), stdout, stderr: String::from_utf8(stderr).unwrap() }
    }

    /// Asks it to stop and waits for the end.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.end()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Already gone after `end`; a failed test leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(stderr) = self.stderr.take()
            && !thread::panicking()
        {
            leaks::expect_none_in(&stderr.join().unwrap());
        }
    }
}

/// Expects a command to have failed with this exit code and one clear message; returns that message.
pub(crate) fn refused(output: &Output, code: i32) -> String {
    let stderr = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(output.stdout, b"", "{stderr}");
    assert!(stderr.starts_with("error: "), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    stderr
}

/// Returns the names in a directory.
pub(crate) fn names(path: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<std::fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<_> = std::fs::read_dir(path).unwrap().map(|entry| name(entry).into_string().unwrap()).collect();
    names.sort();
    names
}
