//! Logging in with a browser.

use std::future::pending;
use std::io::IsTerminal as _;
use std::time::Duration;

use authcli::renewal::oauth::{Authorization, Login, LoginGrant, Loopback, Oauth, OauthError, RedirectUrl};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::Url;
use webbrowser::{Browser, BrowserOptions};

use super::input;
use crate::outcome::Usage;
use crate::ui::Printer;

/// How long a person may take.
const BOUND: Duration = Duration::from_mins(10);

/// Sends a browser to the provider, and redeems what it comes back with. Without `no_browser` one is opened where it can
/// be seen.
pub(super) async fn log_in(
    printer: &Printer,
    oauth: &Oauth,
    login: &Login<'_>,
    redirect_uri: &RedirectUrl,
    no_browser: bool,
    has_display: bool,
) -> anyhow::Result<LoginGrant> {
    let loopback = Loopback::bind(redirect_uri).await?;
    let redirect_uri = loopback.as_ref().map_or(redirect_uri, Loopback::redirect_uri);
    let authorization = Authorization::begin(login, redirect_uri)?;
    // From here on: a browser for the terminal has it, and this program, until it is left.
    let listening = loopback.map(|loopback| tokio::spawn(loopback.redirected()));
    let comes_back_here = listening.is_some();

    let is_open = !no_browser && has_display && open(authorization.url().clone()).await;
    printer.ask(if is_open {
        "Log in with the browser that opens; if none does, go to this address:"
    } else {
        "Log in with a browser, at this address:"
    });
    printer.ask(authorization.url().as_str());
    // Standard input is read only where that was asked for, or where there is no other way.
    let may_paste = no_browser || !comes_back_here || !is_open && std::io::stdin().is_terminal();
    if may_paste {
        printer.ask(if comes_back_here {
            "If that browser is on another machine, paste the address that it ends at here:"
        } else {
            "Then paste the address that the browser ends at here:"
        });
    }
    let redirected = redirected(printer, listening, may_paste).await?;
    Ok(oauth.finish_browser(login, authorization, &redirected).await?)
}

/// Waits until a browser has come back here, or its address was pasted, for as long as a person may take.
async fn redirected(printer: &Printer, listening: Option<JoinHandle<Url>>, may_paste: bool) -> anyhow::Result<Url> {
    let comes_back_here = listening.is_some();
    let back = async {
        tokio::select! {
            redirected = came_back(listening) => redirected,
            pasted = pasted(printer, may_paste, comes_back_here) => pasted,
        }
    };
    timeout(BOUND, back).await.map_err(|_| OauthError::TimedOut(BOUND))?
}

async fn came_back(listening: Option<JoinHandle<Url>>) -> anyhow::Result<Url> {
    match listening {
        Some(listening) => Ok(listening.await?),
        None => pending().await,
    }
}

/// Waits for an address on standard input.
async fn pasted(printer: &Printer, may_paste: bool, comes_back_here: bool) -> anyhow::Result<Url> {
    if !may_paste {
        return pending().await;
    }
    loop {
        let Some(line) = input::line().await? else {
            if comes_back_here {
                return pending().await;
            }
            return Err(Usage::new("standard input holds no address that the browser came back to").into());
        };
        let is_answer = |url: &Url| url.query_pairs().any(|(name, _)| name == "state");
        match Url::parse(line.trim()).ok().filter(is_answer) {
            Some(url) => return Ok(url),
            None if line.trim().is_empty() => {}
            None => printer.ask("That is no address with a `state` in it; paste the whole of it:"),
        }
    }
}

/// Opens the browser that `BROWSER` names, or the desktop's. What it prints is kept off the terminal.
async fn open(url: Url) -> bool {
    let opened = tokio::task::spawn_blocking(move || {
        let mut options = BrowserOptions::new();
        webbrowser::open_browser_with_options(Browser::Default, url.as_str(), options.with_suppress_output(true))
    });
    match opened.await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            tracing::debug!(%error, "could not open a browser");
            false
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use tokio::time::Instant;

    use super::*;
    use crate::cli::Cli;

    #[tokio::test(start_paused = true)]
    async fn a_browser_that_never_comes_back_is_not_waited_for() {
        let loopback = Loopback::bind(&Loopback::anywhere()).await.unwrap().unwrap();
        let printer = Printer::new(&Cli::parse_from(["authcli", "status"]).global);
        let start = Instant::now();
        let error = redirected(&printer, Some(tokio::spawn(loopback.redirected())), false).await.unwrap_err();
        assert!(matches!(error.downcast_ref(), Some(OauthError::TimedOut(BOUND))), "{error:?}");
        assert_eq!(start.elapsed().as_secs(), BOUND.as_secs());
    }
}
