//! Logging in with a browser.

use std::future::pending;
use std::io::IsTerminal as _;
use std::time::Duration;

use authcli::renewal::oauth::{Authorization, Login, LoginGrant, Loopback, Oauth, OauthError, RedirectUrl};
use tokio::time::timeout;
use url::Url;
use webbrowser::{Browser, BrowserOptions};

use super::input;
use crate::outcome::Usage;
use crate::ui::Printer;

/// How long a person may take.
const BOUND: Duration = Duration::from_mins(10);

/// Sends a browser to the provider, and redeems what it comes back with.
pub(super) async fn log_in(
    printer: &Printer,
    oauth: &Oauth,
    login: &Login<'_>,
    redirect_uri: &RedirectUrl,
    no_browser: bool,
) -> anyhow::Result<LoginGrant> {
    let loopback = Loopback::bind(redirect_uri).await?;
    let comes_back_here = loopback.is_some();
    let redirect_uri = loopback.as_ref().map_or(redirect_uri, Loopback::redirect_uri);
    let authorization = Authorization::begin(login, redirect_uri)?;

    let is_open = !no_browser && open(authorization.url().clone()).await;
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
    let back = async {
        tokio::select! {
            redirected = came_back(loopback) => Ok(redirected),
            pasted = pasted(printer, may_paste, comes_back_here) => pasted,
        }
    };
    let redirected = timeout(BOUND, back).await.map_err(|_| OauthError::TimedOut(BOUND))??;
    Ok(oauth.finish_browser(login, authorization, &redirected).await?)
}

async fn came_back(loopback: Option<Loopback>) -> Url {
    match loopback {
        Some(loopback) => loopback.redirected().await,
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
