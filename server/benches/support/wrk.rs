//! Loads by wrk, with a Lua script each; what a script reads is in files that nobody else may read.

use std::env;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::NamedTempFile;

/// What each connection does, over and over.
#[derive(Clone, Copy)]
pub(crate) enum Script {
    /// GETs with one bearer token, as fast as answers come.
    Bearer,
    /// The same, with pauses.
    Paced,
    /// Redeems refresh tokens, each got by the one before it.
    Refresh,
    /// Logs in with wrong passwords.
    Flood,
}

/// So many connections for so long.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) script: Script,
    pub(crate) connections: usize,
    pub(crate) seconds: u32,
}

/// A load that is running. Ended when it is dropped.
pub(crate) struct Running {
    process: Option<Child>,
    script: Script,
    /// Deleted when it is over.
    _files: [NamedTempFile; 2],
}

/// What came out of a load in which every answer was one that may come.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) per_second: f64,
    pub(crate) p99_ms: f64,
    /// Logins whose password was hashed and compared, a second.
    pub(crate) heard_per_second: f64,
}

/// Connections are spread over so many threads: a single one would be slower than the servers.
const THREADS: usize = 2;

impl Load {
    /// Runs to its end. `secrets` are what the script reads: a header, or a refresh token for each connection.
    pub(crate) fn run(self, url: &str, secrets: &[String]) -> Measured {
        self.start(url, secrets).finish()
    }

    pub(crate) fn start(self, url: &str, secrets: &[String]) -> Running {
        let script = private_file(&format!("{}\n{}", include_str!("report.lua"), self.script.text()));
        let lines = secrets.iter().fold(String::new(), |mut lines, secret| {
            writeln!(lines, "{secret}").expect("a string takes all");
            lines
        });
        let secrets = private_file(&lines);
        let wrk = env::var_os("WRK").unwrap_or_else(|| "wrk".into());
        let mut command = match self.script {
            // A flood comes from elsewhere: here it gives way, or it would slow what is measured by the cores it takes
            // and not by what it asks for.
            Script::Flood => {
                let mut command = Command::new("nice");
                command.args(["-n", "19"]).arg(wrk);
                command
            }
            Script::Bearer | Script::Paced | Script::Refresh => Command::new(wrk),
        };
        let options = ["--threads", &THREADS.to_string(), "--connections", &self.connections.to_string()];
        // A login in a flood may wait for long; a connection that times out is counted and fails the measurement.
        command.args(options).args(["--timeout", "60s", "--duration", &format!("{}s", self.seconds), "--script"]);
        command.arg(script.path()).arg(url).arg("--").arg(secrets.path()).arg(THREADS.to_string());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let process = command.spawn().expect("wrk can be started");
        Running { process: Some(process), script: self.script, _files: [script, secrets] }
    }
}

impl Running {
    pub(crate) fn is_running(&mut self) -> bool {
        let process = self.process.as_mut().expect("only `finish` takes it");
        process.try_wait().expect("wrk can be waited for").is_none()
    }

    pub(crate) fn finish(mut self) -> Measured {
        let process = self.process.take().expect("only this takes it");
        let output = process.wait_with_output().expect("wrk can be waited for");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "wrk ended with {}: {text}", output.status);
        let line = text.lines().last().unwrap_or_default();
        let report: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("wrk printed no report: {text}"));
        let number = |name: &str| report[name].as_f64().expect("the report holds numbers");
        let mut right = number("failed") + number("unexpected") < 0.5;
        // A flood is turned away, or still waits for its first answer when it ends.
        if !matches!(self.script, Script::Flood) {
            right &= number("not_ok") < 0.5 && number("requests") > 0.5;
        }
        assert!(right, "calls failed, or answers that may not come: {report}");
        let per_second = |name: &str| number(name) / number("seconds");
        Measured { per_second: per_second("requests"), p99_ms: number("p99_ms"), heard_per_second: per_second("heard") }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Fails only for a process that has ended already.
            drop(process.kill());
            drop(process.wait());
        }
    }
}

impl Script {
    fn text(self) -> String {
        match self {
            Self::Bearer => include_str!("bearer.lua").to_owned(),
            Self::Paced => [include_str!("bearer.lua"), include_str!("paced.lua")].concat(),
            Self::Refresh => include_str!("refresh.lua").to_owned(),
            Self::Flood => include_str!("flood.lua").to_owned(),
        }
    }
}

/// A file that its owner alone may read, and that is deleted when it is dropped.
fn private_file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file can be made");
    file.write_all(text.as_bytes()).expect("the file can be written");
    file
}
