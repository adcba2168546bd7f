//! `authcli get`, `head`, `post`, `put`, `patch` and `delete`: one request, and its answer.

use std::path::Path;

use anyhow::Context as _;
use authcli::clock::SystemClock;
use authcli::gate::{Clock as _, Work};
use authcli::session::{Answer, Content, NotFollowed, Retry, Trouble, accept_codings, with_retries};
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
    let can_follow = [Method::GET, Method::HEAD].contains(&method);
    let mut request = request(&session, method, &args.path, &args.request, args.json.as_deref()).await?;
    if args.retry > 0 && !request.body.is_repeatable() {
        context.printer.warn("a body that long is kept nowhere to be sent again, so nothing is tried twice");
    }
    let decode = accept_codings(&request.method, &mut request.headers);
    let (printer, options) = (&context.printer, &context.client_options);
    let answer = with_retries(
        &request,
        args.retry,
        || SystemClock.now(),
        async |request| {
            if follow { session.send_following(request, options).await } else { session.send(request).await }
        },
        |retry| printer.warn(&told(retry)),
    )
    .await?;
    let status = answer.response.status();
    let exit = Exit::of_status(status);
    let failure = format!("{} {}: {status}", request.method, answer.response.url().path());
    let leads_on = exit == Exit::Redirected && answer.response.headers().contains_key(LOCATION);
    let (words, hint) = why_refused(&answer);
    let hint = hint
        .or(answer.not_followed.map(why_not_followed))
        .or((leads_on && can_follow && !follow).then_some("`--follow` follows redirects"));
    let shape = Shape { head: args.include || request.method == Method::HEAD, decode };
    let copied = match args.output.as_deref() {
        Some(path) if path != Path::new("-") && exit == Exit::Done => to_file(context, answer, shape, path).await,
        output => to_stdout(context, answer, shape, output.is_some_and(|path| path == Path::new("-"))).await,
    };
    // What stands on stdout comes first, then the word about it.
    if exit != Exit::Done && !copied.as_ref().is_err_and(report::is_closed_pipe) {
        context.printer.refused_answer(&failure, words.as_deref(), hint);
    }
    copied.map(|()| exit)
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

/// Writes beside `path` and renames when all is there, so that nobody finds half a file.
async fn to_file(context: &Context, answer: Answer, shape: Shape, path: &Path) -> anyhow::Result<()> {
    let write_error = || format!("could not write {}", path.display());
    let mut output = FileOutput::create(path).await.with_context(write_error)?;
    let (head, length) = (Head::of(&answer.response), answer.response.content_length());
    let mut body = Content::of(answer, shape.decode);
    let download = Download::new(&context.printer, length.filter(|_| !body.is_decoded()));
    if shape.head {
        output.write(&head.bytes(body.is_decoded())).await.with_context(write_error)?;
    }
    let mut length = 0;
    while let Some(chunk) = body.chunk().await? {
        output.write(&chunk).await.with_context(write_error)?;
        length += chunk.len() as u64;
        download.show(length);
    }
    drop(download);
    let length = output.finish().await.with_context(write_error)?;
    context.printer.note(&format!("Wrote {length} bytes to {}", path.display()));
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
