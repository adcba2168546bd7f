//! Compares `authcli` with the tools that one would use without it: `get` with curl, `burst` with oha.
//!
//! Both run against the same release server on loopback, in turns. What counts is the ratio of the medians.
//! `scripts/bench.sh` builds what this needs and runs it; `OHA` and `CURL` name other binaries than those on the path.

#![expect(clippy::expect_used, reason = "a broken expectation ends the comparison")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

mod support {
    pub(crate) mod figures;
    pub(crate) mod user;
}

use std::{
    env,
    ffi::OsString,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use self::support::figures::{Comparison, Relation};
use self::support::user::{User, plain_command};

const GET_ROUNDS: usize = 100;
const BURST_ROUNDS: usize = 7;
const REQUESTS: &str = "20000";
const CONCURRENCY: &str = "50";

fn main() {
    let server = Server::start();
    let caller = Caller::log_in(&server.url);
    let url = format!("{}/protected", server.url);

    let get = Comparison::measure(
        "get",
        "ms",
        GET_ROUNDS,
        [
            ("authcli get", &mut || milliseconds(caller.user.authcli(&["get", "/protected"]))),
            ("curl", &mut || milliseconds(caller.curl(&url))),
        ],
    );
    get.print(Relation::Ratio, None);
    let burst = Comparison::measure(
        "burst",
        "requests/s",
        BURST_ROUNDS,
        [("authcli burst", &mut || caller.burst()), ("oha", &mut || caller.oha(&url))],
    );
    burst.print(Relation::Ratio, None);
}

/// Runs the command to its end and returns how long that took, from before it was started.
fn milliseconds(mut command: Command) -> f64 {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).status().expect("the command can be started");
    let elapsed = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    elapsed.as_secs_f64() * 1000.0
}

/// Runs the command and returns the one JSON object that it prints.
fn report_of(mut command: Command) -> Value {
    let output = command.stderr(Stdio::inherit()).output().expect("the command can be started");
    assert!(output.status.success(), "{} ended with {}", command.get_program().display(), output.status);
    serde_json::from_slice(&output.stdout).expect("the command prints JSON")
}

/// Who calls the server with one token and several tools.
struct Caller {
    user: User,
    /// The `Authorization` header for curl, readable by this user alone.
    header: NamedTempFile,
    curl: OsString,
    oha: OsString,
}

impl Caller {
    fn log_in(server: &str) -> Self {
        let mut caller = Self {
            user: User::new(),
            header: NamedTempFile::new().expect("a temporary file can be made"),
            curl: env::var_os("CURL").unwrap_or_else(|| "curl".into()),
            oha: env::var_os("OHA").unwrap_or_else(|| "oha".into()),
        };
        caller.user.log_in(server);
        let header = caller.token_header();
        caller.header.write_all(header.as_bytes()).expect("the header can be written");
        caller
    }

    /// curl with the same token, from a file: on the command line everybody on the machine could read it.
    fn curl(&self, url: &str) -> Command {
        let mut command = Command::new(&self.curl);
        command.args(["--silent", "--fail", "--noproxy", "*", "--header"]);
        command.arg(format!("@{}", self.header.path().display())).arg(url).stdin(Stdio::null());
        command
    }

    /// Requests per second of a burst.
    fn burst(&self) -> f64 {
        let report = report_of(self.user.authcli(&["burst", "-n", REQUESTS, "-c", CONCURRENCY, "--json"]));
        assert_eq!(report["statuses"].to_string(), format!("{{\"200\":{REQUESTS}}}"), "{report}");
        report["requests_per_second"].as_f64().expect("burst reports requests_per_second")
    }

    /// Requests per second of oha with the same token.
    ///
    /// oha takes a header on the command line alone. This token is worth nothing: it is one of a demo server with a
    /// public password, which ends with this comparison.
    fn oha(&self, url: &str) -> f64 {
        let mut command = Command::new(&self.oha);
        command.args(["-n", REQUESTS, "-c", CONCURRENCY, "--no-tui", "--output-format", "json"]);
        command.arg("-H").arg(self.token_header().trim_end()).arg(url).stdin(Stdio::null());
        let report = report_of(command);
        let statuses = &report["statusCodeDistribution"];
        assert_eq!(statuses.to_string(), format!("{{\"200\":{REQUESTS}}}"), "oha");
        report["summary"]["requestsPerSec"].as_f64().expect("oha reports requestsPerSec")
    }

    fn token_header(&self) -> String {
        let output = self.user.authcli(&["token", "--header"]).output().expect("authcli can be started");
        assert!(output.status.success(), "`authcli token --header` failed");
        String::from_utf8(output.stdout).expect("a header is text")
    }
}

/// The release server on a free port, ended when it is dropped.
struct Server {
    process: Child,
    url: String,
    /// Holds the database, and is deleted after the server has ended.
    _directory: TempDir,
}

impl Server {
    fn start() -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_authcli"))
            .with_file_name("authcli-server")
            .with_extension(env::consts::EXE_EXTENSION);
        assert!(binary.exists(), "{} is missing: run scripts/bench.sh", binary.display());

        let directory = TempDir::new().expect("a temporary directory can be made");
        let database = format!("sqlite:{}", directory.path().join("bench.db").display());
        let mut process = plain_command(binary)
            .args(["serve", "--demo", "--access-ttl", "1h", "--listen", "127.0.0.1:0", "--database", &database])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server can be started");
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
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
