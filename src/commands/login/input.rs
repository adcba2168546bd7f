//! What a login reads from standard input.

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

/// Reads the next line of standard input, or `None` at its end.
pub(super) async fn line() -> anyhow::Result<Option<String>> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        let length = std::io::stdin().lock().take(LONGEST_SECRET).read_line(&mut line)?;
        Ok::<_, std::io::Error>((length > 0).then_some(line))
    });
    read.await?.context("could not read standard input")
}
