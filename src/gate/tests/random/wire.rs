//! Renewals on their way to the server and back.
//!
//! One at a time; each to the server that its token is of; none after a logout.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::server::{Pair, Verdict};
use super::steps::Answer;
use super::universe::{Role, State, name};
use crate::expiry::Lifetime;
use crate::gate::RenewalError;
use crate::token::{IssuedTokens, Secret, TokenSet};

/// A renewal on the wire.
pub(super) struct Call {
    pub(super) process: usize,
    tokens: TokenSet,
    token: Pair,
    reply: oneshot::Sender<Result<IssuedTokens, RenewalError>>,
    /// The process that sent it is dead.
    pub(super) orphan: bool,
    /// It will never be answered.
    silent: bool,
}

impl Call {
    /// Whether a living flight waits for the answer.
    fn is_waited_for(&self) -> bool {
        !self.orphan && !self.reply.is_closed()
    }
}

impl State {
    pub(super) fn send(
        &mut self,
        process: usize,
        role: &Role,
        tokens: &TokenSet,
    ) -> oneshot::Receiver<Result<IssuedTokens, RenewalError>> {
        self.note(format!("process {process} redeems {}", name(tokens)));
        let (reply, answer) = oneshot::channel();
        let token = redeemable(tokens);
        if self.calls.iter().any(Call::is_waited_for) {
            self.broken("two renewals at once");
        }
        if token.origin() != tokens.refresh_endpoint {
            self.broken(format!("{} sent to {}", name(tokens), tokens.refresh_endpoint));
        }
        if *role != Role::Gate(tokens.session.clone()) {
            self.broken(format!("{} redeemed by {role:?}", name(tokens)));
        }
        if self.left_alone.as_ref().is_some_and(|(_, left, time)| *left == token && time.contains(&self.now())) {
            self.broken(format!("{} redeemed although the last try failed a moment ago", name(tokens)));
        }
        if self.logged_out.contains(&tokens.session) {
            self.broken(format!("{} redeemed after its logout", name(tokens)));
        }
        self.calls.push(Call { process, tokens: tokens.clone(), token, reply, orphan: false, silent: false });
        answer
    }

    /// Revokes a session whose renewal was refused. One that the server has not ended itself must not come here.
    pub(super) fn revoke_refused(&mut self, tokens: &TokenSet) {
        self.note(format!("{} is revoked, as its renewal was refused", name(tokens)));
        let login = redeemable(tokens).login;
        if !self.server.is_revoked(login) {
            self.broken(format!("{} revoked although its session lives", name(tokens)));
        }
        self.server.revoke(login);
    }

    /// Answers the oldest renewal on the wire, whether or not somebody still waits for it.
    pub(super) fn answer(&mut self, answer: &Answer) {
        let oldest = self.calls.iter().position(|call| !call.silent);
        let Some(call) = oldest.map(|oldest| self.calls.remove(oldest)) else { return };
        if !call.is_waited_for() && !self.server.remembers(call.token) {
            // A request does not stay on its way while others are answered four times over.
            return;
        }
        self.note(format!("{} of process {} meets {answer:?}", name(&call.tokens), call.process));
        let lifetime = match answer {
            Answer::Rules { lifetime } => {
                lifetime.map_or(Lifetime::UNKNOWN, |seconds| Lifetime::of(Duration::from_secs(seconds.into())))
            }
            _ => Lifetime::UNKNOWN,
        };
        let told = match answer {
            Answer::Rules { .. } => self.redeemed(&call, lifetime),
            Answer::Lost => {
                drop(self.redeemed(&call, lifetime));
                Err(away(None, true))
            }
            Answer::SilentlyLost | Answer::Silence => {
                if matches!(answer, Answer::SilentlyLost) {
                    drop(self.redeemed(&call, lifetime));
                }
                // In flight until its client gives up.
                self.calls.push(Call { silent: true, ..call });
                return;
            }
            Answer::Away { retry_after } => {
                Err(away(retry_after.map(|seconds| Duration::from_secs(seconds.into())), false))
            }
            Answer::Misconfigured => {
                let cause = Arc::new(std::io::Error::other("404"));
                Err(RenewalError::Misconfigured { cause, unanswered: false })
            }
            Answer::Revoked => {
                self.server.revoke(call.token.login);
                self.redeemed(&call, lifetime)
            }
        };
        if !call.is_waited_for() {
            return;
        }
        match &told {
            Ok(_) => self.unsaved_by = Some(call.process),
            Err(RenewalError::SessionEnded { .. }) => {
                self.refused = Some((call.process, call.tokens.session.clone()));
            }
            Err(RenewalError::Transient { retry_after, .. }) => {
                let at_least = retry_after.unwrap_or_default().clamp(Duration::from_secs(1), Duration::from_mins(10));
                self.left_alone = Some((call.process, call.token, self.now()..self.now() + at_least));
            }
            Err(_) => {}
        }
        // That somebody waits for it was just seen.
        let _ = call.reply.send(told);
    }

    /// Whether a renewal is yet to arrive or to be answered; what will never be is none once its client gave up.
    pub(super) fn is_anything_on_the_wire(&self) -> bool {
        self.calls.iter().any(|call| !call.silent || call.is_waited_for())
    }

    fn redeemed(&mut self, call: &Call, access_lifetime: Lifetime) -> Result<IssuedTokens, RenewalError> {
        let verdict = self.server.redeem(call.token, call.tokens.attempt_key.expose());
        self.note(format!("the server: {verdict:?}"));
        match verdict {
            Verdict::Granted(pair) => Ok(issued(pair, access_lifetime)),
            Verdict::Refused => {
                Err(RenewalError::SessionEnded { reason: "Invalid refresh token".into(), unanswered: false })
            }
            Verdict::Reuse => {
                self.broken(format!("the server saw {} redeemed again", name(&call.tokens)));
                Err(RenewalError::SessionEnded { reason: "Invalid refresh token".into(), unanswered: false })
            }
        }
    }
}

pub(super) fn issued(pair: Pair, access_lifetime: Lifetime) -> IssuedTokens {
    IssuedTokens {
        access_token: Secret::new(pair.text("access")),
        refresh_token: Some(Secret::new(pair.text("refresh"))),
        access_lifetime,
        refresh_lifetime: Lifetime::UNKNOWN,
    }
}

fn redeemable(tokens: &TokenSet) -> Pair {
    let token = tokens.refresh_token.as_ref().expect("the model always issues one");
    Pair::read(token.expose(), "refresh").expect("tokens of the model")
}

fn away(retry_after: Option<Duration>, unanswered: bool) -> RenewalError {
    RenewalError::Transient { cause: Arc::new(std::io::Error::other("away")), retry_after, unanswered }
}
