//! The release build of `authcli-server`.

use std::{
    env,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
};

use tempfile::TempDir;

use super::user::plain_command;

/// The release server on a free port, ended when it is dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) url: String,
    /// Holds the database, and is deleted after the server has ended.
    _directory: TempDir,
}

impl Server {
    /// A server whose access tokens live so long.
    pub(crate) fn start(access_ttl: &str) -> Self {
        let binary = Path::new(env!("CARGO_BIN_EXE_authcli"))
            .with_file_name("authcli-server")
            .with_extension(env::consts::EXE_EXTENSION);
        assert!(binary.exists(), "{} is missing: run scripts/bench.sh", binary.display());

        let directory = TempDir::new().expect("a temporary directory can be made");
        let database = format!("sqlite:{}", directory.path().join("bench.db").display());
        let mut process = plain_command(binary)
            .args(["serve", "--demo", "--access-ttl", access_ttl, "--listen", "127.0.0.1:0", "--database", &database])
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
