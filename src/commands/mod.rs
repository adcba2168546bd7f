//! The commands: one file each. They take resolved values and return how the program ends.

mod batch;
mod burst;
mod context;
mod doctor;
mod exec;
mod gravest;
mod limits;
mod login;
mod logout;
mod payload;
mod profile;
mod proxy;
mod refresh;
mod request;
mod send;
mod shell;
mod status;
mod stopped;
mod token;

use std::time::Duration;

use reqwest::Method;
use tokio::runtime::{Builder, Runtime};
use tokio::time::error::Elapsed;
use tokio::time::{sleep, timeout};

use self::context::Context;
use crate::cli::{Cli, Command};
use crate::outcome::Exit;
use crate::signals::{StopSignals, Stopping};
use crate::ui::Printer;
use crate::ui::report;

/// How long a program that was asked to stop waits for a refresh to be saved.
pub(super) const SETTLE_BOUND: Duration = Duration::from_secs(10);

/// How long what was asked to stop may go on, and when a person is told that it does.
const FINISH_BOUND: Duration = Duration::from_secs(10);
const FINISH_TOLD_AFTER: Duration = Duration::from_secs(1);

/// Returns a runtime fit for `command`: one thread starts fastest, and all of them serve many requests.
pub(crate) fn runtime_for(command: &Command) -> std::io::Result<Runtime> {
    match command {
        Command::Burst(_) | Command::Batch(_) | Command::Proxy(_) => Builder::new_multi_thread().enable_all().build(),
        _ => Builder::new_current_thread().enable_all().build(),
    }
}

/// Runs what was typed. Every way out waits for a refresh that is under way, so that none is cut off between the
/// server's answer and the save; a second signal ends the program at once.
pub(crate) async fn run(cli: Cli) -> Exit {
    let printer = Printer::new(&cli.global);
    printer.start_log(cli.global.verbose);
    let is_exec = matches!(cli.command, Command::Exec(_));
    let mut context = match Context::new(cli.global, printer.clone()) {
        Ok(context) => context,
        Err(error) => {
            let result = without_context(cli.command, error, &printer).await;
            let exit = result.unwrap_or_else(|error| report::failure(&printer, &error));
            return if is_exec { Exit::ExecFailed } else { exit };
        }
    };
    let printer = context.printer.clone();
    // Not before: until here nothing needs an end of its own, and on a disk that hangs a signal must end the program.
    let mut signals = StopSignals::listen();
    let finishing = if matches!(cli.command, Command::Proxy(_)) { &FINISHING_REQUESTS } else { &WRITING_ANSWERS };
    let (stop, stopping) = Stopping::new();
    let (result, stopped) = {
        let work = dispatch(cli.command, &mut context, stopping.clone());
        tokio::pin!(work);
        tokio::select! {
            result = &mut work => (result, false),
            signal = signals.next() => {
                // Who does not hear it, or not yet, has nothing to finish.
                if stopping.is_heard() {
                    stop.send_replace(true);
                    tokio::select! {
                        () = finish(&printer, finishing, work) => {}
                        signal = signals.next() => return signal,
                    }
                }
                (Ok(signal), true)
            }
        }
    };
    let mut exit = result.unwrap_or_else(|error| report::failure(&printer, &error));
    let settle = timeout(SETTLE_BOUND, context.settle());
    tokio::pin!(settle);
    if !stopped {
        tokio::select! {
            settled = &mut settle => return settled_exit(&printer, settled, exit),
            signal = signals.next() => exit = signal,
        }
    }
    tokio::select! {
        settled = &mut settle => settled_exit(&printer, settled, exit),
        signal = signals.next() => signal,
    }
}

/// What a person is told of work that was asked to stop.
struct Finishing {
    goes_on: &'static str,
    cut_off: &'static str,
}

const FINISHING_REQUESTS: Finishing = Finishing {
    goes_on: "Finishing the requests under way; press Ctrl-C again to end them",
    cut_off: "some requests were still under way; they were cut off",
};
const WRITING_ANSWERS: Finishing = Finishing {
    goes_on: "Writing what has been answered; press Ctrl-C again to end that",
    cut_off: "nobody took what was left to write; it was cut off",
};

/// Lets work that was asked to stop come to its end.
async fn finish(printer: &Printer, told: &Finishing, work: impl Future<Output = anyhow::Result<Exit>>) {
    let work = timeout(FINISH_BOUND, work);
    tokio::pin!(work);
    let finished = tokio::select! {
        finished = &mut work => finished,
        () = sleep(FINISH_TOLD_AFTER) => {
            printer.note(told.goes_on);
            work.await
        }
    };
    match finished {
        // How it ends is decided by the signal.
        Ok(Ok(_)) => {}
        Ok(Err(error)) => drop(report::failure(printer, &error)),
        Err(_) => printer.warn(told.cut_off),
    }
}

/// Returns how the program ends once its refreshes are settled, or the time for that is over.
fn settled_exit(printer: &Printer, settled: Result<anyhow::Result<()>, Elapsed>, exit: Exit) -> Exit {
    match settled {
        Ok(Ok(())) => exit,
        Ok(Err(error)) => report::failure(printer, &error),
        Err(_) => {
            printer.warn("a refresh is still under way; the next call takes it up where it was left");
            exit
        }
    }
}

async fn dispatch(command: Command, context: &mut Context, stopping: Stopping) -> anyhow::Result<Exit> {
    match command {
        Command::Login(args) => login::run(context, args).await,
        Command::Logout(args) => logout::run(context, args.all).await,
        Command::Status(args) => status::run(context, args.json, args.claims).await,
        Command::Token(args) => token::run(context, args).await,
        Command::Refresh => refresh::run(context).await,
        Command::Get(args) => send::fetch(context, Method::GET, args).await,
        Command::Head(args) => send::fetch(context, Method::HEAD, args).await,
        Command::Post(args) => send::run(context, Method::POST, args, false).await,
        Command::Put(args) => send::run(context, Method::PUT, args, false).await,
        Command::Patch(args) => send::run(context, Method::PATCH, args, false).await,
        Command::Delete(args) => send::run(context, Method::DELETE, args, false).await,
        Command::Burst(args) => burst::run(context, args, stopping).await,
        Command::Batch(args) => batch::run(context, args, stopping).await,
        Command::Exec(args) => Ok(exec::run(context, args).await),
        Command::Proxy(args) => proxy::run(context, args, stopping).await,
        Command::Profile(args) => profile::run(context, args.command).await,
        Command::Doctor(args) => doctor::run(Ok(context), &context.printer, args.json).await,
        Command::Completions(args) => shell::completions(&context.printer, args.shell).await,
        Command::Man(args) => shell::man(&context.printer, args).await,
    }
}

/// Runs what works without a configuration, and what is there to find out why there is none.
async fn without_context(command: Command, error: anyhow::Error, printer: &Printer) -> anyhow::Result<Exit> {
    match command {
        Command::Doctor(args) => doctor::run(Err(error), printer, args.json).await,
        Command::Completions(args) => shell::completions(printer, args.shell).await,
        Command::Man(args) => shell::man(printer, args).await,
        _ => Err(error),
    }
}
