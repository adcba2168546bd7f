//! Of many requests, the failure that decides how the program ends.

use authcli::load::Ended;
use authcli::session::{FinalRefusal, SendError};
use reqwest::StatusCode;

use super::request::hint;
use crate::outcome::Exit;
use crate::ui::{Printer, report};

/// The gravest failure so far, by the order of the contract: store, login, lock, network, then the answers, then all
/// else. Of several equally grave ones it is the first.
pub(crate) struct Gravest {
    exit: Exit,
    failure: Option<(String, Failure)>,
}

enum Failure {
    NoAnswer(SendError),
    Answer(StatusCode, Option<FinalRefusal>),
}

impl Gravest {
    pub(crate) fn none() -> Self {
        Self { exit: Exit::Done, failure: None }
    }

    /// Notes how a request ended; `target` is what it is called. Returns its own exit code.
    pub(crate) fn note(&mut self, ended: Ended, target: impl FnOnce() -> String) -> Exit {
        let (exit, failure) = match ended.result {
            Ok(completed) => (Exit::of_status(completed.status), Failure::Answer(completed.status, completed.refusal)),
            Err(error) => (report::exit_of_send(&error), Failure::NoAnswer(error)),
        };
        if rank(exit) > rank(self.exit) {
            *self = Self { exit, failure: Some((target(), failure)) };
        }
        exit
    }

    /// Notes a failure that has been told already.
    pub(crate) fn note_told(&mut self, exit: Exit) {
        if rank(exit) > rank(self.exit) {
            *self = Self { exit, failure: None };
        }
    }

    /// Says what the gravest failure was, and returns how the program ends.
    pub(crate) fn tell(self, printer: &Printer) -> Exit {
        match self.failure {
            Some((_, Failure::NoAnswer(error))) => drop(report::failure(printer, &error.into())),
            Some((target, Failure::Answer(status, refusal))) => {
                printer.failed_answer(&format!("{target}: {status}"), refusal.map(hint));
            }
            None => {}
        }
        self.exit
    }
}

fn rank(exit: Exit) -> u8 {
    match exit {
        Exit::Store => 8,
        Exit::NotLoggedIn => 7,
        Exit::LockBusy => 6,
        Exit::Unreachable => 5,
        Exit::ServerError => 4,
        Exit::ClientError => 3,
        Exit::Redirected => 2,
        Exit::Done => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_codes_order_is_the_contracts() {
        let order = [
            Exit::Store,
            Exit::NotLoggedIn,
            Exit::LockBusy,
            Exit::Unreachable,
            Exit::ServerError,
            Exit::ClientError,
            Exit::Redirected,
            Exit::Other,
            Exit::Done,
        ];
        assert!(order.windows(2).all(|pair| rank(pair[0]) > rank(pair[1])));
    }
}
