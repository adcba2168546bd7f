//! From an error to what is said of it and to the exit code: the one place that knows them all.

use std::error::Error;
use std::io;
use std::iter;
use std::sync::Arc;

use authcli::error::{StoreError, TokenError};
use authcli::http::{AddressError, NoClient, messages, refuses_certificate};
use authcli::profile::ProfileError;
use authcli::renewal::oauth::OauthError;
use authcli::renewal::{LoginError, RenewalFault};
use authcli::session::SendError;

use super::Printer;
use super::output::OutputError;
use super::screen::Binary;
use crate::outcome::{Exit, NoServer, NotLoggedIn, Unsaved, Usage};

const STORE_HINT: &str = "unlock the keyring, or log in with `--store file` to keep tokens in a private file";

/// Tells what went wrong and returns how the program ends.
pub(crate) fn failure(printer: &Printer, error: &anyhow::Error) -> Exit {
    if is_closed_pipe(error) {
        return Exit::Done;
    }
    let Verdict { exit, hint } = judge(error, printer);
    tell(printer, error.as_ref(), hint.as_deref());
    exit
}

fn tell(printer: &Printer, error: &(dyn Error + 'static), hint: Option<&str>) {
    let chain = messages(error);
    let (message, causes) = match chain.split_first() {
        Some((message, causes)) => (message.as_str(), causes),
        None => ("unknown", [].as_slice()),
    };
    printer.error(message, causes, hint);
}

/// Tells why a request has no answer, where that does not end the program.
pub(crate) fn unanswered(printer: &Printer, error: &SendError) {
    let verdict = judge_transport(error, printer).unwrap_or_else(|| judge_send(error, printer.login_command()));
    tell(printer, error, verdict.hint.as_deref());
}

/// Returns how the program ends after a request without an answer.
pub(crate) fn exit_of_send(error: &SendError) -> Exit {
    // The code alone is asked for, so any words will do.
    judge_send(error, "").exit
}

/// Returns why a request has no answer, in one line, for those who read JSON.
pub(crate) fn reason(error: &SendError) -> String {
    messages(error).join(": ")
}

/// Returns whether the reader of standard output went away.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref().is_some_and(OutputError::reader_is_gone)
}

/// Prints what clap has to say: help to standard output, mistakes to standard error.
pub(crate) fn parse_error(error: &clap::Error) -> Exit {
    // A closed pipe is no reason to fail.
    let _ = error.print();
    if error.use_stderr() { Exit::Usage } else { Exit::Done }
}

/// The program could not even begin.
#[expect(clippy::print_stderr, reason = "there is no printer yet")]
pub(crate) fn no_runtime(error: &io::Error) -> Exit {
    eprintln!("error: could not start: {error}");
    Exit::Other
}

/// What is said of an error in one line, and what to do.
pub(crate) struct Told {
    pub(crate) what: String,
    pub(crate) hint: Option<String>,
    /// How a command ends because of it.
    pub(crate) exit: Exit,
}

/// Returns what would be said of `error` if a command failed with it.
pub(crate) fn told(printer: &Printer, error: &anyhow::Error) -> Told {
    let Verdict { exit, hint } = judge(error, printer);
    Told { what: in_one_line(error), hint, exit }
}

/// Returns `error` and its causes in one line, for warnings.
pub(crate) fn in_one_line(error: &anyhow::Error) -> String {
    messages(error.as_ref()).join(": ")
}

struct Verdict {
    exit: Exit,
    hint: Option<String>,
}

fn ends(exit: Exit) -> Verdict {
    Verdict { exit, hint: None }
}

fn ends_with(exit: Exit, hint: impl Into<String>) -> Verdict {
    Verdict { exit, hint: Some(hint.into()) }
}

fn judge(error: &anyhow::Error, printer: &Printer) -> Verdict {
    if let Some(verdict) = judge_transport(error.as_ref(), printer) {
        return verdict;
    }
    let login = printer.login_command();
    if let Some(usage) = error.downcast_ref::<Usage>() {
        return Verdict { exit: Exit::Usage, hint: usage.hint().map(str::to_owned) };
    }
    if let Some(error) = error.downcast_ref::<NotLoggedIn>() {
        return judge_not_logged_in(error, login);
    }
    if let Some(error) = error.downcast_ref::<SendError>() {
        return judge_send(error, login);
    }
    if let Some(error) = error.downcast_ref::<Arc<TokenError>>() {
        return judge_token(error, login);
    }
    if let Some(error) = error.downcast_ref::<TokenError>() {
        return judge_token(error, login);
    }
    if let Some(error) = error.downcast_ref::<StoreError>() {
        return judge_store(error, login);
    }
    if let Some(error) = error.downcast_ref::<LoginError>() {
        return judge_login(error);
    }
    if let Some(error) = error.downcast_ref::<OauthError>() {
        return judge_oauth(error, login);
    }
    if let Some(error) = error.downcast_ref::<ProfileError>() {
        return judge_profile(error, login);
    }
    if error.is::<AddressError>() {
        return ends(Exit::Usage);
    }
    if error.is::<Binary>() {
        return ends_with(Exit::Other, "write it to a file with `-o FILE`, or show it all the same with `-o -`");
    }
    if error.is::<NoServer>() {
        return ends_with(
            Exit::Unreachable,
            "name the server with `--server URL`, or start one to try things out: `authcli-server serve --demo`",
        );
    }
    if error.is::<Unsaved>() {
        let hint = format!("mend the store and try again; if the session is lost, run `{login}`");
        return ends_with(Exit::Store, hint);
    }
    if error.is::<RenewalFault>() {
        return ends(Exit::Unreachable);
    }
    ends(Exit::Other)
}

/// What keeps every call alike from being made, whatever it was for.
fn judge_transport(error: &(dyn Error + 'static), printer: &Printer) -> Option<Verdict> {
    let cacert = printer.cacert_command();
    if refuses_certificate(error) {
        let hint = format!("if the server has a certificate authority of its own, name its file: `{cacert}`");
        return Some(ends_with(Exit::Unreachable, hint));
    }
    iter::successors(Some(error), |error| (**error).source()).any(<dyn Error + 'static>::is::<NoClient>).then(|| {
        let hint = format!("install this system's certificate authorities, or name a file of some: `{cacert}`");
        ends_with(Exit::Other, hint)
    })
}

/// `login` is the command that logs in to the profile in use, here and below.
fn judge_not_logged_in(error: &NotLoggedIn, login: &str) -> Verdict {
    match error {
        NotLoggedIn::Nowhere { .. } | NotLoggedIn::Ended { .. } => {
            ends_with(Exit::NotLoggedIn, format!("run `{login}`"))
        }
        NotLoggedIn::OtherServer { wanted, .. } => {
            let hint = format!("run `authcli login --server {wanted}`, with `--profile NAME` to keep both");
            ends_with(Exit::NotLoggedIn, hint)
        }
    }
}

fn judge_send(error: &SendError, login: &str) -> Verdict {
    match error {
        SendError::Token(error) => judge_token(error, login),
        SendError::WrongOrigin(_) | SendError::UrlTooLong => ends(Exit::Usage),
        // The server is there: it had begun to answer, or took the request.
        SendError::TimedOut { .. }
        | SendError::Silent { .. }
        | SendError::BrokeOff { .. }
        | SendError::Coding { .. } => ends(Exit::Unreachable),
        SendError::Client(_) | SendError::Body(_) | SendError::BodySpent => ends(Exit::Other),
        _ => ends_with(Exit::Unreachable, "is the server running, and is its address right? `authcli status` shows it"),
    }
}

fn judge_token(error: &TokenError, login: &str) -> Verdict {
    match error {
        TokenError::NotLoggedIn
        | TokenError::SessionEnded { .. }
        | TokenError::NotRenewable { .. }
        | TokenError::AccountChanged => ends_with(Exit::NotLoggedIn, format!("run `{login}`")),
        TokenError::Unavailable { retry_after: Some(wait), .. } if !wait.is_zero() => {
            ends_with(Exit::Unreachable, format!("the session stands; try again in {} s", wait.as_secs().max(1)))
        }
        TokenError::NotYetRenewable { wait } => {
            ends_with(Exit::Unreachable, format!("the session stands; try again in {} s", wait.as_secs().max(1)))
        }
        TokenError::Unavailable { .. } => ends_with(Exit::Unreachable, "the session stands; try again later"),
        TokenError::Store(error) => judge_store(error, login),
        TokenError::LockBusy { .. } => ends_with(Exit::LockBusy, "see what that process does; the session stands"),
        TokenError::LockFailed { cause, .. } if has_no_locks(cause) => ends_with(
            Exit::LockBusy,
            "nothing is refreshed without the lock; keep AUTHCLI_CONFIG_DIR on a local file system",
        ),
        TokenError::LockFailed { .. } => {
            ends_with(Exit::LockBusy, "nothing is refreshed without the lock; mend or remove that file")
        }
        TokenError::Misconfigured { .. } => {
            ends_with(Exit::Other, format!("the session stands; if the server has changed, run `{login}`"))
        }
        TokenError::RefusalStands => ends(Exit::ClientError),
        _ => ends(Exit::Other),
    }
}

/// Returns whether the file system cannot lock, or does not answer.
fn has_no_locks(cause: &io::Error) -> bool {
    #[cfg(unix)]
    if rustix::io::Errno::from_io_error(cause) == Some(rustix::io::Errno::NOLCK) {
        return true;
    }
    matches!(cause.kind(), io::ErrorKind::Unsupported | io::ErrorKind::TimedOut)
}

fn judge_store(error: &StoreError, login: &str) -> Verdict {
    match error {
        StoreError::NoKeyring(_) | StoreError::KeyringSilent(_) | StoreError::Keyring { .. } => {
            ends_with(Exit::Store, STORE_HINT)
        }
        StoreError::Behind { .. } => {
            let hint = format!("try again in a moment; if it stays so, the store lost a save: run `{login}`");
            ends_with(Exit::Store, hint)
        }
        StoreError::EntryMissing => ends_with(Exit::Store, format!("unlock the keyring, or run `{login}`")),
        StoreError::Damaged { .. } => ends_with(Exit::Store, format!("run `{login}` to replace it")),
        StoreError::NewerVersion { .. } => ends_with(Exit::Store, "use the newer authcli"),
        _ => ends(Exit::Store),
    }
}

fn judge_login(error: &LoginError) -> Verdict {
    match error {
        LoginError::Refused { .. } => ends(Exit::ClientError),
        LoginError::Throttled { retry_after: Some(wait), .. } => {
            ends_with(Exit::ClientError, format!("try again in {} s", wait.as_secs().max(1)))
        }
        LoginError::Throttled { retry_after: None, .. } => ends_with(Exit::ClientError, "try again later"),
        LoginError::NoSuchCall { .. } => ends_with(Exit::Other, "is `--server` the address of the API?"),
        LoginError::Fault(RenewalFault::Nonsense { status, .. }) if status.is_success() => ends_with(
            Exit::Unreachable,
            "where an API answers in another form, a profile says so: `authcli profile set api.answer.access_token POINTER`",
        ),
        LoginError::Fault(_) => ends(Exit::Unreachable),
        LoginError::NeedsAccessToken { .. } => {
            ends_with(Exit::Usage, "log in with a password: `authcli login -u NAME`")
        }
        LoginError::Address(_) => ends(Exit::Usage),
        _ => ends(Exit::Other),
    }
}

fn judge_oauth(error: &OauthError, login: &str) -> Verdict {
    match error {
        OauthError::NoIssuer { .. } => {
            ends_with(Exit::Usage, "write it exactly as the provider does, slashes included")
        }
        OauthError::OtherIssuer { found, .. } => {
            ends_with(Exit::Unreachable, format!("if that is who you mean, pass `--issuer {found}`"))
        }
        OauthError::NoMetadata { .. } => {
            ends_with(Exit::Unreachable, "is `--issuer` the provider's own address, as its documentation names it?")
        }
        OauthError::NotOffered { .. } => ends_with(Exit::Other, "another `--flow` may do"),
        OauthError::Refused { .. } => ends(Exit::ClientError),
        OauthError::BadEndpoint { .. } | OauthError::Fault(_) => ends(Exit::Unreachable),
        OauthError::ForeignRedirect(_) | OauthError::ForeignIdToken { .. } | OauthError::TimedOut(_) => {
            ends_with(Exit::Unreachable, format!("nothing was kept; begin again with `{login}`"))
        }
        OauthError::Listen { .. } => {
            ends_with(Exit::Other, "choose another port with `--redirect-uri`, or log in with `--no-browser`")
        }
        _ => ends(Exit::Other),
    }
}

fn judge_profile(error: &ProfileError, login: &str) -> Verdict {
    match error {
        ProfileError::Unknown(name) => ends_with(Exit::Usage, format!("`authcli login --profile {name}` makes it")),
        ProfileError::UnknownSetting { meant: None, .. } => {
            ends_with(Exit::Usage, "`authcli profile set --help` lists the settings")
        }
        ProfileError::Invalid { meant: Some(meant), .. }
        | ProfileError::UnknownSetting { meant: Some(meant), .. }
        | ProfileError::BadSetting { meant: Some(meant), .. } => {
            ends_with(Exit::Usage, format!("did you mean `{meant}`?"))
        }
        ProfileError::File(error) => judge_store(error, login),
        ProfileError::Lock(error) => judge_token(error, login),
        _ => ends(Exit::Usage),
    }
}
