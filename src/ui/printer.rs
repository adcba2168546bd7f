//! The one way to standard output and standard error.

use std::io::{self, IsTerminal as _, Write as _};

use bytes::Bytes;
use tracing_subscriber::EnvFilter;

use super::output::{OutputError, print};
use crate::cli::{ColorChoice, Global};

/// Knows how quiet and how colourful to be.
#[derive(Clone, Debug)]
pub(crate) struct Printer {
    quiet: bool,
    color: bool,
    terminal: bool,
    screen: Option<Screen>,
    /// The command that logs in to the profile in use, for hints.
    login_command: String,
    /// The command that names a file of certificate authorities in the profile in use, for hints.
    cacert_command: String,
}

/// Standard output is a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) color: bool,
}

impl Printer {
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = io::stderr().is_terminal();
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let color_on = |terminal| match global.color {
            ColorChoice::Auto => terminal && wanted,
            ColorChoice::Always => true,
            ColorChoice::Never => false,
        };
        let screen = io::stdout().is_terminal().then(|| Screen { color: color_on(true) });
        Self {
            quiet: global.quiet,
            color: color_on(terminal),
            terminal,
            screen,
            login_command: "authcli login".into(),
            cacert_command: "authcli profile set cacert FILE".into(),
        }
    }

    /// The same for a profile other than the default one.
    pub(crate) fn for_profile(self, name: &str) -> Self {
        let named = |command: String| command + " --profile " + name;
        Self { login_command: named(self.login_command), cacert_command: named(self.cacert_command), ..self }
    }

    pub(crate) fn login_command(&self) -> &str {
        &self.login_command
    }

    pub(crate) fn cacert_command(&self) -> &str {
        &self.cacert_command
    }

    /// Sends what the library tells of its work to standard error: with -v its decisions, with -vv all it says. What
    /// other libraries say is left out: nobody checked it for secrets.
    pub(crate) fn start_log(&self, verbose: u8) {
        let level = match verbose {
            0 => return,
            1 => "debug",
            _ => "trace",
        };
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(format!("off,authcli={level}")))
            .with_writer(io::stderr)
            .with_ansi(self.color)
            .with_target(false)
            .without_time()
            // Its fallback prints to stderr, and panics where that is closed.
            .log_internal_errors(false)
            .finish();
        // Fails only if a log is running already, and then that one serves.
        let _ = tracing::subscriber::set_global_default(subscriber);
    }

    /// Whether a person watches standard error and wants to see more than errors.
    pub(crate) fn is_watched(&self) -> bool {
        self.terminal && !self.quiet
    }

    /// Returns how standard output is to be written where it is a terminal.
    pub(crate) fn screen(&self) -> Option<Screen> {
        self.screen
    }

    /// Writes data to standard output.
    pub(crate) async fn data(&self, text: &str) -> Result<(), OutputError> {
        self.bytes(text.as_bytes()).await
    }

    /// Writes data that may be no text to standard output.
    pub(crate) async fn bytes(&self, bytes: &[u8]) -> Result<(), OutputError> {
        print(Bytes::copy_from_slice(bytes)).await
    }

    /// Says what was done.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Tells a person what to do next, without which the command cannot go on: also when it is to be quiet.
    pub(crate) fn ask(&self, text: &str) {
        self.line(text);
    }

    /// Says what did not go as it should, though the command went on.
    pub(crate) fn warn(&self, text: &str) {
        if !self.quiet {
            self.line(&format!("{} {text}", self.painted("33", "warning:")));
        }
    }

    /// Says why the command failed.
    pub(crate) fn error(&self, message: &str, causes: &[String], hint: Option<&str>) {
        self.line(&format!("{} {message}", self.painted("31;1", "error:")));
        for cause in causes {
            self.line(&format!("  caused by: {cause}"));
        }
        if let Some(hint) = hint {
            self.line(&format!("{} {hint}", self.painted("36", "hint:")));
        }
    }

    /// Says that the final answer was none to be glad of; its body has been printed.
    pub(crate) fn failed_answer(&self, told: &str, hint: Option<&str>) {
        self.refused_answer(told, None, hint);
    }

    /// The same of an answer that refused the token, with the server's own words.
    pub(crate) fn refused_answer(&self, told: &str, words: Option<&str>, hint: Option<&str>) {
        if !self.quiet {
            let causes: Vec<_> = words.map(str::to_owned).into_iter().collect();
            self.error(told, &causes, hint);
        }
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Nobody can be told that standard error is closed.
    #[expect(clippy::unused_self, reason = "standard error is written through the printer alone")]
    fn line(&self, text: &str) {
        let _ = writeln!(io::stderr().lock(), "{text}");
    }
}
