//! The `authcli` program: parse, run, exit code.

mod cli;
mod commands;
mod outcome;
mod signals;
mod ui;

use std::process::ExitCode;

use clap::Parser as _;

use self::cli::Cli;
use self::outcome::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if cli::is_exec() && error.use_stderr() => {
            ui::report::parse_error(&error);
            return Exit::ExecFailed.into();
        }
        Err(error) => return ui::report::parse_error(&error).into(),
    };
    let runtime = match commands::runtime_for(&cli.command) {
        Ok(runtime) => runtime,
        Err(error) => return ui::report::no_runtime(&error).into(),
    };
    let exit: Exit = runtime.block_on(commands::run(cli));
    // Calls that hang in the operating system (a name look-up, a full pipe) are left behind, not waited for.
    runtime.shutdown_background();
    exit.into()
}
