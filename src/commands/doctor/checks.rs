//! The checks, in the order of what stands on what.

use std::sync::Arc;
use std::time::{Duration, Instant};

use authcli::Credential;
use authcli::clock::SystemClock;
use authcli::error::TokenError;
use authcli::gate::Clock as _;
use authcli::http::ServerUrl;
use authcli::lock::ProcessLock;
use authcli::renewal::{ApiShape, JsonApi};
use authcli::store::StoreKind;
use jiff::{SignedDuration, Timestamp, Unit};

use super::{Finding, in_ms, is_there, keyring_advice};
use crate::commands::context::Context;
use crate::outcome::{Exit, NotLoggedIn};
use crate::ui::report;
use crate::ui::summary::{rough, until};

/// Longer than any refresh that nothing keeps up.
const LOCK_BOUND: Duration = Duration::from_secs(2);
/// A `Date` is told in whole seconds, and takes a while to arrive; no server minds a clock that is off by so little.
const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_secs(5);

pub(super) fn configuration(context: &Context) -> Finding {
    let path = context.configuration.path();
    let in_use = &context.profile_name;
    let what = match context.configuration.profiles().count() {
        0 if !is_there(&path) => format!("{} is not there yet; a login makes it", path.display()),
        1 => format!("{}: 1 profile; `{in_use}` is in use", path.display()),
        count => format!("{}: {count} profiles; `{in_use}` is in use", path.display()),
    };
    if let Some(file) = context.profile().and_then(|profile| profile.cacert.as_ref()).filter(|file| !is_there(file)) {
        let what = format!("{}: there is no {}, which `cacert` names", path.display(), file.display());
        return Finding::fail("configuration", Exit::Usage, what, "set or unset it with `authcli profile set cacert`");
    }
    Finding::ok("configuration", what)
}

pub(super) async fn store(context: &Context) -> Finding {
    let kind = match context.login_store() {
        Ok(kind) => kind,
        Err(error) => return Finding::failed("store", &context.printer, &error),
    };
    let directory = context.configuration.directory();
    // A proof would make it, and leave it behind.
    if kind == StoreKind::File && !is_there(&directory.join("credentials")) {
        return Finding::ok("store", "the file store has no directory yet; a login makes it");
    }
    let start = Instant::now();
    match Credential::prove_store(directory, kind).await {
        Ok(()) => {
            let elapsed = in_ms(start.elapsed());
            Finding::ok("store", format!("the {kind} store keeps and gives back an entry in {elapsed}"))
        }
        Err(error) => {
            let failed = Finding::failed("store", &context.printer, &error.into());
            let hint = if kind == StoreKind::Keyring { Some(keyring_advice()) } else { failed.hint };
            Finding { hint, ..failed }
        }
    }
}

pub(super) async fn session(context: &Context) -> Finding {
    let stored = match context.stored().await {
        Ok(stored) => stored,
        Err(error) if error.is::<NotLoggedIn>() => {
            let told = report::told(&context.printer, &error);
            return Finding::warn("session", told.what, told.hint.unwrap_or_default());
        }
        Err(error) => return Finding::failed("session", &context.printer, &error),
    };
    let now = SystemClock.now();
    let tokens = &stored.tokens;
    let who = tokens.account.as_deref().unwrap_or("an account without a name");
    let at = tokens.server.origin().ascii_serialization();
    let ends = tokens.refresh_token_expires_at();
    let what = format!("logged in at {at} as {who}; the session {}", until(ends, now));
    if ends.is_some_and(|end| end <= now) {
        let hint = format!("unless this clock is wrong, run `{}`", context.printer.login_command());
        return Finding::warn("session", what, hint);
    }
    Finding::ok("session", what)
}

pub(super) async fn lock(context: &Context) -> Finding {
    let directory = context.configuration.directory();
    let id = context.profile().and_then(|profile| profile.credential.as_deref());
    let Some(id) = id.filter(|id| is_there(&directory.join("credentials").join(format!("{id}.lock")))) else {
        return Finding::ok("lock", "there is none yet; a login makes it");
    };
    match ProcessLock::new(directory, id).lock_within(LOCK_BOUND).await {
        Ok(_) => Finding::ok("lock", "free"),
        Err(TokenError::LockBusy { holder, path, .. }) => {
            let who = holder.map_or_else(|| "a process".to_owned(), |pid| format!("process {pid}"));
            let what = format!("{who} holds {} for more than {} s", path.display(), LOCK_BOUND.as_secs());
            Finding::warn("lock", what, "see what that process does: refreshes wait for it, 45 s at most")
        }
        Err(error) => Finding::failed("lock", &context.printer, &error.into()),
    }
}

/// One call tells of both.
pub(super) async fn server_and_clock(context: &Context) -> Vec<Finding> {
    let failed = |error: &anyhow::Error| vec![Finding::failed("server", &context.printer, error)];
    let server = match context.login_server() {
        Ok(server) => server,
        Err(error) => return failed(&error),
    };
    let client = match context.client_for(&server) {
        Ok(client) => client,
        Err(error) => return failed(&error),
    };
    let api = JsonApi::new(ApiShape::default(), &server, client, Arc::new(SystemClock));
    let (start, before) = (Instant::now(), SystemClock.now());
    match api.reach(&server).await {
        Ok(told) => {
            let elapsed = start.elapsed();
            let reached = Finding::ok("server", format!("{server} answers in {}", in_ms(elapsed)));
            [Some(reached), told.map(|theirs| clock(theirs, before, elapsed))].into_iter().flatten().collect()
        }
        Err(fault) => {
            let failed = Finding::failed("server", &context.printer, &fault.into());
            let away = || format!("is it running, and is {server} its address? `--server URL` tries another");
            vec![Finding { hint: failed.hint.or_else(|| Some(away())), ..failed }]
        }
    }
}

/// Tells whether the session's own server answers, where that is another than the API.
pub(super) async fn provider(context: &Context) -> Option<Finding> {
    let endpoint = context.stored().await.ok()?.tokens.refresh_endpoint;
    let provider = ServerUrl::of_endpoint(&endpoint).ok()?;
    if context.login_server().is_ok_and(|server| server.origin() == provider.origin()) {
        return None;
    }
    let client = match context.client_for(&provider) {
        Ok(client) => client,
        Err(error) => return Some(Finding::failed("provider", &context.printer, &error)),
    };
    let api = JsonApi::new(ApiShape::default(), &provider, client, Arc::new(SystemClock));
    let start = Instant::now();
    Some(match api.reach(&provider).await {
        Ok(_) => Finding::ok("provider", format!("{} answers in {}", provider.origin_text(), in_ms(start.elapsed()))),
        Err(fault) => {
            let failed = Finding::failed("provider", &context.printer, &fault.into());
            let login = context.printer.login_command();
            let away = || format!("until it answers nothing is renewed; if it has moved, run `{login}`");
            Finding { hint: failed.hint.or_else(|| Some(away())), ..failed }
        }
    })
}

fn clock(theirs: Timestamp, before: Timestamp, elapsed: Duration) -> Finding {
    // When the answer was made, roughly; a difference within the tolerance cannot be told from none.
    let ours = before.checked_add(elapsed / 2).unwrap_or(before);
    let difference = ours.duration_since(theirs);
    // Theirs is told in whole seconds, so a fraction means nothing; cut off, it would take a minute from an hour.
    let difference = difference.round(Unit::Second).unwrap_or(difference);
    if difference.abs() <= CLOCK_TOLERANCE {
        return Finding::ok("clock", "agrees with the server's");
    }
    let side = if difference.is_positive() { "ahead of" } else { "behind" };
    let what = format!("this machine's clock is {} {side} the server's", rough(difference.abs()));
    Finding::warn("clock", what, "one of the two is wrong: tokens may be taken for too old or not yet valid")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::doctor::Verdict;

    #[test]
    fn a_clock_that_is_off_is_told_in_which_direction() {
        let ours: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (seconds, verdict, expected) in [
            (0, Verdict::Ok, "agrees"),
            (-4, Verdict::Ok, "agrees"),
            (3_660, Verdict::Warn, "is 1 h 1 min behind the server's"),
            (-90, Verdict::Warn, "is 1 min 30 s ahead of the server's"),
        ] {
            let theirs = ours + SignedDuration::from_secs(seconds);
            let finding = clock(theirs, ours, Duration::from_millis(4));
            assert_eq!(finding.verdict, verdict, "{seconds}");
            assert!(finding.what.contains(expected), "{}", finding.what);
        }
    }
}
