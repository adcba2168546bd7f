//! What a task may be told, and what not.

use std::time::Duration;

use jiff::Timestamp;

use super::universe::{Role, State, name, pair};
use crate::error::TokenError;
use crate::expiry;
use crate::token::{Generation, TokenSet};

/// What a task asks of the gate.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wants {
    Live,
    ValidFor(Duration),
    Newer(Generation),
    AfterRefusal(Generation),
}

/// `before` is what was current when the task asked; `at` is when it was answered, where that can be compared.
pub(super) fn on_tokens(
    state: &mut State,
    who: &str,
    role: &Role,
    wants: Wants,
    before: Generation,
    at: Option<Timestamp>,
    tokens: &TokenSet,
) {
    state.note(format!("{who} gets {}", name(tokens)));
    if Role::Gate(tokens.session.clone()) != *role || pair(tokens).origin() != tokens.server {
        state.broken(format!("{who} got another session's or server's {}", name(tokens)));
    }
    if let Wants::AfterRefusal(old) | Wants::Newer(old) = wants
        && tokens.generation <= old
    {
        state.broken(format!("{who} got generation {} again", tokens.generation));
    }
    let left = at.and_then(|at| expiry::remaining(tokens.received_at, tokens.access_lifetime, at));
    if tokens.generation <= before && left.is_some_and(|left| left.is_zero()) {
        state.broken(format!("{who} got {}, which is dead and not new", name(tokens)));
    }
}

/// `current` is what the task's process holds. It is told of an end only where there is one.
pub(super) fn on_error(state: &mut State, who: &str, current: &TokenSet, error: &TokenError) {
    state.note(format!("{who} gets: {error}"));
    let is_over = state.logged_out.contains(&current.session) || state.server.is_revoked(pair(current).login);
    let is_replaced = state.stored.as_ref().is_none_or(|stored| stored.session != current.session);
    let fits = match error {
        TokenError::SessionEnded { .. } => is_over,
        TokenError::AccountChanged => is_replaced,
        // A store that lags may show the time before the login.
        TokenError::NotLoggedIn => is_over || is_replaced || state.has_lagged,
        TokenError::FlightLost | TokenError::NotRenewable { .. } | TokenError::NotYetRenewable { .. } => false,
        _ => true,
    };
    if !fits {
        state.broken(format!("{who} was told: {error}"));
    }
}
