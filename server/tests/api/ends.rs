//! Users of a test's own, and whatever ends their sessions.

use std::sync::Arc;
use std::time::Duration;

use authcli_server::domain::{Password, PresentedRefreshToken, Username};
use authcli_server::password::Passwords;
use authcli_server::ports::{PasswordHash, SessionSelection, Store};
use reqwest::Method;
use serde_json::json;

use crate::helpers::{TestApp, Tokens, tokens};

/// How soon every server refuses the access tokens of a session that was ended anywhere.
pub(crate) const PROMISE: Duration = Duration::from_secs(5);

pub(crate) const OLD_PASSWORD: &str = "the old password";
pub(crate) const NEW_PASSWORD: &str = "the new password";

/// What ends the sessions of a user, or one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// `DELETE /sessions/{id}`: one of them.
    DeleteSession,
    /// `sessions revoke --user`.
    RevokeSessions,
    /// `user disable`.
    DisableUser,
    /// `user remove`.
    RemoveUser,
    /// `user password`.
    ChangePassword,
}

impl End {
    pub(crate) const ALL: [End; 5] =
        [End::DeleteSession, End::RevokeSessions, End::DisableUser, End::RemoveUser, End::ChangePassword];

    /// Answers whether a login that verified the password before comes too late, and not only those that have a session.
    pub(crate) fn ends_logins(self) -> bool {
        matches!(self, End::DisableUser | End::RemoveUser | End::ChangePassword)
    }
}

/// Users with the same passwords, managed beside the servers, as the commands do it.
pub(crate) struct Users {
    store: Arc<dyn Store>,
    old: PasswordHash,
    new: PasswordHash,
}

impl Users {
    pub(crate) async fn of(app: &TestApp) -> Users {
        let passwords = Passwords::new(app.config.password_cost).unwrap();
        let hash = async |text: &str| passwords.hash(Password::presented(text.to_owned())).await.unwrap();
        Users { store: app.store().await, old: hash(OLD_PASSWORD).await, new: hash(NEW_PASSWORD).await }
    }

    pub(crate) async fn add(&self, name: &str) {
        let name = Username::parse(name).unwrap();
        self.store.add_user(&name, &self.old, None).await.unwrap().unwrap();
    }

    /// Ends what belongs to a user: `ended` is the session that goes where only one does, `other` who asks for that.
    pub(crate) async fn end(&self, end: End, app: &TestApp, name: &str, ended: &Tokens, other: &Tokens) {
        let name = Username::parse(name).unwrap();
        let done = match end {
            End::DeleteSession => {
                let id = PresentedRefreshToken::parse(&ended.refresh).unwrap().claimed_session();
                let request = app.request(Method::DELETE, &format!("/sessions/{id}")).bearer_auth(&other.access);
                request.send().await.unwrap().status() == 204
            }
            End::RevokeSessions => {
                let selection = SessionSelection { user: Some(name), ..SessionSelection::default() };
                self.store.revoke_sessions(&selection).await.unwrap() > 0
            }
            End::DisableUser => self.store.disable_user(&name).await.unwrap().is_some(),
            End::RemoveUser => self.store.remove_user(&name).await.unwrap().is_some(),
            End::ChangePassword => self.store.set_password(&name, &self.new).await.unwrap().is_some(),
        };
        assert!(done, "{end:?}");
    }
}

/// Logs in; none if that is refused.
pub(crate) async fn log_in(app: &TestApp, name: &str, password: &str) -> Option<Tokens> {
    let answer = app.post("/login", &json!({ "username": name, "password": password })).await;
    match answer.status().as_u16() {
        401 => None,
        _ => Some(tokens(answer).await),
    }
}
