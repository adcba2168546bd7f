//! `authcli burst`.

use std::time::Instant;

use authcli::gate::Work;
use authcli::load::{self, Finished, Plan, Tally};
use authcli::session::{FinalRefusal, SendError};
use reqwest::{Method, StatusCode};

use super::context::Context;
use super::limits::open_file_limit;
use super::request::{hint, request};
use crate::cli::BurstArgs;
use crate::outcome::{Exit, Usage};
use crate::ui::progress::Progress;
use crate::ui::{Printer, report, summary};

const MOST_AT_ONCE: u64 = 1000;
/// Files that the program needs beside its connections.
const FILES_KEPT_BACK: u64 = 32;

/// Sends many requests at once and tells what they came to.
pub(crate) async fn run(context: &mut Context, args: BurstArgs) -> anyhow::Result<Exit> {
    context.trust(args.request.cacert.as_deref())?;
    let session = context.open_session(Work::Long).await?;
    let request = request(&session, Method::GET, &args.path, &args.request, None).await?;
    if !request.body.is_repeatable() {
        return Err(Usage::new("a body of more than 8 MiB must be in a file, since every request sends it").into());
    }
    let wanted = args.concurrency.unwrap_or(MOST_AT_ONCE).min(args.requests);
    let concurrency = wanted.min(open_file_limit().saturating_sub(FILES_KEPT_BACK).max(1));
    if args.concurrency.is_some() && concurrency < wanted {
        context.printer.warn(&format!("the open-file limit allows {concurrency} requests at a time"));
    }
    let target = format!("{} {}", request.method, request.url.path());
    let plan = Plan { request, requests: args.requests, concurrency };
    let progress = Progress::new(&context.printer, args.requests);
    let mut tally = Tally::new();
    let mut worst = Worst::none();
    let start = Instant::now();
    load::run(&session, &plan, |finished| {
        tally.add(&finished);
        worst.note(finished);
        progress.show(tally.requests(), tally.failed(), session.gate().counts().refreshes);
    })
    .await;
    let elapsed = start.elapsed();
    progress.finish();
    let summary = tally.summary(concurrency, session.gate().counts(), elapsed);
    let text = if args.json { format!("{}\n", serde_json::to_string(&summary)?) } else { summary::text(&summary) };
    context.printer.data(&text).await?;
    let exit = worst.exit;
    worst.tell(&context.printer, &target);
    Ok(exit)
}

/// The failure that decides the exit code, by the order of the contract: store, login, lock, network, then the answers.
struct Worst {
    exit: Exit,
    failure: Option<Failure>,
}

enum Failure {
    NoAnswer(SendError),
    Answer(StatusCode, Option<FinalRefusal>),
}

impl Worst {
    fn none() -> Self {
        Self { exit: Exit::Done, failure: None }
    }

    fn note(&mut self, finished: Finished) {
        let (exit, failure) = match finished.result {
            Ok(completed) => (Exit::of_status(completed.status), Failure::Answer(completed.status, completed.refusal)),
            Err(error) => (report::exit_of_send(&error), Failure::NoAnswer(error)),
        };
        if rank(exit) > rank(self.exit) {
            *self = Self { exit, failure: Some(failure) };
        }
    }

    fn tell(self, printer: &Printer, target: &str) {
        match self.failure {
            Some(Failure::NoAnswer(error)) => drop(report::failure(printer, &error.into())),
            Some(Failure::Answer(status, refusal)) => {
                printer.failed_answer(&format!("{target}: {status}"), refusal.map(hint));
            }
            None => {}
        }
    }
}

fn rank(exit: Exit) -> u8 {
    match exit {
        Exit::Store => 8,
        Exit::NotLoggedIn => 7,
        Exit::LockBusy => 6,
        Exit::Unreachable => 5,
        Exit::ServerError => 4,
        Exit::ClientError => 3,
        Exit::Redirected => 2,
        Exit::Done => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_order_is_the_contracts() {
        let order = [
            Exit::Store,
            Exit::NotLoggedIn,
            Exit::LockBusy,
            Exit::Unreachable,
            Exit::ServerError,
            Exit::ClientError,
            Exit::Redirected,
            Exit::Other,
            Exit::Done,
        ];
        assert!(order.windows(2).all(|pair| rank(pair[0]) > rank(pair[1])));
    }
}
