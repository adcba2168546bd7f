//! `authcli proxy`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use authcli::gate::Work;
use authcli::proxy::{Observer, Proxy};

use super::context::Context;
use super::limits::{FILES_KEPT_BACK, open_file_limit};
use crate::cli::ProxyArgs;
use crate::outcome::Exit;
use crate::signals::Stopping;
use crate::ui::{Printer, report};

/// How many clients may be connected at a time. Each takes two files: its own connection, and one to the server.
const CLIENTS: u64 = 1024;
const FILES_A_CLIENT: u64 = 2;
/// What goes wrong with each request is told to each client, but only this often to the person who runs the proxy.
const TOLD_EVERY: Duration = Duration::from_mins(1);
/// How many reasons are told in that time.
const REASONS: usize = 16;

/// Serves until it is told to stop, and then until the requests under way are answered.
pub(crate) async fn run(context: &mut Context, args: ProxyArgs, stopping: Stopping) -> anyhow::Result<Exit> {
    let proxy = tokio::select! {
        proxy = start(context, &args) => proxy?,
        // Nobody has connected yet.
        () = stopping.clone().asked() => return Ok(Exit::Done),
    };
    context.printer.data(&format!("listening on {}\n", proxy.address())).await?;
    proxy.serve(stopping.asked()).await;
    Ok(Exit::Done)
}

async fn start(context: &mut Context, args: &ProxyArgs) -> anyhow::Result<Proxy> {
    let session = context.open_session_passing_on(Work::Long).await?;
    let files = open_file_limit().saturating_sub(FILES_KEPT_BACK) / FILES_A_CLIENT;
    let clients = usize::try_from(files.clamp(1, CLIENTS))?;
    Proxy::bind(&args.listen, session, clients, observer(context.printer.clone()))
        .await
        .with_context(|| format!("could not listen at {}", args.listen))
}

/// Tells why requests fail: each reason once, and again when it has stood for a while.
fn observer(printer: Printer) -> Observer {
    let told = Mutex::new(Told::default());
    Box::new(move |error| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_news(error.to_string(), Instant::now()) {
            report::unanswered(&printer, error);
        }
    })
}

/// What has been told, and when.
#[derive(Default)]
struct Told(HashMap<String, Instant>);

impl Told {
    fn is_news(&mut self, reason: String, now: Instant) -> bool {
        self.0.retain(|_, since| now.duration_since(*since) < TOLD_EVERY);
        if self.0.contains_key(&reason) || self.0.len() >= REASONS {
            return false;
        }
        self.0.insert(reason, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_news_once_a_minute_and_there_are_not_many() {
        let (mut told, start) = (Told::default(), Instant::now());
        for (reason, seconds, expected) in
            [("a", 0, true), ("b", 1, true), ("a", 2, false), ("b", 59, false), ("a", 60, true), ("b", 60, false)]
        {
            let now = start + Duration::from_secs(seconds);
            assert_eq!(told.is_news(reason.into(), now), expected, "{reason} after {seconds} s");
        }
        let now = start + Duration::from_secs(200);
        assert_eq!((0..1000).filter(|number| told.is_news(number.to_string(), now)).count(), REASONS);
    }
}
