//! A Secret Service of one test: a D-Bus daemon and a GNOME keyring that nobody else talks to.

use std::fs::DirBuilder;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::{BOUND, eventually};

/// Both daemons run in a home and a runtime directory of their own, and end with the value.
///
/// The keyring can be [frozen](SecretService::freeze), as by a debugger or a machine that swaps, and
/// [locked](SecretService::lock), as by a screen lock.
pub(crate) struct SecretService {
    /// Where the bus is (`DBUS_SESSION_BUS_ADDRESS`).
    pub(crate) address: String,
    directory: TempDir,
    /// The bus first: without it the keyring goes as well.
    daemons: Vec<Child>,
}

impl SecretService {
    /// Starts both, with an unlocked login keyring.
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["home", "run"] {
            DirBuilder::new().mode(0o700).create(directory.path().join(name)).unwrap();
        }
        // A configuration of our own names no directory of services, so nothing is started behind the test's back.
        let configuration = directory.path().join("bus.conf");
        std::fs::write(&configuration, BUS.replace("SOCKET", &directory.path().join("bus").display().to_string()))
            .unwrap();
        let mut service = Self { address: String::new(), directory, daemons: Vec::new() };
        let mut bus = service.command("dbus-daemon");
        bus.arg("--nofork").arg("--print-address").arg("--config-file").arg(configuration).stdout(Stdio::piped());
        service.daemons.push(bus.spawn().expect("dbus-daemon: run `make test`, which installs what is missing"));
        service.address = first_line(service.daemons[0].stdout.take().unwrap());

        let keyring = service.keyring();
        service.daemons.push(keyring);
        service.wait_until_it_works();
        service
    }

    /// Starts the keyring's daemon, unlocked.
    fn keyring(&self) -> Child {
        let mut keyring = self.command("gnome-keyring-daemon");
        // `--unlock` must come with the first start; later it does nothing.
        keyring.args(["--foreground", "--unlock", "--components=secrets"]).stdin(Stdio::piped());
        let mut keyring =
            keyring.spawn().expect("gnome-keyring-daemon: run `make test`, which installs what is missing");
        // The end of the input is the end of the password.
        keyring.stdin.take().unwrap().write_all(b"password of the keyring").unwrap();
        keyring
    }

    fn wait_until_it_works(&mut self) {
        eventually("the keyring takes a secret", || {
            assert!(!self.has_crashed(), "the keyring's daemon has ended");
            self.takes_a_secret()
        });
    }

    /// Stops the keyring in the middle of whatever it does: it answers nothing until it is thawed.
    pub(crate) fn freeze(&self) {
        kill_process(self.keyring_pid(), Signal::STOP).unwrap();
        // Signals arrive when they arrive.
        eventually("the keyring stands still", || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.daemons[1].id())).unwrap();
            status.lines().any(|line| line.starts_with("State:\tT"))
        });
    }

    /// Lets it go on with what it was asked meanwhile.
    pub(crate) fn thaw(&self) {
        kill_process(self.keyring_pid(), Signal::CONT).unwrap();
    }

    fn keyring_pid(&self) -> Pid {
        Pid::from_child(&self.daemons[1])
    }

    /// Locks the keyring. There is nobody who could be asked for its password.
    pub(crate) fn lock(&self) {
        let mut lock = self.command("dbus-send");
        lock.args(["--session", "--print-reply", "--dest=org.freedesktop.secrets", "/org/freedesktop/secrets"]);
        lock.args(["org.freedesktop.Secret.Service.Lock", "array:objpath:/org/freedesktop/secrets/collection/login"]);
        let locked = lock.stdout(Stdio::piped()).output().expect("dbus-send: it comes with dbus-daemon");
        let reply = String::from_utf8(locked.stdout).unwrap();
        assert!(reply.contains("/org/freedesktop/secrets/collection/login"), "{reply}");
    }

    /// Whether the keyring's daemon has ended: it has faults of its own.
    pub(crate) fn has_crashed(&mut self) -> bool {
        self.daemons[1].try_wait().unwrap().is_some()
    }

    /// Unlocks the keyring again, as a new desktop session does: by a new daemon on the same files.
    pub(crate) fn unlock(&mut self) {
        let mut locked = self.daemons.pop().unwrap();
        // It may have ended by itself.
        let _ = locked.kill();
        locked.wait().unwrap();
        let keyring = self.keyring();
        self.daemons.push(keyring);
        self.wait_until_it_works();
    }

    /// Returns what `secret-tool search` says of the entries of authcli.
    pub(crate) fn search(&self) -> String {
        let mut search = self.command("secret-tool");
        search.args(["search", "--all", "service", "authcli"]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let found = search.output().unwrap();
        format!("{}{}", String::from_utf8(found.stdout).unwrap(), String::from_utf8(found.stderr).unwrap())
    }

    fn takes_a_secret(&self) -> bool {
        let mut store = self.command("secret-tool");
        store.args(["store", "--label", "probe", "probe", "probe"]).stdin(Stdio::piped());
        store.stdout(Stdio::null()).stderr(Stdio::null());
        let mut store = store.spawn().expect("secret-tool: run `make test`, which installs what is missing");
        // It may end without reading.
        let _ = store.stdin.take().unwrap().write_all(b"probe");
        store.wait().unwrap().success()
            && self.command("secret-tool").args(["clear", "probe", "probe"]).status().unwrap().success()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.directory.path().join("home"));
        command.env("XDG_RUNTIME_DIR", self.directory.path().join("run"));
        command.env("DBUS_SESSION_BUS_ADDRESS", &self.address);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }
}

impl Drop for SecretService {
    fn drop(&mut self) {
        for daemon in self.daemons.iter_mut().rev() {
            // Ends a frozen one as well.
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn first_line(pipe: impl std::io::Read + Send + 'static) -> String {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(pipe).read_line(&mut line);
        let _ = send.send(line);
    });
    let line = receive.recv_timeout(BOUND).expect("the bus tells its address");
    assert!(line.starts_with("unix:"), "the bus said {line:?}");
    line.trim_end().to_owned()
}

const BUS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=SOCKET</listen>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"#;
