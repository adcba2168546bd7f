//! The commands: one file each. They take resolved values and return how the program ends.

mod burst;
mod context;
mod get;
mod login;
mod logout;
mod refresh;
mod request;
mod status;
mod token;

use std::process::ExitCode;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use self::context::Context;
pub(crate) use self::context::{NotLoggedIn, Unsaved};
pub(crate) use self::login::NoServer;
use crate::cli::{Cli, Command};
use crate::signals::StopSignals;
use crate::ui::Printer;
use crate::ui::report;

/// How long a program that was asked to stop waits for a refresh to be saved.
const SETTLE_BOUND: Duration = Duration::from_secs(10);

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done; also when standard output was closed early.
    Done = 0,
    /// Anything without a code of its own.
    Other = 1,
    /// Wrong option, unknown profile, refused address.
    Usage = 2,
    /// The final answer was 3xx.
    Redirected = 3,
    /// The final answer was 4xx.
    ClientError = 4,
    /// The final answer was 5xx.
    ServerError = 5,
    /// The server was unreachable or answered nonsense.
    Unreachable = 6,
    /// Not logged in here, or the session has ended.
    NotLoggedIn = 7,
    /// The token store could not be read or written.
    Store = 8,
    /// Another process holds the refresh lock.
    LockBusy = 9,
    /// SIGHUP.
    HungUp = 129,
    /// SIGINT.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// Returns how a program ends whose final answer had `status`.
    pub(crate) fn of_status(status: reqwest::StatusCode) -> Self {
        match status.as_u16() {
            300..400 => Self::Redirected,
            400..500 => Self::ClientError,
            500..600 => Self::ServerError,
            _ => Self::Done,
        }
    }
}

/// Returns a runtime fit for `command`: one thread starts fastest, and all of them serve many requests.
pub(crate) fn runtime_for(command: &Command) -> std::io::Result<Runtime> {
    match command {
        Command::Burst(_) => Builder::new_multi_thread().enable_all().build(),
        _ => Builder::new_current_thread().enable_all().build(),
    }
}

/// Runs what was typed. Every way out waits for a refresh that is under way, so that none is cut off between the
/// server's answer and the save; a second signal ends the program at once.
pub(crate) async fn run(cli: Cli) -> Exit {
    let printer = Printer::new(&cli.global);
    printer.start_log(cli.global.verbose);
    let mut signals = StopSignals::listen();
    let mut context = match Context::new(cli.global, printer.clone()) {
        Ok(context) => context,
        Err(error) => return report::failure(&printer, &error),
    };
    let result = tokio::select! {
        result = dispatch(cli.command, &mut context) => result,
        signal = signals.next() => Ok(signal),
    };
    let exit = result.unwrap_or_else(|error| report::failure(&printer, &error));
    tokio::select! {
        settled = timeout(SETTLE_BOUND, context.settle()) => match settled {
            Ok(Ok(())) => exit,
            Ok(Err(error)) => report::failure(&printer, &error),
            Err(_) => {
                printer.warn("a refresh is still under way; the next call takes it up where it was left");
                exit
            }
        },
        signal = signals.next() => signal,
    }
}

async fn dispatch(command: Command, context: &mut Context) -> anyhow::Result<Exit> {
    match command {
        Command::Login(args) => login::run(context, args.username, args.password_stdin).await,
        Command::Logout(args) => logout::run(context, args.all).await,
        Command::Status(args) => status::run(context, args.json).await,
        Command::Token(args) => token::run(context, args.header, args.min_valid).await,
        Command::Refresh => refresh::run(context).await,
        Command::Get(args) => get::run(context, args).await,
        Command::Burst(args) => burst::run(context, args).await,
    }
}

/// Something was typed that cannot be done. Exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Usage {
    message: String,
    hint: Option<String>,
}

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { message: message.into(), hint: Some(hint.into()) }
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}
