//! From `-d`, `--form` and `--json` to a body, and what it is told to be.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use authcli::http::Body;
use bytes::Bytes;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use serde::de::IgnoredAny;
use url::form_urlencoded;

use crate::cli::RequestArgs;
use crate::outcome::Usage;

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Returns the body that was asked for, and tells of it in `headers` unless they do.
pub(super) async fn payload(args: &RequestArgs, json: Option<&str>, headers: &mut HeaderMap) -> anyhow::Result<Body> {
    if let Some(json) = json {
        headers.entry(CONTENT_TYPE).or_insert(JSON);
        headers.entry(ACCEPT).or_insert(JSON);
        return json_body(json).await;
    }
    let body = match args.data.as_slice() {
        [] if args.form.is_empty() => return Ok(Body::none()),
        [] => form(&args.form)?,
        [one] => data(Input::of(one)).await?,
        several => joined(several)?,
    };
    headers.entry(CONTENT_TYPE).or_insert(FORM);
    Ok(body)
}

/// Where a body comes from.
#[derive(Clone, Copy)]
enum Input<'a> {
    Text(&'a str),
    File(&'a Path),
    Stdin,
}

impl<'a> Input<'a> {
    fn of(typed: &'a str) -> Self {
        match typed.strip_prefix('@') {
            _ if typed == "-" => Self::Stdin,
            Some("-") => Self::Stdin,
            Some(path) => Self::File(Path::new(path)),
            None => Self::Text(typed),
        }
    }
}

async fn data(input: Input<'_>) -> anyhow::Result<Body> {
    match input {
        Input::Text(text) => Ok(Bytes::copy_from_slice(text.as_bytes()).into()),
        Input::File(path) => file(path).await,
        Input::Stdin => Body::read_ahead_of(tokio::io::stdin()).await.context("could not read standard input"),
    }
}

/// A regular file is read anew for each sending; what is none (a pipe, a device) is treated like standard input.
async fn file(path: &Path) -> anyhow::Result<Body> {
    let unreadable = |error: io::Error| Usage::new(format!("could not read {}: {error}", path.display()));
    let metadata = tokio::fs::metadata(path).await.map_err(unreadable)?;
    if metadata.is_file() {
        return Ok(Body::file(path).await.map_err(unreadable)?);
    }
    let opened = tokio::fs::File::open(path).await.map_err(unreadable)?;
    Ok(Body::read_ahead_of(opened).await.map_err(unreadable)?)
}

/// As curl joins them.
fn joined(texts: &[String]) -> Result<Body, Usage> {
    if texts.iter().any(|text| !matches!(Input::of(text), Input::Text(_))) {
        return Err(Usage::new("`-d` with @FILE or - can be given only once, and alone"));
    }
    Ok(Bytes::from(texts.join("&")).into())
}

fn form(fields: &[String]) -> Result<Body, Usage> {
    let mut encoded = form_urlencoded::Serializer::new(String::new());
    for field in fields {
        let (name, value) = pair(field, "--form")?;
        encoded.append_pair(name, value);
    }
    Ok(Bytes::from(encoded.finish()).into())
}

/// Reads `K=V`. The value may be a secret, so no message repeats it.
pub(super) fn pair<'a>(typed: &'a str, option: &str) -> Result<(&'a str, &'a str), Usage> {
    match typed.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name, value)),
        _ => Err(Usage::new(format!("`{option}` must read `NAME=VALUE`"))),
    }
}

/// What is too long to be kept comes from a pipe and goes out as it is read, so only its beginning can be looked at before.
async fn json_body(typed: &str) -> anyhow::Result<Body> {
    let input = Input::of(typed);
    let body = data(input).await?;
    let checked = match (input, body.bytes()) {
        (_, Some(bytes)) => serde_json::from_slice(bytes),
        (Input::File(path), None) if body.is_repeatable() => {
            let file = tokio::fs::File::open(path).await?.into_std().await;
            let read = move || serde_json::from_reader::<_, IgnoredAny>(io::BufReader::new(file));
            tokio::task::spawn_blocking(read).await?
        }
        _ => body.beginning().map_or(Ok(IgnoredAny), |read| begun_json(&read)),
    };
    match checked {
        Ok(_) => Ok(body),
        Err(error) => Err(Usage::new(format!("what `--json` was given is not JSON: {error}")).into()),
    }
}

/// Checks text that goes on: only what no continuation could mend is a fault.
fn begun_json(text: &[u8]) -> serde_json::Result<IgnoredAny> {
    // A number at the end may be half of one.
    let end = text.iter().rposition(|byte| !b"+-.0123456789Ee".contains(byte)).map_or(0, |last| last + 1);
    match serde_json::from_slice(&text[..end]) {
        Err(error) if error.is_eof() => Ok(IgnoredAny),
        checked => checked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_beginning_of_json_may_go_on() {
        let whole =
            r#" {"a\u00e4\ud83d\ude00": [1, -2.5e+10, true, false, null, "\"-1e", {}, []], "b": "ä"} "#.as_bytes();
        for end in 0..=whole.len() {
            assert!(begun_json(&whole[..end]).is_ok(), "{}", String::from_utf8_lossy(&whole[..end]));
        }
    }

    #[test]
    fn what_nothing_can_mend_is_refused() {
        for text in ["nope", "[1 2 ", "{1:", "{} {", "[tru,", "[1,]", "{\"a\" 1 ", "[01,"] {
            assert!(begun_json(text.as_bytes()).is_err(), "{text}");
        }
    }
}
