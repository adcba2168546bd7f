//! The real `authcli`, run in an environment of its own.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Lines, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::{BOUND, Call, Endpoint, eventually};

/// A user: a home, a configuration directory, an environment.
pub(crate) struct Cli {
    directory: TempDir,
    server: String,
    environment: Vec<(String, Option<String>)>,
}

impl Cli {
    /// A user of the file store for whom `server` is the server in the environment. No keyring can be reached.
    pub(crate) fn new(server: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("home")).unwrap();
        Self { directory, server: server.to_owned(), environment: Vec::new() }
    }

    /// Sets a variable.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), Some(value.to_owned())));
        self
    }

    /// Removes a variable.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.environment.push((name.to_owned(), None));
        self
    }

    pub(crate) fn configuration(&self) -> PathBuf {
        self.directory.path().join("config")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    /// Writes `config.toml`, as a person does before the first login.
    #[track_caller]
    pub(crate) fn configure(&self, text: &str) {
        use std::os::unix::fs::DirBuilderExt as _;

        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(self.configuration()).unwrap();
        std::fs::write(self.configuration().join("config.toml"), text).unwrap();
    }

    /// Returns the path of a file for the test's own use.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns the id of the credential of the only profile.
    pub(crate) fn credential(&self) -> String {
        let text = std::fs::read_to_string(self.configuration().join("config.toml")).unwrap();
        let id = text.lines().find_map(|line| line.strip_prefix("credential = "));
        id.expect("the profile names a credential").trim_matches('"').to_owned()
    }

    /// Returns the path of the file store's entry of the only profile.
    pub(crate) fn entry(&self) -> PathBuf {
        self.configuration().join("credentials").join(format!("{}.json", self.credential()))
    }

    /// Returns what the file store holds of the only profile.
    #[track_caller]
    pub(crate) fn stored(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.entry()).unwrap()).unwrap()
    }

    /// Changes what the file store holds, as somebody could who does not know of the lock.
    #[track_caller]
    pub(crate) fn change_stored(&self, change: impl FnOnce(&mut Value)) {
        let mut stored = self.stored();
        change(&mut stored);
        let replacement = self.path("entry.json");
        // Its mode is that of the entry, which nobody else may read; a rename, because processes may be reading.
        std::fs::copy(self.entry(), &replacement).unwrap();
        std::fs::write(&replacement, stored.to_string()).unwrap();
        std::fs::rename(&replacement, self.entry()).unwrap();
    }

    /// Puts the receipt of the stored tokens that far back: as though the time had passed.
    #[track_caller]
    pub(crate) fn let_pass(&self, time: SignedDuration) {
        self.change_stored(|stored| {
            for name in ["received_at", "refresh_received_at"] {
                if let Some(received_at) = stored[name].as_str() {
                    let received_at: Timestamp = received_at.parse().unwrap();
                    stored[name] = received_at.checked_sub(time).unwrap().to_string().into();
                }
            }
        });
    }

    /// Returns a command with this user's environment, to run `program`.
    pub(crate) fn command_of(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.home()).env("AUTHCLI_CONFIG_DIR", self.configuration());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("AUTHCLI_STORE", "file").env("AUTHCLI_SERVER", &self.server);
        // Without this the library that talks to the Secret Service would look for the user's own bus.
        command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={}", self.path("no-bus").display()));
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command.current_dir(self.home());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = self.command_of(env!("CARGO_BIN_EXE_authcli"));
        command.args(arguments);
        command
    }

    /// Runs to the end.
    #[track_caller]
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        self.start(arguments).finish()
    }

    /// Runs to the end, with `input` on standard input.
    #[track_caller]
    pub(crate) fn run_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> Output {
        self.start_with_input(arguments, input).finish()
    }

    #[track_caller]
    pub(crate) fn start<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Running {
        Running::start(self.command(arguments))
    }

    #[track_caller]
    pub(crate) fn start_with_input<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> Running {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped());
        Running::start_with_input(command, input)
    }

    /// Starts with standard output in the test's own hands.
    #[track_caller]
    pub(crate) fn start_with_stdout<S: AsRef<OsStr>>(&self, arguments: &[S]) -> (Running, ChildStdout) {
        let mut child = self.command(arguments).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        (Running::adopt(child), stdout)
    }

    /// Starts with `input` on standard input, which stays open, and standard error in the test's own hands.
    #[track_caller]
    pub(crate) fn start_conversation<S: AsRef<OsStr>>(&self, arguments: &[S], input: &str) -> (Running, Conversation) {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap()).lines();
        (Running::adopt(child), Conversation { stdin, stderr, said: String::new() })
    }

    /// Starts with standard input in the test's own hands.
    #[track_caller]
    pub(crate) fn start_with_stdin<S: AsRef<OsStr>>(&self, arguments: &[S]) -> (Running, ChildStdin) {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        (Running::adopt(child), stdin)
    }

    /// Starts with standard input and output in the test's own hands.
    #[track_caller]
    pub(crate) fn start_with_pipes<S: AsRef<OsStr>>(&self, arguments: &[S]) -> (Running, ChildStdin, ChildStdout) {
        let mut command = self.command(arguments);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        (Running::adopt(child), stdin, stdout)
    }

    /// Logs in as `admin` at the real server.
    #[track_caller]
    pub(crate) fn login(&self) -> Output {
        self.run_with_input(&LOGIN, "123456\n").expect(0)
    }

    /// Logs in at an endpoint, which issues the pair `access`, `refresh`.
    #[track_caller]
    pub(crate) fn login_at(&self, endpoint: &Endpoint, access: &str, refresh: &str, expires_in: f64) {
        let running = self.start_with_input(&LOGIN, "password\n");
        endpoint.expect("POST", "/login").reply(super::Answer::tokens(access, refresh, expires_in));
        running.finish().expect(0);
    }

    /// Returns `text` without what differs from run to run.
    pub(crate) fn settled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        if self.configuration().join("config.toml").exists()
            && std::fs::read_to_string(self.configuration().join("config.toml")).unwrap().contains("\ncredential = ")
        {
            text = text.replace(&self.credential(), "[id]");
        }
        let text = text.replace(&self.configuration().display().to_string(), "[config]");
        // "Connection refused" on Linux and on macOS.
        let text = text.replace("(os error 111)", "(os error N)").replace("(os error 61)", "(os error N)");
        text.replace(&self.directory.path().display().to_string(), "[home]").replace(&self.server, "[server]")
    }

    /// Returns the configuration directory, every file of it, as one text.
    pub(crate) fn everything(&self) -> String {
        fn read(path: &Path, text: &mut String) {
            for entry in std::fs::read_dir(path).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    read(&path, text);
                } else {
                    text.push_str(&std::fs::read_to_string(&path).unwrap());
                }
            }
        }
        let mut text = String::new();
        read(&self.configuration(), &mut text);
        text
    }
}

const LOGIN: [&str; 4] = ["login", "-u", "admin", "--password-stdin"];

/// What is said to a program that runs, and by it on standard error.
pub(crate) struct Conversation {
    pub(crate) stdin: ChildStdin,
    stderr: Lines<BufReader<ChildStderr>>,
    /// All that was read so far.
    pub(crate) said: String,
}

impl Conversation {
    /// Reads on until a line begins with `start`, and returns it.
    #[track_caller]
    pub(crate) fn line(&mut self, start: &str) -> String {
        for line in &mut self.stderr {
            let line = line.unwrap();
            self.said.push_str(&line);
            self.said.push('\n');
            if line.starts_with(start) {
                return line;
            }
        }
        panic!("no line begins with {start:?}; it said: {}", self.said)
    }

    /// Reads to the end, which the program's own end brings about.
    pub(crate) fn rest(mut self) -> String {
        for line in self.stderr {
            self.said.push_str(&line.unwrap());
            self.said.push('\n');
        }
        self.said
    }
}

/// A program that runs; ended with the value.
pub(crate) struct Running {
    child: Child,
    stdout: Option<thread::JoinHandle<Vec<u8>>>,
    stderr: Option<thread::JoinHandle<Vec<u8>>>,
    since: Instant,
}

impl Running {
    #[track_caller]
    pub(crate) fn start(mut command: Command) -> Self {
        Self::adopt(command.spawn().unwrap())
    }

    /// Starts with `input` on standard input, which the command must have piped.
    #[track_caller]
    pub(crate) fn start_with_input(command: Command, input: &str) -> Self {
        let mut running = Self::start(command);
        // It may have ended already, without reading.
        let _ = running.child.stdin.take().unwrap().write_all(input.as_bytes());
        running
    }

    pub(crate) fn adopt(mut child: Child) -> Self {
        let stdout = child.stdout.take().map(read_aside);
        let stderr = child.stderr.take().map(read_aside);
        Self { child, stdout, stderr, since: Instant::now() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, and waits until the program's handler has it: what the test does next comes after it.
    #[track_caller]
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        eventually("the signal arrives", || !self.has_pending(signal));
    }

    /// Returns whether a signal waits to be delivered, where the system tells that.
    fn has_pending(&self, signal: Signal) -> bool {
        self.is_in(&["ShdPnd:", "SigPnd:"], signal)
    }

    /// Returns whether it has a handler for a signal, where the system tells that.
    #[cfg(target_os = "linux")]
    pub(crate) fn catches(&self, signal: Signal) -> bool {
        self.is_in(&["SigCgt:"], signal)
    }

    fn is_in(&self, masks: &[&str], signal: Signal) -> bool {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())) else {
            return false;
        };
        let masks = status.lines().filter_map(|line| masks.iter().find_map(|name| line.strip_prefix(name)));
        let masks = masks.map(|mask| u64::from_str_radix(mask.trim(), 16).unwrap());
        masks.into_iter().any(|mask| mask & (1 << (signal.as_raw() - 1)) != 0)
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn finish(self) -> Output {
        self.finish_while(|| thread::sleep(Duration::from_millis(2)))
    }

    /// Waits for the end and lets `answer` answer all calls until then.
    #[track_caller]
    pub(crate) fn finish_answering(self, endpoint: &Endpoint, mut answer: impl FnMut(Call)) -> Output {
        self.finish_while(|| {
            if let Some(call) = endpoint.poll(Duration::from_millis(2)) {
                answer(call);
            }
        })
    }

    #[track_caller]
    fn finish_while(self, meanwhile: impl FnMut()) -> Output {
        self.finish_within(BOUND, meanwhile)
    }

    /// Waits for the end, which may take so long, and does `meanwhile` again and again until then.
    #[track_caller]
    pub(crate) fn finish_within(mut self, bound: Duration, mut meanwhile: impl FnMut()) -> Output {
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if self.since.elapsed() > bound {
                // Ended before it is asked what it said: the pipes close only then.
                self.child.kill().unwrap();
                self.child.wait().unwrap();
                panic!("still running after {bound:?}; it said: {}", self.said());
            }
            meanwhile();
        };
        let stdout = self.stdout.take().map(|reader| reader.join().unwrap()).unwrap_or_default();
        Output { code: status.code(), stdout, stderr: self.said() }
    }

    fn said(&mut self) -> String {
        let bytes = self.stderr.take().map(|reader| reader.join().unwrap()).unwrap_or_default();
        String::from_utf8(bytes).expect("standard error is UTF-8")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Already gone after `finish`; a failed test leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn read_aside(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read until the pipe broke is what there is to show.
        let _ = pipe.read_to_end(&mut bytes);
        bytes
    })
}

/// How a program ended, and what it said.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Output {
    /// Asserts the exit code, and that nothing panicked.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stderr: {}\nstdout: {}", self.stderr, String::from_utf8_lossy(&self.stdout));
        assert!(!self.stderr.contains("panicked"), "{}", self.stderr);
        self
    }

    /// Asserts that nothing went to standard output.
    #[track_caller]
    pub(crate) fn without_stdout(self) -> Self {
        assert_eq!(self.text(), "", "{}", self.stderr);
        self
    }

    /// Asserts that nothing went to standard error.
    #[track_caller]
    pub(crate) fn silent(self) -> Self {
        assert_eq!(self.stderr, "");
        self
    }

    /// Returns standard output.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("standard output is UTF-8")
    }

    /// Returns the one JSON document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
