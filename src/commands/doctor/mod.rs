//! `authcli doctor`: looks after everything that a session stands on, and says of each what to do.
//!
//! - Each check is bounded, and all together take no longer than a keyring and a server that are silent.
//! - Nothing lasting is changed: the store is tried with an entry of its own, which is removed again.
//! - It needs no login, and no configuration that can be read.
//!
//! It ends with the code of the first check that failed: what any other command would end with because of it. Warnings
//! fail nothing.

mod advice;
mod checks;
mod permissions;

use std::path::Path;
use std::time::Duration;

use serde::Serialize;

use self::advice::without_keyring;
use super::context::{Context, configuration_directory, variable};
use crate::outcome::Exit;
use crate::ui::{Printer, report};

/// What one check found.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    what: String,
    /// What to do about it.
    hint: Option<String>,
    /// How a command ends because of it.
    #[serde(skip)]
    exit: Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Ok,
    Warn,
    Fail,
}

#[derive(Serialize)]
struct Report<'a> {
    ok: bool,
    checks: &'a [Finding],
}

/// Checks everything. `context` is the error where there is none because of the configuration.
pub(crate) async fn run(
    context: Result<&Context, anyhow::Error>,
    printer: &Printer,
    json: bool,
) -> anyhow::Result<Exit> {
    let findings = match context {
        Ok(context) => all(context).await,
        Err(error) => {
            let mut findings = vec![Finding::failed("configuration", printer, &error)];
            findings.extend(configuration_directory().ok().map(|directory| permissions::check(&directory)));
            findings
        }
    };
    let failed = findings.iter().find(|finding| finding.verdict == Verdict::Fail);
    let exit = failed.map_or(Exit::Done, |finding| finding.exit);
    let text = if json {
        let report = Report { ok: failed.is_none(), checks: &findings };
        format!("{}\n", serde_json::to_string(&report)?)
    } else {
        findings.iter().map(Finding::lines).collect()
    };
    printer.data(&text).await?;
    Ok(exit)
}

async fn all(context: &Context) -> Vec<Finding> {
    let local = async {
        let mut findings = vec![checks::configuration(context), permissions::check(context.configuration.directory())];
        let store = checks::store(context).await;
        // What the store has not got to tell, a session cannot be read from.
        let answers = store.verdict != Verdict::Fail;
        findings.push(store);
        if answers {
            findings.push(checks::session(context).await);
            findings.extend(checks::provider(context).await);
        }
        findings.push(checks::lock(context).await);
        findings
    };
    let (mut findings, server) = tokio::join!(local, checks::server_and_clock(context));
    findings.extend(server);
    findings
}

impl Finding {
    fn ok(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, what: what.into(), hint: None, exit: Exit::Done }
    }

    fn warn(check: &'static str, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, what: what.into(), hint: Some(hint.into()), exit: Exit::Done }
    }

    fn fail(check: &'static str, exit: Exit, what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Fail, what: what.into(), hint: Some(hint.into()), exit }
    }

    /// What would end any other command, in its words.
    fn failed(check: &'static str, printer: &Printer, error: &anyhow::Error) -> Self {
        let report::Told { what, hint, exit } = report::told(printer, error);
        Self { check, verdict: Verdict::Fail, what, hint, exit }
    }

    fn lines(&self) -> String {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        let hint = self.hint.as_ref().map(|hint| format!("{:20}hint: {hint}\n", "")).unwrap_or_default();
        format!("{verdict:<4}  {:<13} {}\n{hint}", self.check, self.what)
    }
}

/// Returns how long something took, as people say it.
fn in_ms(elapsed: Duration) -> String {
    format!("{} ms", elapsed.as_millis().max(1))
}

/// Returns whether `path` is there; what cannot be looked at counts as there, so that whoever opens it says why not.
fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap_or(true)
}

/// Says why there is no keyring, by the environment of this process.
fn keyring_advice() -> String {
    without_keyring(&variable, |path| is_there(Path::new(path)))
}
