//! A Secret Service of one test: a D-Bus daemon and a GNOME keyring that nobody else talks to.

use std::fs::DirBuilder;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use tempfile::TempDir;

use super::{BOUND, Cli, eventually};

/// Both daemons run in a home and a runtime directory of their own, and end with the value.
pub(crate) struct SecretService {
    address: String,
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

        let mut keyring = service.command("gnome-keyring-daemon");
        // `--unlock` must come with the first start; later it does nothing.
        keyring.args(["--foreground", "--unlock", "--components=secrets"]).stdin(Stdio::piped());
        let mut keyring =
            keyring.spawn().expect("gnome-keyring-daemon: run `make test`, which installs what is missing");
        // The end of the input is the end of the password.
        keyring.stdin.take().unwrap().write_all(b"password of the keyring").unwrap();
        service.daemons.push(keyring);
        eventually("the keyring takes a secret", || service.takes_a_secret());
        service
    }

    /// Gives a user this keyring.
    pub(crate) fn user(&self, server: &str) -> Cli {
        Cli::new(server).with("DBUS_SESSION_BUS_ADDRESS", &self.address).without("AUTHCLI_STORE")
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
