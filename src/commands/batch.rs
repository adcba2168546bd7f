//! `authcli batch`.

use std::io::{self, IsTerminal as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use authcli::Session;
use authcli::gate::Work;
use authcli::load::{
    self, AnswerLine, BadLine, Ended, Job, Line, LineRequest, Lines, Manner, Order, Outbox, Place, Sink, Source, Stop,
};
use authcli::session::Request;
use reqwest::Method;

use super::context::Context;
use super::gravest::Gravest;
use super::limits::at_a_time;
use super::request::request;
use super::stopped::stopped_by;
use crate::cli::BatchArgs;
use crate::outcome::{Exit, Usage};
use crate::signals::Stopping;
use crate::ui::output::print_here;
use crate::ui::{Printer, report};

const LONGEST_BODY: usize = 8 * 1024 * 1024;
const BODY_TOO_LONG: &str = "the body is longer than 8 MiB";
/// How many bad lines are told of one by one.
const BAD_LINES_TOLD: u64 = 10;

/// Sends the requests that standard input lists.
pub(crate) async fn run(context: &mut Context, args: BatchArgs, stopping: Stopping) -> anyhow::Result<Exit> {
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
    let stop = Stop::new();
    let sink = Arc::new(Answers {
        outbox: outbox.clone(),
        printer: context.printer.clone(),
        gravest: Mutex::new(Gravest::none()),
        bad_lines: AtomicU64::new(0),
        stop: stop.clone(),
    });
    let source = Arc::new(Requests {
        lines: Lines::read(io::stdin()),
        session: session.clone(),
        common,
        sink: Arc::clone(&sink),
        broken: Mutex::new(None),
    });
    let manner = Manner { concurrency, retries: args.retry };
    let driving = load::drive(&session, &source, &sink, manner, &stop, (outbox, departures), print_here);
    stopped_by(stopping, &stop, driving).await?;
    if stop.is_at_once() {
        // How it ends is decided by the signal.
        return Ok(Exit::Done);
    }

    let untold = sink.bad_lines.load(Ordering::Relaxed).saturating_sub(BAD_LINES_TOLD);
    if untold > 0 {
        context.printer.error(&format!("{untold} more lines are no requests"), &[], None);
    }
    let broken = source.broken.lock().unwrap_or_else(PoisonError::into_inner).take();
    let gravest = std::mem::replace(&mut *sink.gravest(), Gravest::none());
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
    place: Place,
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
    /// Reads the next line and makes room for it.
    async fn line(&self) -> io::Result<Option<(Line, Place)>> {
        let Some(mut line) = self.lines.next().await? else { return Ok(None) };
        let mut place = self.sink.outbox.place(line.place);
        if let (Ok(text), Some(turn)) = (&line.text, line.turn.take()) {
            place.reserve(text.len()).await;
            drop(turn);
        }
        Ok(Some((line, place)))
    }

    fn request(&self, line: Line) -> Result<(LineRequest, Request), BadLine> {
        // The lines hold no blank ones.
        let asked = LineRequest::parse(&line.text?)?.ok_or_else(|| BadLine::new("it is blank"))?;
        let request = asked.to_request(self.session.server(), self.session.attachment(), &self.common)?;
        Ok((asked, request))
    }
}

impl Source for Requests {
    type Tag = Name;

    async fn next(&self) -> Option<Job<Name>> {
        loop {
            let (line, place) = match self.line().await {
                Ok(read) => read?,
                Err(error) => {
                    *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    return None;
                }
            };
            let number = line.number;
            match self.request(line) {
                Ok((asked, request)) => {
                    let tag = Name { line: number, place, method: asked.method, path: asked.path };
                    return Some(Job { request: Arc::new(request), due: None, tag });
                }
                Err(bad) => self.sink.bad_line(number, place, &bad).await,
            }
        }
    }
}

/// Where answers go: each a line of JSON.
struct Answers {
    outbox: Outbox,
    printer: Printer,
    gravest: Mutex<Gravest>,
    bad_lines: AtomicU64,
    stop: Stop,
}

impl Answers {
    fn gravest(&self) -> std::sync::MutexGuard<'_, Gravest> {
        self.gravest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn bad_line(&self, number: u64, place: Place, bad: &BadLine) {
        if self.bad_lines.fetch_add(1, Ordering::Relaxed) < BAD_LINES_TOLD {
            self.printer.error(&format!("line {number}: {bad}"), &[], None);
        }
        self.gravest().note_told(Exit::Other);
        place.put(AnswerLine::bad(number, &bad.to_string()).to_bytes()).await;
    }
}

impl Sink<Name> for Answers {
    const KEEP: usize = LONGEST_BODY;

    async fn make_room(&self, name: &mut Name, bytes: usize) {
        name.place.reserve(bytes).await;
    }

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
                // The session has ended: no request can be answered any more.
                self.stop.begin_no_more();
            }
            if cut_off {
                gravest.note_told(Exit::Other);
            }
        }
        if cut_off {
            self.printer.error(&format!("line {}: {BODY_TOO_LONG}", name.line), &[], None);
        }
        name.place.put(line).await;
    }
}
