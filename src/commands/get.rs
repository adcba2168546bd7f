//! `authcli get`.

use std::path::Path;

use anyhow::Context as _;
use authcli::gate::Work;
use authcli::session::Answer;
use reqwest::{Method, Response};

use super::context::Context;
use super::request::{request, why_refused};
use crate::cli::GetArgs;
use crate::outcome::Exit;
use crate::ui::output::{FileOutput, Output};

/// Sends one request and streams its answer.
pub(crate) async fn run(context: &mut Context, args: GetArgs) -> anyhow::Result<Exit> {
    let session = context.open_session(Work::Short).await?;
    let request = request(&session, Method::GET, &args.path, &args.request)?;
    let answer = session.send(&request).await?;
    let exit = Exit::of_status(answer.response.status());
    let told = format!("{} {}: {}", request.method, request.url.path(), answer.response.status());
    let (words, hint) = why_refused(&answer);
    let copied = match args.output.as_deref().filter(|_| exit == Exit::Done) {
        Some(path) => to_file(context, answer, args.include, path).await,
        None => to_stdout(answer, args.include).await,
    };
    // What stands on stdout comes first, then the word about it.
    if exit != Exit::Done && !copied.as_ref().is_err_and(crate::ui::report::is_closed_pipe) {
        context.printer.refused_answer(&told, words.as_deref(), hint);
    }
    copied.map(|()| exit)
}

async fn to_stdout(mut answer: Answer, include: bool) -> anyhow::Result<()> {
    let mut output = Output::stdout();
    if include {
        output.write(&head(&answer.response)).await?;
    }
    while let Some(chunk) = answer.chunk().await? {
        output.write(&chunk).await?;
    }
    Ok(())
}

/// Writes beside `path` and renames when all is there, so that nobody finds half a file.
async fn to_file(context: &Context, mut answer: Answer, include: bool, path: &Path) -> anyhow::Result<()> {
    let write_error = || format!("could not write {}", path.display());
    let mut output = FileOutput::create(path).await.with_context(write_error)?;
    if include {
        output.write(&head(&answer.response)).await.with_context(write_error)?;
    }
    while let Some(chunk) = answer.chunk().await? {
        output.write(&chunk).await.with_context(write_error)?;
    }
    let length = output.finish().await.with_context(write_error)?;
    context.printer.note(&format!("Wrote {length} bytes to {}", path.display()));
    Ok(())
}

/// Returns the head as it came: status line, headers, empty line.
fn head(response: &Response) -> Vec<u8> {
    let status = response.status();
    let reason = status.canonical_reason().unwrap_or_default();
    let mut head = format!("{:?} {} {reason}\r\n", response.version(), status.as_u16()).into_bytes();
    for (name, value) in response.headers() {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}
