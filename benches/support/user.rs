//! A user of the release build of `authcli`.

use std::{
    env,
    ffi::OsStr,
    io::Write as _,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// A user with a configuration directory of their own.
pub(crate) struct User {
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
}

impl User {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory can be made"), environment: Vec::new() }
    }

    /// Sets a variable.
    #[allow(dead_code, reason = "not every benchmark needs one")]
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Logs in as the demo server's first user, and keeps the tokens in the file store.
    #[allow(dead_code, reason = "each benchmark needs some of them")]
    pub(crate) fn log_in(&self, server: &str) {
        self.log_in_to("file", server);
    }

    /// The same with another store.
    pub(crate) fn log_in_to(&self, store: &str, server: &str) {
        let mut login =
            self.authcli(&["login", "-u", "admin", "--password-stdin", "--store", store, "--server", server, "-q"]);
        let mut process = login.stdin(Stdio::piped()).spawn().expect("authcli can be started");
        let mut stdin = process.stdin.take().expect("stdin is piped");
        writeln!(stdin, "123456").expect("authcli reads the password");
        drop(stdin);
        assert!(process.wait().expect("authcli can be waited for").success(), "the login failed");
    }

    /// Returns the path of a file for the benchmark's own use.
    #[allow(dead_code, reason = "each benchmark needs some of them")]
    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn authcli(&self, arguments: &[&str]) -> Command {
        let mut command = plain_command(env!("CARGO_BIN_EXE_authcli"));
        command.args(arguments);
        command.env("AUTHCLI_CONFIG_DIR", self.directory.path().join("config")).env("NO_PROXY", "127.0.0.1");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// A command that the settings of whoever runs this do not reach.
pub(crate) fn plain_command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("AUTHCLI_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}
