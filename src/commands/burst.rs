//! `authcli burst`.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use authcli::gate::Work;
use authcli::load::{self, Ended, Manner, Order, Outbox, Pace, Repeat, Sink, Stop, Tally, milliseconds};
use serde_json::json;
use tokio::time::timeout;

use super::SETTLE_BOUND;
use super::context::Context;
use super::gravest::Gravest;
use super::limits::at_a_time;
use super::request::request;
use super::stopped::stopped_by;
use crate::cli::BurstArgs;
use crate::outcome::{Exit, Usage};
use crate::signals::Stopping;
use crate::ui::output::print_here;
use crate::ui::progress::{Progress, Whole};
use crate::ui::{report, summary};

const MOST_AT_ONCE: u64 = 1000;

/// Sends many requests at once and tells what they came to.
pub(crate) async fn run(context: &mut Context, args: BurstArgs, stopping: Stopping) -> anyhow::Result<Exit> {
    context.trust(args.request.cacert.as_deref())?;
    let session = context.open_session(Work::Long).await?;
    let request = request(&session, args.method, &args.path, &args.request, None).await?;
    if !request.body.is_repeatable() {
        return Err(Usage::new("a body of more than 8 MiB must be in a file, since every request sends it").into());
    }
    let requests = args.requests.unwrap_or(u64::MAX);
    let wanted = args.concurrency.unwrap_or(MOST_AT_ONCE).min(requests);
    let concurrency = at_a_time(wanted, args.concurrency.is_some(), &context.printer);
    let target = format!("{} {}", request.method, request.url.path());
    let whole = match (args.requests, args.duration) {
        (Some(requests), _) => Whole::Requests(requests),
        (None, duration) => Whole::Time(duration.unwrap_or_default()),
    };
    // Lines of JSON on the terminal are progress enough.
    let watched = context.printer.is_watched() && !(args.ndjson && io::stdout().is_terminal());
    let progress = Progress::new(watched, whole);

    let start = Instant::now();
    let stop = Stop::new();
    let until = args.duration.and_then(|duration| start.checked_add(duration));
    let source = Arc::new(Repeat::new(request, requests, until, args.rate.map(Pace::start)));
    let (outbox, departures) = load::outbox(Order::AsTheyCome);
    let sink = Arc::new(Collect {
        results: Mutex::new(Results { tally: Tally::new(start), gravest: Gravest::none() }),
        target,
        lines: args.ndjson.then(|| outbox.clone()),
        stop: stop.clone(),
    });
    let manner = Manner { concurrency, retries: args.retry };
    let driving = load::drive(&session, &source, &sink, manner, &stop, (outbox, departures), print_here);
    let showing = progress.follow(|| {
        let tally = &sink.results().tally;
        (tally.requests(), tally.failed(), session.gate().counts().refreshes)
    });
    let end = tokio::select! {
        end = stopped_by(stopping.clone(), &stop, driving) => end?,
        never = showing => match never {},
    };
    drop(progress);
    if !stop.is_at_once() {
        // A refresh that is under way is one of this burst's too, if it comes to its end in time. What cannot be saved is
        // told at the end of the program.
        tokio::select! {
            _ = timeout(SETTLE_BOUND, session.gate().close()) => {}
            () = stopping.asked() => {}
        }
    }

    let tally = sink.results().tally.clone();
    // A reader that is slow to take the last lines is no slow server; who stopped it knows how long it was.
    let last_end = if stop.is_at_once() { end } else { tally.last_end().unwrap_or(end) };
    let mut burst = tally.report(concurrency, session.gate().counts(), last_end);
    burst.summary.unsent = source.left_undone(end);
    let told = if args.json || args.ndjson {
        serde_json::to_string(&burst.summary)? + "\n"
    } else {
        summary::burst(&burst, &session.gate().flights(), start)
    };
    context.printer.data(&told).await?;
    if stop.is_at_once() {
        // How it ends is decided by the signal.
        return Ok(Exit::Done);
    }
    if let Some(undone) = burst.summary.unsent.filter(|undone| *undone > 0 && !stop.begins_no_more()) {
        context.printer.warn(&format!(
            "{undone} requests were due and not sent: all {concurrency} at a time waited for answers to the end"
        ));
    }
    let mut gravest = std::mem::replace(&mut sink.results().gravest, Gravest::none());
    if let Some(most) = args.max_refreshes.filter(|most| burst.summary.refreshes > *most) {
        let refreshes = burst.summary.refreshes;
        context.printer.error(&format!("{refreshes} refreshes were sent; --max-refreshes allows {most}"), &[], None);
        gravest.note_told(Exit::Other);
    }
    Ok(gravest.tell(&context.printer))
}

struct Results {
    tally: Tally,
    gravest: Gravest,
}

/// Where results go: counted, and with `--ndjson` written down as well.
struct Collect {
    results: Mutex<Results>,
    target: String,
    lines: Option<Outbox>,
    stop: Stop,
}

impl Collect {
    /// A panic elsewhere cannot have torn more than one count.
    fn results(&self) -> MutexGuard<'_, Results> {
        self.results.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sink<u64> for Collect {
    const KEEP: usize = 0;

    async fn take(&self, number: u64, ended: Ended) {
        let line = self.lines.as_ref().map(|outbox| (outbox, line(number, &ended)));
        {
            let mut results = self.results();
            results.tally.add(&ended);
            if results.gravest.note(ended, || self.target.clone()) == Exit::NotLoggedIn {
                // The session has ended: no request can be answered any more.
                self.stop.begin_no_more();
            }
        }
        if let Some((outbox, line)) = line {
            outbox.place(number).put(line).await;
        }
    }
}

fn line(number: u64, ended: &Ended) -> Vec<u8> {
    let (n, elapsed_ms) = (number + 1, milliseconds(ended.elapsed()));
    let line = match &ended.result {
        Ok(completed) => json!({
            "n": n, "status": completed.status.as_u16(), "elapsed_ms": elapsed_ms, "retried": completed.retried,
            "generation": completed.generation.number(),
        }),
        Err(error) => json!({"n": n, "error": report::reason(error), "elapsed_ms": elapsed_ms}),
    };
    format!("{line}\n").into_bytes()
}
