//! `authcli get`, `head`, `post`, `put`, `patch` and `delete`: one request, and its answer.

use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use authcli::Session;
use authcli::clock::SystemClock;
use authcli::gate::{Clock as _, Work};
use authcli::session::{Answer, Content, NotFollowed, Retry, Seen, SendError, Tries, Trouble, accept_codings};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Method, Response};

use super::context::Context;
use super::request::{request, why_refused};
use crate::cli::{FetchArgs, SendArgs};
use crate::outcome::Exit;
use crate::ui::download::Download;
use crate::ui::output::{FileOutput, print};
use crate::ui::{report, screen};

/// `get` and `head`.
pub(crate) async fn fetch(context: &mut Context, method: Method, args: FetchArgs) -> anyhow::Result<Exit> {
    run(context, method, args.send, args.follow).await
}

/// Sends one request and streams its answer.
pub(crate) async fn run(context: &mut Context, method: Method, args: SendArgs, follow: bool) -> anyhow::Result<Exit> {
    context.trust(args.request.cacert.as_deref())?;
    let session = context.open_session(Work::Short).await?;
    let context = &*context;
    let mut request = request(&session, method, &args.path, &args.request, args.json.as_deref()).await?;
    if args.retry > 0 && !request.body.is_repeatable() {
        context.printer.warn("a body that long is kept nowhere to be sent again, so nothing is tried twice");
    }
    let decode = accept_codings(&request.method, &mut request.headers);
    let shape = Shape { head: args.include || request.method == Method::HEAD, decode };
    let raw = args.output.as_deref().is_some_and(is_stdout);
    // What cannot be written is found out before the server does anything.
    let output = match args.output.as_deref().filter(|_| !raw) {
        Some(path) => Some(Output { file: FileOutput::create(path).await.with_context(|| unwritten(path))?, path }),
        None => None,
    };
    let mut sending = Sending { context, session, follow, tries: Tries::new(Arc::new(request), args.retry) };
    let answer = sending.answer().await?;
    match output {
        Some(output) if Exit::of_status(answer.response.status()) == Exit::Done => {
            sending.save(answer, shape, output).await
        }
        _ => sending.show(answer, shape, raw).await,
    }
}

/// Where `-o` leads.
struct Output<'a> {
    file: FileOutput,
    path: &'a Path,
}

/// A request on its way, as often as it takes.
struct Sending<'a> {
    context: &'a Context,
    session: Session,
    follow: bool,
    tries: Tries,
}

impl Sending<'_> {
    /// Returns an answer that no other try would better.
    async fn answer(&mut self) -> Result<Answer, SendError> {
        loop {
            let request = self.tries.request();
            let sent = if self.follow {
                self.session.send_following(request, &self.context.client_options).await
            } else {
                self.session.send(request).await
            };
            let seen = match &sent {
                Ok(answer) => Seen::Head(&answer.response),
                Err(error) => Seen::Failure(error),
            };
            let Some(retry) = self.tries.again(seen, SystemClock.now()) else {
                return sent.map_err(|error| self.tries.last_word(error));
            };
            drop(sent);
            self.wait(&retry).await;
        }
    }

    async fn wait(&mut self, retry: &Retry) {
        self.context.printer.warn(&told(retry));
        self.tries.pause(retry).await;
    }

    /// Writes the answer to standard output, and what there is to say of it.
    async fn show(&self, answer: Answer, shape: Shape, raw: bool) -> anyhow::Result<Exit> {
        let request = self.tries.request();
        let (status, exit) = (answer.response.status(), Exit::of_status(answer.response.status()));
        let failure = format!("{} {}: {status}", request.method, answer.response.url().path());
        let leads_on = exit == Exit::Redirected && answer.response.headers().contains_key(LOCATION);
        let can_follow = [Method::GET, Method::HEAD].contains(&request.method);
        let (words, hint) = why_refused(&answer);
        let hint = hint
            .or(answer.not_followed.map(why_not_followed))
            .or((leads_on && can_follow && !self.follow).then_some("`--follow` follows redirects"));
        let shown = to_stdout(self.context, answer, shape, raw).await.map_err(|error| match error.downcast() {
            Ok(error) => self.tries.last_word(error).into(),
            Err(error) => error,
        });
        // What stands on stdout comes first, then the word about it.
        if exit != Exit::Done && !shown.as_ref().is_err_and(report::is_closed_pipe) {
            self.context.printer.refused_answer(&failure, words.as_deref(), hint);
        }
        shown.map(|()| exit)
    }

    /// Writes a good answer to a file. One that breaks off is asked for again: nobody has seen the half that came.
    async fn save(&mut self, mut answer: Answer, shape: Shape, mut output: Output<'_>) -> anyhow::Result<Exit> {
        loop {
            let error = match to_file(self.context, answer, shape, &mut output.file).await {
                Ok(()) => break,
                Err(Broken::File(error)) => return Err(error).with_context(|| unwritten(output.path)),
                Err(Broken::Answer(error)) => error,
            };
            let retry = self.tries.again(Seen::Body(&error), SystemClock.now()).filter(|_| output.file.is_hidden());
            let Some(retry) = retry else { return Err(self.tries.last_word(error).into()) };
            self.wait(&retry).await;
            answer = self.answer().await?;
            if Exit::of_status(answer.response.status()) != Exit::Done {
                return self.show(answer, shape, false).await;
            }
        }
        let length = output.file.finish().await.with_context(|| unwritten(output.path))?;
        self.context.printer.note(&format!("Wrote {length} bytes to {}", output.path.display()));
        Ok(Exit::Done)
    }
}

fn is_stdout(path: &Path) -> bool {
    // Opened by that name it would be written from its beginning, whatever stands there.
    path == Path::new("-") || path == Path::new("/dev/stdout")
}

fn unwritten(path: &Path) -> String {
    format!("could not write {}", path.display())
}

/// What is made of an answer.
#[derive(Clone, Copy)]
struct Shape {
    /// Whether its head is part of the output.
    head: bool,
    /// Whether its codings are undone.
    decode: bool,
}

/// Bytes as they come go to a pipe, and with `raw` to a terminal; else a terminal is spared what it would obey.
async fn to_stdout(context: &Context, answer: Answer, shape: Shape, raw: bool) -> anyhow::Result<()> {
    let screen = context.printer.screen().filter(|_| !raw);
    let (head, is_json) = (Head::of(&answer.response), is_json(answer.response.headers()));
    let mut body = Content::of(answer, shape.decode);
    if shape.head {
        let head = head.bytes(body.is_decoded());
        match screen {
            Some(_) => print(screen::printable(&String::from_utf8_lossy(&head))).await?,
            None => print(head).await?,
        }
    }
    if let Some(screen) = screen {
        return screen::show(body, is_json, screen.color).await;
    }
    while let Some(chunk) = body.chunk().await? {
        print(chunk).await?;
    }
    Ok(())
}

/// What keeps an answer from being in a file.
enum Broken {
    Answer(SendError),
    File(io::Error),
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// Writes the whole answer, whatever had been written before.
async fn to_file(context: &Context, answer: Answer, shape: Shape, output: &mut FileOutput) -> Result<(), Broken> {
    output.begin().await?;
    let (head, length) = (Head::of(&answer.response), answer.response.content_length());
    let mut body = Content::of(answer, shape.decode);
    let download = Download::new(&context.printer, length.filter(|_| !body.is_decoded()));
    if shape.head {
        output.write(&head.bytes(body.is_decoded())).await?;
    }
    let mut length = 0;
    while let Some(chunk) = body.chunk().await.map_err(Broken::Answer)? {
        output.write(&chunk).await?;
        length += chunk.len() as u64;
        download.show(length);
    }
    Ok(())
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(screen::is_json)
}

/// The head of an answer: status line, headers, empty line.
struct Head {
    status: String,
    headers: HeaderMap,
}

impl Head {
    fn of(response: &Response) -> Self {
        let status = response.status();
        let reason = status.canonical_reason().unwrap_or_default();
        Self {
            status: format!("{:?} {} {reason}\r\n", response.version(), status.as_u16()),
            headers: response.headers().clone(),
        }
    }

    /// Returns it as it came, but for what is no longer so where the body is decoded.
    fn bytes(&self, decoded: bool) -> Vec<u8> {
        let mut head = self.status.clone().into_bytes();
        for (name, value) in &self.headers {
            if decoded && [CONTENT_ENCODING, CONTENT_LENGTH].contains(name) {
                continue;
            }
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }
}

fn told(retry: &Retry) -> String {
    let what = match retry.trouble {
        Trouble::NotSent => "the server could not be reached".to_owned(),
        Trouble::NoAnswer => "the server gave no answer".to_owned(),
        Trouble::BrokeOff => "the answer broke off".to_owned(),
        Trouble::Status(status) => format!("the server answered {status}"),
    };
    format!("{what}; trying again in {:.1} s", retry.pause.as_secs_f64())
}

fn why_not_followed(why: NotFollowed) -> &'static str {
    match why {
        NotFollowed::TooMany => "ten redirects were followed before this one",
        NotFollowed::ClearText => "it leads from https to http, so it is not followed",
        NotFollowed::Nowhere => "it leads to no http or https address",
    }
}
