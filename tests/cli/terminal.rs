//! Logging in at a terminal: a real pseudo-terminal, made by script(1) of util-linux.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::support::{Answer, BOUND, Cli, Endpoint, NOBODY, Server, eventually};

/// A shell in a terminal, which runs one command and tells how it ended.
pub(crate) struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    pub(crate) seen: String,
    /// The terminal's own name, to ask how it is set.
    device: String,
}

impl Terminal {
    pub(crate) fn run(cli: &Cli, command: &str) -> Self {
        let mut script = cli.command_of("script");
        // The shell must outlive a Ctrl-C, and must not have its command ignore it: hence a trap that does nothing.
        let shell = format!("trap : INT; tty; {command}; echo \"ended with $?\"; stty -a");
        script.arg("--quiet").arg("--return").arg("--command").arg(shell).arg("/dev/null");
        script.env("AUTHCLI", env!("CARGO_BIN_EXE_authcli")).env("SHELL", "/bin/sh").env("TERM", "xterm");
        script.stdin(Stdio::piped());
        let mut script = script.spawn().expect("script(1) of util-linux");
        let (send, screen) = mpsc::channel();
        let mut output = script.stdout.take().unwrap();
        std::thread::spawn(move || {
            let mut piece = [0; 1024];
            while let Ok(length @ 1..) = output.read(&mut piece) {
                if send.send(piece[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        let keyboard = script.stdin.take().unwrap();
        let mut terminal = Self { script, keyboard, screen, seen: String::new(), device: String::new() };
        terminal.wait_for("\n");
        terminal.device = terminal.seen.lines().next().unwrap().trim().to_owned();
        assert!(terminal.device.starts_with("/dev/"), "{}", terminal.device);
        terminal
    }

    /// Waits until `text` is on the screen.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let start = Instant::now();
        let mut searched = 0;
        while !self.seen[searched..].contains(text) {
            // Of a megabyte that comes in small pieces nothing is searched twice.
            searched = self.seen.floor_char_boundary(self.seen.len().saturating_sub(text.len()));
            assert!(start.elapsed() < BOUND, "no {text:?} on the screen: {:?}", self.seen);
            match self.screen.recv_timeout(Duration::from_millis(100)) {
                Ok(piece) => self.seen.push_str(&String::from_utf8_lossy(&piece)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => panic!("it ended without {text:?}: {:?}", self.seen),
            }
        }
    }

    pub(crate) fn type_in(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).unwrap();
        self.keyboard.flush().unwrap();
    }

    /// Whether the terminal shows what is typed.
    fn echoes(&self) -> bool {
        let stty = Command::new("stty").arg("-F").arg(&self.device).arg("-a").output().unwrap();
        let settings = String::from_utf8(stty.stdout).unwrap();
        assert!(settings.contains("echo"), "{settings}");
        settings.split_whitespace().all(|setting| setting != "-echo")
    }

    /// Waits until the program no longer has typed text shown: what is typed before that would be.
    #[track_caller]
    fn wait_for_silence(&self) {
        eventually("the terminal stops to show what is typed", || !self.echoes());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Its terminal goes with it, and with that the shell and the program.
        let _ = self.script.kill();
        let _ = self.script.wait();
    }
}

#[test]
fn a_login_asks_for_what_is_missing_and_hides_the_password() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let mut terminal = Terminal::run(&cli, "$AUTHCLI login");
    terminal.wait_for(&format!("Username for {}: ", endpoint.url));
    terminal.type_in("admin\n");
    terminal.wait_for(&format!("Password for admin at {}: ", endpoint.url));
    terminal.wait_for_silence();
    terminal.type_in("canary4711\n");
    let call = endpoint.expect("POST", "/login");
    let body: serde_json::Value = serde_json::from_slice(&call.body).unwrap();
    assert_eq!(body, serde_json::json!({"username": "admin", "password": "canary4711"}));
    call.reply(Answer::tokens("access-1", "refresh-1", 900.0));
    terminal.wait_for("ended with 0");
    terminal.wait_for(" echok");
    assert!(!terminal.seen.contains("canary4711"), "{:?}", terminal.seen);
    assert!(!terminal.seen.contains(" -echo "), "{:?}", terminal.seen);
    assert!(terminal.seen.contains("Logged in to "), "{:?}", terminal.seen);
    assert_eq!(cli.run(&["token"]).expect(0).text(), "access-1\n");
}

#[test]
fn a_login_with_a_name_asks_for_the_password_alone() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let mut terminal = Terminal::run(&cli, "$AUTHCLI login -u anna");
    terminal.wait_for(&format!("Password for anna at {}: ", endpoint.url));
    terminal.wait_for_silence();
    terminal.type_in("canary4711\n");
    endpoint.expect("POST", "/login").reply(Answer::error(401, "Invalid username or password"));
    terminal.wait_for("ended with 4");
    assert!(!terminal.seen.contains("Username"), "{:?}", terminal.seen);
}

#[test]
fn ctrl_c_at_the_password_leaves_the_terminal_as_it_was() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let mut terminal = Terminal::run(&cli, "$AUTHCLI login -u admin");
    terminal.wait_for("Password for admin");
    terminal.wait_for_silence();
    terminal.type_in("half a canary4711\u{3}");
    terminal.wait_for("ended with 130");
    terminal.wait_for(" echok");
    assert!(!terminal.seen.contains(" -echo "), "{:?}", terminal.seen);
    assert!(!terminal.seen.contains("canary4711"), "{:?}", terminal.seen);
}

#[test]
fn ctrl_c_at_the_name_ends_the_login() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let mut terminal = Terminal::run(&cli, "$AUTHCLI login");
    terminal.wait_for("Username for");
    terminal.type_in("\u{3}");
    terminal.wait_for("ended with 130");
}

#[test]
fn with_no_server_there_nothing_is_asked() {
    let cli = Cli::new(NOBODY);
    let mut terminal = Terminal::run(&cli, "$AUTHCLI login");
    terminal.wait_for("ended with 6");
    assert!(terminal.seen.contains("authcli-server serve --demo"), "{:?}", terminal.seen);
    assert!(!terminal.seen.contains("Username") && !terminal.seen.contains("Password"), "{:?}", terminal.seen);
}

#[test]
fn an_empty_name_or_password_is_refused() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    let mut terminal = Terminal::run(&cli, "$AUTHCLI login");
    terminal.wait_for("Username for");
    terminal.type_in("\n");
    terminal.wait_for("ended with 2");
    let mut terminal = Terminal::run(&cli, "$AUTHCLI login -u admin");
    terminal.wait_for("Password for");
    terminal.wait_for_silence();
    terminal.type_in("\n");
    terminal.wait_for("ended with 2");
}

#[test]
fn a_burst_shows_its_progress_at_a_terminal_and_clears_it_away() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let file = cli.path("summary");
    let mut terminal = Terminal::run(&cli, &format!("$AUTHCLI burst -n 2 --json > {}", file.display()));
    endpoint.expect("GET", "/protected").reply(Answer::new(200, ""));
    // The second one is answered only when the bar tells of the first.
    let second = endpoint.expect("GET", "/protected");
    terminal.wait_for("1/2 ");
    second.reply(Answer::new(200, ""));
    terminal.wait_for("ended with 0");
    let summary: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    assert_eq!(summary["succeeded"], 2, "the bar is not on standard output");

    let mut terminal = Terminal::run(&cli, "$AUTHCLI burst -n 1 -q");
    endpoint.expect("GET", "/protected").reply(Answer::new(200, ""));
    terminal.wait_for("ended with 0");
    assert!(!terminal.seen.contains("1/1 "), "{:?}", terminal.seen);
}

#[test]
#[ignore = "needs gnome-keyring and dbus: run `make test`"]
fn at_a_terminal_a_keyring_that_waits_for_its_password_is_waited_for() {
    let (keyring, server) = (crate::support::SecretService::start(), Server::start());
    let cli = keyring.user(&server.url);
    cli.login();
    for command in ["$AUTHCLI get /protected", "echo 123456 | $AUTHCLI login -u admin --password-stdin"] {
        keyring.freeze();
        let mut terminal = Terminal::run(&cli, command);
        terminal.wait_for("Waiting for the keyring; unlock it, or press Ctrl-C");
        keyring.thaw();
        terminal.wait_for("ended with 0");
    }
    // Ctrl-C is heard, and somebody who wants silence gets no question either.
    keyring.freeze();
    let mut terminal = Terminal::run(&cli, "$AUTHCLI status");
    terminal.wait_for("Waiting for the keyring");
    terminal.type_in("\u{3}");
    terminal.wait_for("ended with 130");
    let mut terminal = Terminal::run(&cli, "$AUTHCLI status -q");
    terminal.wait_for("ended with 8");
    keyring.thaw();
}

#[test]
fn ctrl_c_in_a_burst_leaves_a_clean_terminal_and_the_exit_code() {
    let endpoint = Endpoint::start();
    let cli = Cli::new(&endpoint.url);
    cli.login_at(&endpoint, "access-1", "refresh-1", 900.0);
    let mut terminal = Terminal::run(&cli, "$AUTHCLI burst -n 2");
    endpoint.expect("GET", "/protected").reply(Answer::new(200, ""));
    let hanging = endpoint.expect("GET", "/protected");
    terminal.wait_for("1/2 ");
    terminal.type_in("\u{3}");
    terminal.wait_for("ended with 130");
    terminal.wait_for(" echok");
    hanging.hang_up();
    // Neither the cursor nor the echo is left hidden.
    assert_eq!(terminal.seen.matches("\u{1b}[?25l").count(), terminal.seen.matches("\u{1b}[?25h").count());
    assert!(!terminal.seen.contains(" -echo "), "{:?}", terminal.seen);
}

#[test]
fn colours_are_shown_at_a_terminal_and_neither_with_no_color_nor_on_a_dumb_one() {
    let cli = Cli::new(NOBODY);
    for (environment, coloured) in [("", true), ("NO_COLOR=1 ", false), ("TERM=dumb ", false)] {
        for command in ["status", "status --jsno", "--help"] {
            let mut terminal = Terminal::run(&cli, &format!("{environment}$AUTHCLI {command}"));
            terminal.wait_for("ended with ");
            let said = terminal.seen.split("ended with").next().unwrap();
            assert_eq!(said.contains("\u{1b}["), coloured, "{environment}{command}: {said:?}");
        }
    }
}

#[test]
fn a_narrow_terminal_gets_figures_and_no_drawing_that_would_break() {
    let server = Server::start();
    let cli = Cli::new(&server.url);
    cli.login();
    for (columns, drawn) in [(30, false), (80, true)] {
        let mut terminal = Terminal::run(&cli, &format!("stty rows 24 cols {columns}; $AUTHCLI -q burst -n 3"));
        terminal.wait_for("ended with 0");
        assert!(terminal.seen.contains("latency     p50 "), "{:?}", terminal.seen);
        assert_eq!(terminal.seen.contains('█'), drawn, "{columns}: {:?}", terminal.seen);
    }
}

#[test]
fn a_narrow_terminal_gets_help_that_fits() {
    let cli = Cli::new(NOBODY);
    let mut terminal = Terminal::run(&cli, "stty rows 24 cols 50; NO_COLOR=1 $AUTHCLI doctor --help");
    terminal.wait_for("ended with 0");
    let options = terminal.seen.split("Examples:").next().unwrap();
    let longest = options.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
    assert!(longest <= 50, "{longest}: {options}");
}
