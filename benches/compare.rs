//! Compares `authcli get` with curl, which one would use without it.
//!
//! Both run against the same release server on loopback, in turns. What counts is the ratio of the medians.
//! `scripts/bench.sh` builds what this needs and runs it; `CURL` names another binary than that on the path.

#![expect(clippy::expect_used, reason = "a broken expectation ends the comparison")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

mod support {
    pub(crate) mod figures;
    pub(crate) mod server;
    pub(crate) mod user;
}

use std::{
    env,
    ffi::OsString,
    io::Write as _,
    process::{Command, Stdio},
    time::Instant,
};

use tempfile::NamedTempFile;

use self::support::figures::{Comparison, Relation};
use self::support::server::Server;
use self::support::user::User;

const GET_ROUNDS: usize = 100;

fn main() {
    let server = Server::start("1h");
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
}

/// Runs the command to its end and returns how long that took, from before it was started.
fn milliseconds(mut command: Command) -> f64 {
    let start = Instant::now();
    let status = command.stdout(Stdio::null()).status().expect("the command can be started");
    let elapsed = start.elapsed();
    assert!(status.success(), "{command:?}: {status}");
    elapsed.as_secs_f64() * 1000.0
}

/// Who calls the server with one token and two tools.
struct Caller {
    user: User,
    /// The `Authorization` header for curl, readable by this user alone.
    header: NamedTempFile,
    curl: OsString,
}

impl Caller {
    fn log_in(server: &str) -> Self {
        let mut caller = Self {
            user: User::new(),
            header: NamedTempFile::new().expect("a temporary file can be made"),
            curl: env::var_os("CURL").unwrap_or_else(|| "curl".into()),
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

    fn token_header(&self) -> String {
        let output = self.user.authcli(&["token", "--header"]).output().expect("authcli can be started");
        assert!(output.status.success(), "`authcli token --header` failed");
        String::from_utf8(output.stdout).expect("a header is text")
    }
}
