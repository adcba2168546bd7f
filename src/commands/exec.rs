//! `authcli exec`.
//!
//! On Unix the command takes the place of this program (execve(2)): its signals, its exit code, its terminal and its
//! parent are then the kernel's business, and nothing is left behind that could get them wrong. That can be done because
//! nothing remains to do: a token in an environment cannot be renewed there anyway.

use std::io::{self, ErrorKind};
use std::process::Command;
use std::time::Duration;

use authcli::expiry;
use authcli::gate::{RefreshGate, Work};

use super::context::Context;
use super::token::valid_for;
use crate::cli::ExecArgs;
use crate::outcome::Exit;
use crate::ui::report;

/// Where the command finds the token.
const VARIABLE: &str = "AUTHCLI_ACCESS_TOKEN";
/// How long the token is good for at least, where nothing else is asked for and tokens live for twice that.
const LEAST: Duration = Duration::from_mins(1);

/// Runs a command with a live token. Failures of its own are told as env(1) does: by 125, 126 and 127.
pub(crate) async fn run(context: &mut Context, args: ExecArgs) -> Exit {
    match prepare(context, args).await {
        // The last chance to notice a signal: the command would not hear of it.
        Ok(command) => {
            tokio::task::yield_now().await;
            start(context, command)
        }
        Err(error) => {
            report::failure(&context.printer, &error);
            Exit::ExecFailed
        }
    }
}

async fn prepare(context: &mut Context, args: ExecArgs) -> anyhow::Result<Command> {
    let session = context.open_session(Work::Short).await?;
    let gate = session.gate();
    let tokens = match args.min_valid {
        Some(least) => valid_for(context, gate, least).await?,
        None => match gate.valid_for(usual_least(gate)).await {
            // The session stands, and so does the token that there is.
            Err(error) if error.leaves_session_usable() => gate.current().await?,
            obtained => obtained?,
        },
    };
    // A refresh must have been saved before this program is no more.
    context.settle().await?;
    let mut words = args.command.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).env(VARIABLE, tokens.access_token.expose());
    Ok(command)
}

/// Half of a short life: else every command would cost a refresh.
fn usual_least(gate: &RefreshGate) -> Duration {
    let lifetime: expiry::Lifetime = gate.snapshot().access_lifetime;
    lifetime.duration().map_or(LEAST, |lifetime| LEAST.min(lifetime / 2))
}

/// Returns only if the command could not be started.
#[cfg(unix)]
fn start(context: &Context, mut command: Command) -> Exit {
    use std::os::unix::process::CommandExt as _;

    let error = command.exec();
    not_started(context, &command, &error)
}

/// Waits without letting anything else run: a Ctrl-C goes to the command as well, and it is for the command to decide.
#[cfg(not(unix))]
fn start(context: &Context, mut command: Command) -> Exit {
    match command.status() {
        Ok(status) => Exit::Command(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => not_started(context, &command, &error),
    }
}

fn not_started(context: &Context, command: &Command, error: &io::Error) -> Exit {
    let name = command.get_program().display();
    context.printer.error(&format!("could not run `{name}`"), &[error.to_string()], None);
    if error.kind() == ErrorKind::NotFound { Exit::NoSuchCommand } else { Exit::CannotInvoke }
}
