//! Compares `authcli` with the tools that one would use without it: `get` with curl, `burst` with oha.
//!
//! Both run against the same release server on loopback, in turns (A B A B …), so that whatever else the machine does
//! meets both. What counts is the ratio of the medians; nothing is asserted about times. `scripts/bench.sh` builds
//! what this needs and runs it; `OHA` and `CURL` name other binaries than those on the path.

#![expect(clippy::expect_used, reason = "a broken expectation ends the comparison")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

const GET_ROUNDS: usize = 100;
const BURST_ROUNDS: usize = 7;
const REQUESTS: &str = "20000";
const CONCURRENCY: &str = "50";

fn main() {
    let server = Server::start();
    let user = User::log_in(&server.url);
    let url = format!("{}/protected", server.url);

    println!("{:<24} {:<14} {:>10} {:>10} {:>10}", "", "", "median", "min", "max");
    compare(
        "get",
        "ms",
        GET_ROUNDS,
        ("authcli get", || milliseconds(user.authcli(&["get", "/protected"]))),
        ("curl", || milliseconds(user.curl(&url))),
    );
    compare("burst", "requests/s", BURST_ROUNDS, ("authcli burst", || user.burst()), ("oha", || user.oha(&url)));
}

/// Measures both in turns, after a round that does not count, and prints a table and a line of JSON.
fn compare(
    name: &str,
    unit: &str,
    rounds: usize,
    (ours, our_run): (&str, impl Fn() -> f64),
    (theirs, their_run): (&str, impl Fn() -> f64),
) {
    our_run();
    their_run();
    let pairs: Vec<(f64, f64)> = (0..rounds).map(|_| (our_run(), their_run())).collect();

    let our_figures = Figures::of(pairs.iter().map(|pair| pair.0));
    let their_figures = Figures::of(pairs.iter().map(|pair| pair.1));
    let within_a_round = Figures::of(pairs.iter().map(|pair| pair.0 / pair.1));
    let ratio = our_figures.median / their_figures.median;

    let heading = format!("{name} [{unit}]");
    our_figures.print(&heading, ours);
    their_figures.print("", theirs);
    println!(
        "{:<24} {:<14} {ratio:>10.2} {:>10.2} {:>10.2}   of {rounds} rounds",
        "", "ratio", within_a_round.min, within_a_round.max
    );
    let line = json!({
        "comparison": name, "unit": unit, "rounds": rounds,
        ours: our_figures.json(), theirs: their_figures.json(),
        "ratio_of_medians": rounded(ratio), "ratio_min": rounded(within_a_round.min), "ratio_max": rounded(within_a_round.max),
    });
    println!("{line}\n");
}

/// The median and the ends of a row of measurements.
struct Figures {
    median: f64,
    min: f64,
    max: f64,
}

impl Figures {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let (lower, upper) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Self { median: f64::midpoint(lower, upper), min: sorted[0], max: sorted[sorted.len() - 1] }
    }

    fn print(&self, heading: &str, tool: &str) {
        println!("{heading:<24} {tool:<14} {:>10.2} {:>10.2} {:>10.2}", self.median, self.min, self.max);
    }

    fn json(&self) -> Value {
        json!({"median": rounded(self.median), "min": rounded(self.min), "max": rounded(self.max)})
    }
}

/// Returns the figure with three decimals: the rest is noise.
fn rounded(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
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

/// A command that the settings of whoever runs this do not reach.
fn plain_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AUTHCLI_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// A user who is logged in, with a configuration directory of their own and the file store.
struct User {
    directory: TempDir,
    /// The `Authorization` header for curl, readable by this user alone.
    header: NamedTempFile,
    curl: OsString,
    oha: OsString,
}

impl User {
    fn log_in(server: &str) -> Self {
        let mut user = Self {
            directory: TempDir::new().expect("a temporary directory can be made"),
            header: NamedTempFile::new().expect("a temporary file can be made"),
            curl: env::var_os("CURL").unwrap_or_else(|| "curl".into()),
            oha: env::var_os("OHA").unwrap_or_else(|| "oha".into()),
        };
        let mut login =
            user.authcli(&["login", "-u", "admin", "--password-stdin", "--store", "file", "--server", server]);
        let mut process = login.stdin(Stdio::piped()).spawn().expect("authcli can be started");
        let mut stdin = process.stdin.take().expect("stdin is piped");
        writeln!(stdin, "123456").expect("authcli reads the password");
        drop(stdin);
        assert!(process.wait().expect("authcli can be waited for").success(), "the login failed");

        let header = user.token_header();
        user.header.write_all(header.as_bytes()).expect("the header can be written");
        user
    }

    fn authcli(&self, arguments: &[&str]) -> Command {
        let mut command = plain_command(env!("CARGO_BIN_EXE_authcli"));
        command.args(arguments);
        command.env("AUTHCLI_CONFIG_DIR", self.directory.path().join("config")).env("NO_PROXY", "127.0.0.1");
        command
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
        let report = report_of(self.authcli(&["burst", "-n", REQUESTS, "-c", CONCURRENCY, "--json"]));
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
        let output = self.authcli(&["token", "--header"]).output().expect("authcli can be started");
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
