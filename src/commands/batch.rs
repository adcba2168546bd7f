//! `authcli batch`.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use authcli::Session;
use authcli::gate::Work;
use authcli::load::{
    self, AnswerLine, BadLine, Ended, Job, Line, LineRequest, Lines, Manner, Order, Outbox, Sink, Source,
};
use authcli::session::Request;
use bytes::Bytes;
use reqwest::Method;
use tokio::sync::watch;

use super::context::Context;
use super::gravest::Gravest;
use super::limits::at_a_time;
use super::request::request;
use crate::cli::BatchArgs;
use crate::outcome::{Exit, Usage};
use crate::ui::output::print;
use crate::ui::{Printer, report};

const LONGEST_BODY: usize = 8 * 1024 * 1024;
const BODY_TOO_LONG: &str = "the body is longer than 8 MiB";
/// How many bad lines are told of one by one.
const BAD_LINES_TOLD: u64 = 10;

/// Sends the requests that standard input lists.
pub(crate) async fn run(context: &mut Context, args: BatchArgs) -> anyhow::Result<Exit> {
    if !args.request.data.is_empty() || !args.request.form.is_empty() {
        return Err(Usage::with_hint("a body belongs to a line", "write it there: `POST /path {…}`").into());
    }
    context.trust(args.request.cacert.as_deref())?;
    let session = context.open_session(Work::Long).await?;
    let common = request(&session, Method::GET, "", &args.request, None).await?;
    let concurrency = at_a_time(args.concurrency, true, &context.printer);
    if io::stdin().is_terminal() {
        context.printer.note("Reading requests from the terminal, one a line; Ctrl-D ends them");
    }
    let order = if args.unordered { Order::AsTheyCome } else { Order::ByPlace };
    let (outbox, departures) = load::outbox(order);
    let sink = Arc::new(Answers {
        outbox,
        printer: context.printer.clone(),
        gravest: Arc::new(Mutex::new(Gravest::none())),
        bad_lines: AtomicU64::new(0),
        over: watch::Sender::new(false),
    });
    let gravest = Arc::clone(&sink.gravest);
    let source = Arc::new(Requests {
        lines: Lines::read(io::stdin()),
        session: session.clone(),
        common,
        sink: Arc::clone(&sink),
        broken: Mutex::new(None),
    });
    let sending = async {
        load::run(&session, &source, &sink, Manner { concurrency, retries: args.retry }).await;
        let untold = sink.bad_lines.load(Ordering::Relaxed).saturating_sub(BAD_LINES_TOLD);
        if untold > 0 {
            context.printer.error(&format!("{untold} more lines are no requests"), &[], None);
        }
        let broken = source.broken.lock().unwrap_or_else(PoisonError::into_inner).take();
        // With them goes the outbox.
        drop((source, sink));
        Ok(broken)
    };
    let writing = departures.depart(async |lines: &[u8]| print(Bytes::copy_from_slice(lines)).await);
    let (broken, ()) = tokio::try_join!(sending, writing)?;

    let gravest = std::mem::replace(&mut *gravest.lock().unwrap_or_else(PoisonError::into_inner), Gravest::none());
    let exit = gravest.tell(&context.printer);
    match broken {
        Some(error) if exit == Exit::Done => Err(error).context("could not read standard input"),
        Some(error) => {
            context.printer.error(&format!("could not read standard input: {error}"), &[], None);
            Ok(exit)
        }
        None => Ok(exit),
    }
}

/// What a request is called.
struct Name {
    line: u64,
    place: u64,
    method: Method,
    path: String,
}

/// Requests from lines.
struct Requests {
    lines: Lines,
    session: Session,
    /// What all requests share.
    common: Request,
    sink: Arc<Answers>,
    /// Why the lines could not be read to their end.
    broken: Mutex<Option<io::Error>>,
}

impl Requests {
    fn job(&self, line: &Line) -> Result<Job<Name>, BadLine> {
        // The lines hold no blank ones.
        let parsed = LineRequest::parse(line.text.as_ref().map_err(Clone::clone)?)?;
        let asked = parsed.ok_or_else(|| BadLine::new("it is blank"))?;
        let request = Arc::new(asked.to_request(self.session.server(), &self.common)?);
        let tag = Name { line: line.number, place: line.place, method: asked.method, path: asked.path };
        Ok(Job { request, due: None, tag })
    }
}

impl Source for Requests {
    type Tag = Name;

    async fn next(&self) -> Option<Job<Name>> {
        loop {
            let mut over = self.sink.over.subscribe();
            let line = tokio::select! {
                biased;
                // Also who waits for a line that may never come is told.
                _ = over.wait_for(|over| *over) => return None,
                line = self.lines.next() => line,
            };
            let line = match line {
                Ok(line) => line?,
                Err(error) => {
                    *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return None;
                }
            };
            match self.job(&line) {
                Ok(job) => return Some(job),
                Err(bad) => self.sink.bad_line(&line, &bad).await,
            }
        }
    }
}

/// Where answers go: each a line of JSON.
struct Answers {
    outbox: Outbox,
    printer: Printer,
    gravest: Arc<Mutex<Gravest>>,
    bad_lines: AtomicU64,
    /// Whether the session has ended: then no request can be answered any more.
    over: watch::Sender<bool>,
}

impl Answers {
    fn gravest(&self) -> std::sync::MutexGuard<'_, Gravest> {
        self.gravest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn bad_line(&self, line: &Line, bad: &BadLine) {
        if self.bad_lines.fetch_add(1, Ordering::Relaxed) < BAD_LINES_TOLD {
            self.printer.error(&format!("line {}: {bad}", line.number), &[], None);
        }
        self.gravest().note_told(Exit::Other);
        self.outbox.put(line.place, AnswerLine::bad(line.number, &bad.to_string()).to_bytes()).await;
    }
}

impl Sink<Name> for Answers {
    const KEEP: usize = LONGEST_BODY;

    async fn take(&self, name: Name, ended: Ended) {
        let (method, elapsed) = (name.method.as_str(), ended.elapsed());
        let line = match &ended.result {
            Ok(completed) => {
                AnswerLine::answered(name.line, method, &name.path, elapsed, completed, BODY_TOO_LONG).to_bytes()
            }
            Err(error) => AnswerLine::failed(name.line, method, &name.path, elapsed, &report::reason(error)).to_bytes(),
        };
        let cut_off = matches!(&ended.result, Ok(load::Completed { body: load::Kept::TooLong, .. }));
        {
            let mut gravest = self.gravest();
            let target =
                || format!("line {}: {method} {}", name.line, name.path.split(['?', '#']).next().unwrap_or_default());
            let exit = gravest.note(ended, target);
            if exit == Exit::NotLoggedIn {
                self.over.send_replace(true);
            }
            if cut_off {
                gravest.note_told(Exit::Other);
            }
        }
        if cut_off {
            self.printer.error(&format!("line {}: {BODY_TOO_LONG}", name.line), &[], None);
        }
        self.outbox.put(name.place, line).await;
    }
}
