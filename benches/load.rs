//! Many requests: `burst` beside oha, `batch` beside `burst`, what either holds in memory, and what a refresh in the
//! middle of a burst costs.
//!
//! All run against the same release server on loopback, in turns. `scripts/bench.sh` builds what this needs and runs it;
//! `OHA` names another binary than that on the path.

#![expect(clippy::expect_used, reason = "a broken expectation ends the comparison")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

mod support {
    pub(crate) mod figures;
    pub(crate) mod server;
    pub(crate) mod user;
}

use std::env;
use std::fmt::Write as _;
use std::fs::File;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;

use self::support::figures::{Comparison, Relation};
use self::support::server::Server;
use self::support::user::User;

const ROUNDS: usize = 5;
const REQUESTS: u64 = 30_000;
const BURST_TARGET: f64 = 0.75;

const BATCH_LINES: u64 = 100_000;
const BATCH_ROUNDS: usize = 3;
const BATCH_TARGET: f64 = 0.8;

const MEMORY_REQUESTS: u64 = 200_000;
const MEMORY_TARGET_MIB: u64 = 64;

/// Long work refreshes when three quarters of a life are over; a burst of a second that begins half a second before that
/// has the refresh in its middle.
const LIFE: &str = "4s";
const BEFORE: Duration = Duration::from_millis(2_500);
const EXPIRY_ROUNDS: usize = 7;
const EXPIRY_TARGET: f64 = 1.2;

fn main() {
    let server = Server::start("1h");
    let user = User::new();
    user.log_in(&server.url);
    for concurrency in [50, 400] {
        let comparison = Comparison::measure(
            format!("burst -c {concurrency}"),
            "requests/s",
            ROUNDS,
            [
                ("authcli burst", &mut || burst(&user, concurrency)),
                ("oha", &mut || oha(&user, &server.url, concurrency)),
            ],
        );
        comparison.print(Relation::TimesAtLeast, Some(BURST_TARGET));
    }
    let comparison = Comparison::measure(
        format!("batch of {BATCH_LINES} lines, -c 50"),
        "requests/s",
        BATCH_ROUNDS,
        [
            ("authcli batch", &mut || whole_run(batch(&user, BATCH_LINES), BATCH_LINES)),
            ("authcli burst", &mut || whole_run(plain_burst(&user, BATCH_LINES), BATCH_LINES)),
        ],
    );
    comparison.print(Relation::TimesAtLeast, Some(BATCH_TARGET));
    for (name, command) in [("burst", plain_burst(&user, MEMORY_REQUESTS)), ("batch", batch(&user, MEMORY_REQUESTS))] {
        let peak = peak_memory(command);
        let verdict = if peak < MEMORY_TARGET_MIB { "" } else { "   MISSED" };
        println!("{name} of {MEMORY_REQUESTS}: {peak} MiB at most (target < {MEMORY_TARGET_MIB} MiB){verdict}\n");
    }
    expiry(&user);
}

/// The slowest hundredth of a second with a refresh in its middle, beside one without.
fn expiry(steady: &User) {
    let server = Server::start(LIFE);
    let user = User::new();
    let comparison = Comparison::measure(
        "p99 of a second of burst -c 50",
        "ms",
        EXPIRY_ROUNDS,
        [
            ("with a refresh in it", &mut || {
                user.log_in(&server.url);
                sleep(BEFORE);
                p99(&user, 1)
            }),
            ("without", &mut || p99(steady, 0)),
        ],
    );
    comparison.print(Relation::TimesAtMost, Some(EXPIRY_TARGET));
}

fn p99(user: &User, refreshes: u64) -> f64 {
    let report = report_of(user.authcli(&["burst", "--duration", "1s", "-c", "50", "--json"]));
    assert_eq!((&report["failed"], &report["refreshes"]), (&0.into(), &refreshes.into()), "{report}");
    report["latency_ms"]["p99"].as_f64().expect("burst reports latencies")
}

/// Requests per second, as the program itself tells it.
fn burst(user: &User, concurrency: u64) -> f64 {
    let (requests, at_a_time) = (REQUESTS.to_string(), concurrency.to_string());
    let report = report_of(user.authcli(&["burst", "-n", &requests, "-c", &at_a_time, "--json"]));
    assert_eq!(report["statuses"].to_string(), format!("{{\"200\":{REQUESTS}}}"), "{report}");
    report["requests_per_second"].as_f64().expect("burst reports requests_per_second")
}

/// Requests per second of oha with the same token.
///
/// oha takes a header on the command line alone. This token is worth nothing: it is one of a demo server with a
/// public password, which ends with this comparison.
fn oha(user: &User, server: &str, concurrency: u64) -> f64 {
    let token = user.authcli(&["token", "--header"]).output().expect("authcli can be started");
    assert!(token.status.success(), "`authcli token --header` failed");
    let header = String::from_utf8(token.stdout).expect("a header is text");
    let mut command = Command::new(env::var_os("OHA").unwrap_or_else(|| "oha".into()));
    command.args(["-n", &REQUESTS.to_string(), "-c", &concurrency.to_string(), "--no-tui", "--output-format", "json"]);
    command.arg("-H").arg(header.trim_end()).arg(format!("{server}/protected")).stdin(Stdio::null());
    let report = report_of(command);
    let statuses = &report["statusCodeDistribution"];
    assert_eq!(statuses.to_string(), format!("{{\"200\":{REQUESTS}}}"), "oha");
    report["summary"]["requestsPerSec"].as_f64().expect("oha reports requestsPerSec")
}

fn plain_burst(user: &User, requests: u64) -> Command {
    user.authcli(&["burst", "-n", &requests.to_string(), "-c", "50", "--json"])
}

/// A batch whose lines are in a file, as a shell would give them.
fn batch(user: &User, lines: u64) -> Command {
    let path = user.path("lines");
    let mut text = String::new();
    for line in 1..=lines {
        writeln!(text, "/protected?i={line}").expect("a string can be written to");
    }
    std::fs::write(&path, text).expect("the lines can be written");
    let mut command = user.authcli(&["batch", "-c", "50"]);
    command.stdin(File::open(&path).expect("the lines are there"));
    command
}

/// Requests per second, from the start of the program to its end.
fn whole_run(mut command: Command, requests: u64) -> f64 {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).status().expect("the command can be started");
    let elapsed = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    #[expect(clippy::cast_precision_loss, reason = "a count of requests is far below 2^53")]
    let requests = requests as f64;
    requests / elapsed.as_secs_f64()
}

/// Returns the most memory that the program used, in MiB.
fn peak_memory(mut command: Command) -> u64 {
    let mut process = command.stdout(Stdio::null()).spawn().expect("the command can be started");
    let status_file = format!("/proc/{}/status", process.id());
    let mut peak = 0;
    // The system keeps the peak itself; so what matters is to look once more shortly before the end.
    let status = loop {
        if let Some(status) = process.try_wait().expect("the command can be waited for") {
            break status;
        }
        let text = std::fs::read_to_string(&status_file).unwrap_or_default();
        let kib = text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kib.unwrap_or(0_u64));
        sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "{command:?}: {status}");
    assert!(peak > 0, "the system tells no process's memory");
    peak.div_ceil(1024)
}

/// Runs the command and returns the one JSON object that it prints.
fn report_of(mut command: Command) -> Value {
    let output = command.stderr(Stdio::inherit()).output().expect("the command can be started");
    assert!(output.status.success(), "{} ended with {}", command.get_program().display(), output.status);
    serde_json::from_slice(&output.stdout).expect("the command prints JSON")
}
