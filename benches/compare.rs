//! Compares `authcli get` and `authcli token` with curl, which one would use without them.
//!
//! - `get` beside curl on the same page: from the file store, from a real Secret Service, and over https with the same
//!   authority of one's own (which both read anew each time);
//! - `token` beside a request of curl's, because it is what a script puts before each.
//!
//! All run against the same release server on loopback, in turns. What counts is the ratio of the medians.
//! `scripts/bench.sh` builds what this needs and runs it; `CURL` names another binary than that on the path.

#![expect(clippy::expect_used, reason = "a broken expectation ends the comparison")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

mod support {
    pub(crate) mod figures;
    #[cfg(target_os = "linux")]
    #[path = "../../tests/support/secret_service.rs"]
    #[expect(dead_code, clippy::unwrap_used, reason = "shared with tests, which need more of it")]
    pub(crate) mod secret_service;
    pub(crate) mod server;
    #[path = "../../tests/support/tls.rs"]
    #[expect(clippy::unwrap_used, reason = "shared with tests")]
    pub(crate) mod tls;
    pub(crate) mod user;

    /// When a wait for something that was started is called stuck.
    #[cfg(target_os = "linux")]
    pub(crate) const BOUND: std::time::Duration = std::time::Duration::from_secs(30);

    /// Waits until `condition` holds.
    #[cfg(target_os = "linux")]
    pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
        let start = std::time::Instant::now();
        while !condition() {
            assert!(start.elapsed() < BOUND, "{what}: not within {BOUND:?}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
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
#[cfg(target_os = "linux")]
use self::support::secret_service::SecretService;
use self::support::server::Server;
use self::support::tls::Tls;
use self::support::user::User;

const GET_ROUNDS: usize = 100;

fn main() {
    let server = Server::start("1h");
    let caller = Caller::log_in(&server.url, User::new(), "file");
    let url = format!("{}/protected", server.url);

    caller.beside_curl("get", &["get", "/protected"], &url).print(Relation::TimesAtMost, Some(0.7));
    caller.beside_curl("token", &["token"], &url).print(Relation::TimesAtMost, Some(0.5));
    #[cfg(target_os = "linux")]
    {
        let keyring = SecretService::start();
        let user = User::new().with("DBUS_SESSION_BUS_ADDRESS", &keyring.address);
        let caller = Caller::log_in(&server.url, user, "keyring");
        let get = caller.beside_curl("get, Secret Service", &["get", "/protected"], &url);
        get.print(Relation::TimesAtMost, Some(3.0));
    }
    over_https(&server);
}

/// Both trust one authority, from the same file.
fn over_https(server: &Server) {
    let tls = Tls::before(&server.url, "localhost");
    let file = NamedTempFile::new().expect("a temporary file can be made");
    let file = tls.write_authority(file.path());
    let file = file.to_str().expect("the temporary directory has a name in UTF-8");
    let user = User::new();
    let set = user.authcli(&["profile", "set", "cacert", file]).status().expect("authcli can be started");
    assert!(set.success(), "`authcli profile set` failed");
    let mut caller = Caller::log_in(&tls.url, user, "file");
    caller.curl_options = vec!["--cacert".into(), file.into()];
    let url = format!("{}/protected", tls.url);
    caller.beside_curl("get, https", &["get", "/protected"], &url).print(Relation::Ratio, None);
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
    curl_options: Vec<OsString>,
}

impl Caller {
    fn log_in(server: &str, user: User, store: &str) -> Self {
        let mut caller = Self {
            user,
            header: NamedTempFile::new().expect("a temporary file can be made"),
            curl: env::var_os("CURL").unwrap_or_else(|| "curl".into()),
            curl_options: Vec::new(),
        };
        caller.user.log_in_to(store, server);
        let header = caller.token_header();
        caller.header.write_all(header.as_bytes()).expect("the header can be written");
        caller
    }

    /// Runs `authcli` with these arguments and curl with that address by turns.
    fn beside_curl(&self, name: &str, arguments: &[&str], url: &str) -> Comparison {
        Comparison::measure(
            name,
            "ms",
            GET_ROUNDS,
            [
                ("authcli", &mut || milliseconds(self.user.authcli(arguments))),
                ("curl", &mut || milliseconds(self.curl(url))),
            ],
        )
    }

    /// curl with the same token, from a file: on the command line everybody on the machine could read it.
    fn curl(&self, url: &str) -> Command {
        let mut command = Command::new(&self.curl);
        command.args(["--silent", "--fail", "--noproxy", "*"]).args(&self.curl_options).arg("--header");
        command.arg(format!("@{}", self.header.path().display())).arg(url).stdin(Stdio::null());
        command
    }

    fn token_header(&self) -> String {
        let output = self.user.authcli(&["token", "--header"]).output().expect("authcli can be started");
        assert!(output.status.success(), "`authcli token --header` failed");
        String::from_utf8(output.stdout).expect("a header is text")
    }
}
