//! What the end-to-end tests stand on: the real programs, a server answered by hand, a keyring of one's own.
//!
//! - [`Cli`] runs the real `authcli` in an environment of its own: a temporary home and configuration directory, and
//!   nothing of the environment that the tests run in, so no test sees the user's keyring or profiles.
//! - [`Server`] is the real `authcli-server`, on a free port with a throw-away database; it counts its own refreshes.
//! - [`Endpoint`] is a server that the test answers by hand, call by call, in the order that it chooses. A call that no
//!   test took up fails the test.
//! - [`Peer`] is a foreign server in Node.js.
//! - [`Proxy`] stands between the two real programs and breaks the calls that the test chooses.
//! - [`Tls`] is TLS in front of an endpoint, with a certificate authority of its own.
//! - [`SecretService`] is a D-Bus and a GNOME keyring of one test.
//!
//! Nobody sleeps to let things happen: a test waits for a call, a line or an end, at most [`BOUND`]. What was started is
//! ended by its process id, also when the test fails.

mod endpoint;
mod peer;
mod program;
mod proxy;
#[cfg(target_os = "linux")]
mod secret_service;
mod server;
mod tls;

use std::time::{Duration, Instant};

pub(crate) use self::endpoint::{Answer, Call, Endpoint};
pub(crate) use self::peer::{Peer, node, script_path};
pub(crate) use self::program::{Cli, Conversation, Output, Running, read_aside};
pub(crate) use self::proxy::{Fault, Point, Proxy, When};
#[cfg(target_os = "linux")]
pub(crate) use self::secret_service::SecretService;
pub(crate) use self::server::Server;
pub(crate) use self::tls::Tls;

/// When a wait is called stuck. Everything here takes well under a second on an idle machine.
pub(crate) const BOUND: Duration = Duration::from_secs(30);

/// An address where nobody listens: the port is reserved, and connecting to it is refused at once.
pub(crate) const NOBODY: &str = "http://127.0.0.1:1";

/// Returns a server answered by hand, and a user who has logged in there with a token that lives.
pub(crate) fn logged_in() -> (Endpoint, Cli) {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    (endpoint, cli)
}

/// The same over TLS, which the general HTTP client takes care of: to this machine in the clear goes a leaner one.
pub(crate) fn logged_in_over_tls() -> (Endpoint, Tls, Cli) {
    let endpoint = Endpoint::start();
    let tls = Tls::before(&endpoint.url, "api.test");
    let cli = tls.user();
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    (endpoint, tls, cli)
}

impl Tls {
    /// Gives a user whose system trusts its authority, and no other.
    pub(crate) fn user(&self) -> Cli {
        let cli = Cli::new(&self.url).with("SSL_CERT_DIR", "/nonexistent");
        let file = self.write_authority(&cli.path("system.pem"));
        cli.with("SSL_CERT_FILE", file.to_str().unwrap())
    }
}

#[cfg(target_os = "linux")]
impl SecretService {
    /// Gives a user this keyring.
    pub(crate) fn user(&self, server: &str) -> Cli {
        Cli::new(server).with("DBUS_SESSION_BUS_ADDRESS", &self.address).without("AUTHCLI_STORE")
    }
}

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < BOUND, "{what}: not within {BOUND:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
