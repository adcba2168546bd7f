//! `authcli burst`.

use std::io::{self, IsTerminal as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use authcli::gate::{RefreshGate, Work};
use authcli::load::{self, Ended, Manner, Order, Outbox, Pace, Repeat, Report, Sink, Tally, milliseconds};
use bytes::Bytes;
use serde_json::json;

use super::context::Context;
use super::gravest::Gravest;
use super::limits::at_a_time;
use super::request::request;
use crate::cli::BurstArgs;
use crate::outcome::{Exit, Usage};
use crate::ui::output::print;
use crate::ui::progress::{Progress, Whole};
use crate::ui::{report, summary};

const MOST_AT_ONCE: u64 = 1000;

/// Sends many requests at once and tells what they came to.
pub(crate) async fn run(context: &mut Context, args: BurstArgs) -> anyhow::Result<Exit> {
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
    let results = Arc::new(Mutex::new(Results { tally: Tally::new(start), gravest: Gravest::none() }));
    let told = Told { concurrency, json: args.json || args.ndjson, start, gate: session.gate().clone() };
    if !args.ndjson {
        let (results, told) = (Arc::clone(&results), told.clone());
        context.set_last_words(move || told.text(&told.report(lock(&results).tally.clone())));
    }
    let until = args.duration.and_then(|duration| start.checked_add(duration));
    let source = Arc::new(Repeat::new(request, requests, until, args.rate.map(Pace::start)));
    let (outbox, departures) = load::outbox(Order::AsTheyCome);
    let lines = args.ndjson.then_some(outbox);
    let sink = Arc::new(Collect { results: Arc::clone(&results), target, lines });
    let sending = async {
        load::run(&session, &source, &sink, Manner { concurrency, retries: args.retry }).await;
        // With it goes the outbox.
        drop(sink);
        Ok(())
    };
    let writing = departures.depart(async |lines: &[u8]| print(Bytes::copy_from_slice(lines)).await);
    let showing = progress.follow(|| {
        let tally = &lock(&results).tally;
        (tally.requests(), tally.failed(), session.gate().counts().refreshes)
    });
    tokio::select! {
        done = async { tokio::try_join!(sending, writing) } => drop(done?),
        never = showing => match never {},
    }
    drop(progress);

    let tally = lock(&results).tally.clone();
    let burst = told.report(tally);
    context.printer.data(&told.text(&burst)).await?;
    context.clear_last_words();
    let undone = source.left_undone();
    if undone > 0 {
        context.printer.warn(&format!(
            "{undone} requests were due and not sent: all {concurrency} at a time waited for answers to the end"
        ));
    }
    let mut gravest = std::mem::replace(&mut lock(&results).gravest, Gravest::none());
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

/// A panic elsewhere cannot have torn more than one count.
fn lock(results: &Mutex<Results>) -> std::sync::MutexGuard<'_, Results> {
    results.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where results go: counted, and with `--ndjson` written down as well.
struct Collect {
    results: Arc<Mutex<Results>>,
    target: String,
    lines: Option<Outbox>,
}

impl Sink<u64> for Collect {
    const KEEP: usize = 0;

    async fn take(&self, number: u64, ended: Ended) {
        let line = self.lines.as_ref().map(|outbox| (outbox, line(number, &ended)));
        {
            let mut results = lock(&self.results);
            results.tally.add(&ended);
            results.gravest.note(ended, || self.target.clone());
        }
        if let Some((outbox, line)) = line {
            outbox.put(number, line).await;
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

/// How what a burst came to is told.
#[derive(Clone)]
struct Told {
    concurrency: u64,
    json: bool,
    start: Instant,
    gate: RefreshGate,
}

impl Told {
    fn report(&self, tally: Tally) -> Report {
        tally.report(self.concurrency, self.gate.counts(), Instant::now())
    }

    fn text(&self, report: &Report) -> String {
        if self.json {
            // A summary has no key that JSON could not have.
            return serde_json::to_string(&report.summary).map(|json| json + "\n").unwrap_or_default();
        }
        summary::burst(report, &self.gate.flights(), self.start)
    }
}
