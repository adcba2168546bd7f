//! What `authcli proxy` costs: wrk through it, beside wrk at the server itself with a valid token, in turns.
//!
//! All of it shares this machine: wrk, the proxy and the server. `WRK` names another wrk than the one on the path.

#![expect(clippy::expect_used, reason = "a broken expectation ends the comparison")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

mod support {
    pub(crate) mod figures;
    pub(crate) mod server;
    pub(crate) mod user;
}

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tempfile::NamedTempFile;

use self::support::figures::{Comparison, Relation};
use self::support::server::Server;
use self::support::user::User;

const ROUNDS: usize = 5;
/// In milliseconds, at the median.
const MORE_AT_MOST: f64 = 0.5;
const SHARE_AT_LEAST: f64 = 1.0 / 3.0;

fn main() {
    let server = Server::start("1h");
    let user = User::new();
    user.log_in(&server.url);
    let proxy = Proxy::start(&user);
    let output = user.authcli(&["token", "--header"]).output().expect("authcli can be started");
    assert!(output.status.success(), "`authcli token --header` failed");
    let header = String::from_utf8(output.stdout).expect("a header is text");
    let token = header.trim_end().strip_prefix("Authorization: ").expect("it is the header");

    let through = Target::new(&proxy.origin, &format!("{}/protected", proxy.prefix), None);
    let direct = Target::new(&server.url, "/protected", Some(token));
    let p50 = Comparison::measure(
        "proxy, one client, p50",
        "ms",
        ROUNDS,
        [("authcli proxy", &mut || through.load(1, 2).p50), ("direct", &mut || direct.load(1, 2).p50)],
    );
    p50.print(Relation::Difference, Some(MORE_AT_MOST));
    let rate = Comparison::measure(
        "proxy, 50 clients",
        "requests/s",
        ROUNDS,
        [("authcli proxy", &mut || through.load(50, 3).per_second), ("direct", &mut || direct.load(50, 3).per_second)],
    );
    rate.print(Relation::TimesAtLeast, Some(SHARE_AT_LEAST));
}

/// What wrk calls.
struct Target {
    origin: String,
    /// Path and token, readable by this user alone.
    call: NamedTempFile,
}

struct Measured {
    per_second: f64,
    p50: f64,
}

impl Target {
    fn new(origin: &str, path: &str, token: Option<&str>) -> Self {
        let mut call = NamedTempFile::new().expect("a temporary file can be made");
        writeln!(call, "{path}").expect("it can be written");
        if let Some(token) = token {
            writeln!(call, "{token}").expect("it can be written");
        }
        Self { origin: origin.to_owned(), call }
    }

    fn load(&self, connections: usize, seconds: u32) -> Measured {
        let mut command = Command::new(env::var_os("WRK").unwrap_or_else(|| "wrk".into()));
        command.args(["--threads", "1", "--connections", &connections.to_string()]);
        command.args(["--duration", &format!("{seconds}s"), "--latency"]);
        command.args(["--script", concat!(env!("CARGO_MANIFEST_DIR"), "/benches/support/call.lua")]);
        command.arg(&self.origin).arg("--").arg(self.call.path()).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.output().expect("wrk can be started");
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().unwrap_or_default();
        let report: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("wrk printed no report: {text}"));
        let number = |name: &str| report[name].as_f64().expect("the report holds numbers");
        assert!(number("failed") < 0.5 && number("requests") > 0.5, "calls failed: {report}");
        Measured { per_second: number("requests") / number("seconds"), p50: number("p50_ms") }
    }
}

/// The release proxy on a free port, ended when it is dropped.
struct Proxy {
    process: Child,
    origin: String,
    prefix: String,
}

impl Proxy {
    fn start(user: &User) -> Self {
        let mut process = user.authcli(&["proxy"]).stdout(Stdio::piped()).spawn().expect("authcli can be started");
        let stdout = process.stdout.take().expect("stdout is piped");
        // Guards the process from here on.
        let mut proxy = Self { process, origin: String::new(), prefix: String::new() };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("its output is text");
        let address = line.trim_end().strip_prefix("listening on http://").expect("it says where it listens");
        let (authority, key) = address.split_once('/').expect("there is a key");
        (proxy.origin, proxy.prefix) = (format!("http://{authority}"), format!("/{key}"));
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Fails only for a process that has ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
