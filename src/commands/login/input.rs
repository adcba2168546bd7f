//! What is read from standard input rather than from the command line, where everybody on the machine could read it.

use std::io::{BufRead as _, Read as _};

use anyhow::Context as _;
use authcli::token::Secret;
use secrecy::zeroize::Zeroizing;

use crate::outcome::Usage;

/// A secret beyond this is a file given by mistake.
const LONGEST_SECRET: u64 = 64 * 1024;

/// Reads the next line of standard input, which holds `what`. A newline at its end is not part of it.
pub(super) async fn secret_line(what: &'static str) -> anyhow::Result<Secret> {
    // On a thread of its own: a pipe that stays open must not keep a signal from being noticed.
    tokio::task::spawn_blocking(move || read_secret(what)).await?
}

fn read_secret(what: &'static str) -> anyhow::Result<Secret> {
    let mut line = Zeroizing::new(String::new());
    let mut input = std::io::stdin().lock().take(LONGEST_SECRET);
    input.read_line(&mut line).with_context(|| format!("could not read the {what} from standard input"))?;
    let secret = line.strip_suffix('\n').unwrap_or(&line);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(Usage::new(format!("standard input holds no {what}")).into());
    }
    Ok(Secret::new(secret))
}

/// Reads the value of setting `key`: the whole of standard input, which may have many lines. One newline at its end is not
/// part of it.
pub(crate) async fn setting(key: &'static str) -> anyhow::Result<Zeroizing<String>> {
    tokio::task::spawn_blocking(move || {
        let mut text = Zeroizing::new(String::new());
        let mut input = std::io::stdin().lock().take(LONGEST_SECRET + 1);
        input.read_to_string(&mut text).with_context(|| format!("could not read `{key}` from standard input"))?;
        if text.len() as u64 > LONGEST_SECRET {
            return Err(Usage::new(format!("standard input holds more than {} KiB", LONGEST_SECRET / 1024)).into());
        }
        if text.ends_with('\n') {
            text.pop();
            if text.ends_with('\r') {
                text.pop();
            }
        }
        Ok(text)
    })
    .await?
}

/// Reads the next line of standard input, or `None` at its end.
pub(super) async fn line() -> anyhow::Result<Option<String>> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        let length = std::io::stdin().lock().take(LONGEST_SECRET).read_line(&mut line)?;
        Ok::<_, std::io::Error>((length > 0).then_some(line))
    });
    read.await?.context("could not read standard input")
}
