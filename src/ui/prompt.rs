//! Asking a person.

use std::io::{self, BufRead as _, Write as _};
use std::time::Duration;

use anyhow::Context as _;
use authcli::token::Secret;

use crate::outcome::Usage;

/// Asks for a line.
pub(crate) async fn line(question: &str) -> anyhow::Result<String> {
    let question = question.to_owned();
    let answer = ask(move || {
        let mut stderr = io::stderr().lock();
        write!(stderr, "{question}")?;
        stderr.flush()?;
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    })
    .await?;
    if answer.is_empty() {
        return Err(Usage::new("nothing was typed").into());
    }
    Ok(answer)
}

/// Asks for a password, which does not appear on the screen.
pub(crate) async fn password(question: &str) -> anyhow::Result<Secret> {
    let _terminal = Terminal::save();
    let question = question.to_owned();
    let answer = ask(move || rpassword::prompt_password(question).map(Secret::new)).await?;
    if answer.expose().is_empty() {
        return Err(Usage::new("no password was typed").into());
    }
    Ok(answer)
}

/// On a thread of its own: the main one must notice signals while a person thinks.
async fn ask<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> anyhow::Result<T> {
    let answer = tokio::task::spawn_blocking(job).await?;
    if answer.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
        // A signal ended the question. Who listens for signals ends the program; leave it the time to.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    answer.context("could not ask")
}

/// Puts the terminal back as it was, also when the question is abandoned because of Ctrl-C: without it the shell would
/// go on without echo.
struct Terminal {
    #[cfg(unix)]
    saved: Option<(std::fs::File, rustix::termios::Termios)>,
}

impl Terminal {
    #[cfg(unix)]
    fn save() -> Self {
        let saved = std::fs::File::open("/dev/tty").ok().and_then(|terminal| {
            let state = rustix::termios::tcgetattr(&terminal).ok()?;
            Some((terminal, state))
        });
        Self { saved }
    }

    #[cfg(not(unix))]
    fn save() -> Self {
        Self {}
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some((terminal, state)) = &self.saved {
            // Nothing better can be done on a terminal that has gone away.
            let _ = rustix::termios::tcsetattr(terminal, rustix::termios::OptionalActions::Now, state);
        }
    }
}
