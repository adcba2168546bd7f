//! `authcli proxy`.

use std::mem;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use authcli::gate::Work;
use authcli::proxy::{Observer, Proxy};

use super::context::Context;
use super::limits::open_file_limit;
use crate::cli::ProxyArgs;
use crate::outcome::Exit;
use crate::signals::Stopping;
use crate::ui::{Printer, report};

/// How many clients may be connected at a time. Each takes two files: its own connection, and one to the server.
const CLIENTS: u64 = 1024;
const FILES_A_CLIENT: u64 = 2;
/// Files that the program needs beside those.
const FILES_KEPT_BACK: u64 = 32;
/// What goes wrong with each request is told to each client, but only this often to the person who runs the proxy.
const TOLD_EVERY: Duration = Duration::from_mins(1);

/// Serves until it is told to stop, and then until the requests under way are answered.
pub(crate) async fn run(context: &mut Context, args: ProxyArgs, stopping: Stopping) -> anyhow::Result<Exit> {
    context.client_options = mem::take(&mut context.client_options).passing_on();
    let session = context.open_session(Work::Long).await?;
    let files = open_file_limit().saturating_sub(FILES_KEPT_BACK) / FILES_A_CLIENT;
    let clients = usize::try_from(files.clamp(1, CLIENTS))?;
    let proxy = Proxy::bind(&args.listen, session, clients, observer(context.printer.clone()))
        .await
        .with_context(|| format!("could not listen at {}", args.listen))?;
    context.printer.data(&format!("listening on {}\n", proxy.address())).await?;
    proxy.serve(stopping.asked()).await;
    Ok(Exit::Done)
}

/// Tells why requests fail: each reason once, and again when it has stood for a while.
fn observer(printer: Printer) -> Observer {
    let told: Mutex<Option<(String, Instant)>> = Mutex::new(None);
    Box::new(move |error| {
        let text = error.to_string();
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if !told.as_ref().is_some_and(|(last, since)| *last == text && since.elapsed() < TOLD_EVERY) {
            report::unanswered(&printer, error);
            *told = Some((text, Instant::now()));
        }
    })
}
