//! Parses the command line, runs the command, turns its result into an exit code.

use std::env;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use authcli_server::cli::Cli;
use authcli_server::commands::{self, CommandError};
use authcli_server::telemetry;

/// How long what still runs in threads is waited for once a command is done.
const AT_THE_END: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    match run(Cli::read()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            let command = error.downcast_ref::<CommandError>();
            ExitCode::from(command.map_or(1, CommandError::exit_code))
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let filter = env::var("AUTHCLI_SERVER_LOG").ok().filter(|filter| !filter.is_empty());
    // Dropped at the end of this, before the error is reported: what was logged comes first.
    let _flush = telemetry::init(filter.as_deref()).map_err(CommandError::from)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().context("could not start the runtime")?;
    let done = runtime.block_on(commands::run(cli.command));
    // A name that is still looked up must not hold up the end.
    runtime.shutdown_timeout(AT_THE_END);
    Ok(done?)
}

/// Writes the error, its causes and what can be done about it; that nobody reads it is no failure.
fn report(error: &anyhow::Error) {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        let _ = writeln!(text, "  Caused by: {cause}");
    }
    if let Some(hint) = error.downcast_ref::<CommandError>().and_then(CommandError::hint) {
        let _ = writeln!(text, "\nhint: {hint}");
    }
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
