//! JSON APIs: a call that takes a password, one that takes a refresh token, one that ends the session. The paths, fields
//! and pointers are those of an [`ApiShape`].
//!
//! - None of these calls follows a redirect: they carry a password or a refresh token.
//! - They go to the endpoints that were found at login; only what is sent there, and what is read from the answer, goes by
//!   the shape of now.
//! - A refresh is sent under the session's attempt key (`Idempotency-Key`), and again without an answer only where that is
//!   safe.
//! - Only a clear refusal ends a session.
//! - Constants of a profile are sent to the server that it names and to no other.

mod constants;
mod login;
mod place;
mod reading;
mod request;
mod shape;

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderName, HeaderValue};
use tracing::debug;
use url::{Origin, Url};

pub(crate) use self::constants::constant_header;
pub use self::constants::{ConstantFields, ConstantHeaders};
pub use self::login::{LoggedIn, LoginError};
pub use self::place::{Field, PlaceError, Pointer, Source, Target};
use self::reading::{Reading, Said, To};
use self::request::Call;
pub use self::request::ShapeError;
pub use self::shape::{
    AnswerShape, ApiShape, BodyForm, LoginShape, LogoutShape, METHODS, RefreshShape, Scheme, TokenShape,
};
use super::Revocation;
use super::answer::Answer;
use super::caller::Caller;
use super::fault::RenewalFault;
use super::issued::without_repeated;
use super::tries::{Repeat, Verdict, is_passing, redeem, redeemable};
use crate::error::Cause;
use crate::gate::{Clock, Renewal, RenewalError, WayOut};
use crate::http::{AddressError, LazyClient, ServerUrl, secrets_of};
use crate::token::{IssuedTokens, TokenSet};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The login, refresh and logout calls of one server.
#[derive(Clone)]
pub struct JsonApi {
    caller: Caller,
    shape: Arc<ApiShape>,
    /// Whom the constants of the shape are for.
    home: Origin,
}

impl JsonApi {
    /// The calls of `shape`, which describes the API at `api`, that `client` makes. Its constants are for the server where
    /// the shape has login and refresh, which is `api` unless it says otherwise: a call with constants that would go to
    /// another origin is not made, or made without them.
    pub fn new(shape: ApiShape, api: &ServerUrl, client: LazyClient, clock: Arc<dyn Clock>) -> Self {
        let home = match shape.server.as_deref().map(ServerUrl::parse) {
            None => api.origin(),
            Some(Ok(own)) => own.origin(),
            // Nobody's.
            Some(Err(_)) => Origin::new_opaque(),
        };
        Self { caller: Caller { client, clock }, shape: Arc::new(shape), home }
    }

    /// Returns where the refresh token of a login at `server` may be redeemed.
    pub fn refresh_endpoint(&self, server: &ServerUrl) -> Result<Url, AddressError> {
        server.join(&self.shape.refresh.path)
    }

    /// Returns where a session of `server` is revoked, if it can be.
    pub fn revocation_endpoint(&self, server: &ServerUrl) -> Result<Option<Url>, AddressError> {
        let logout = &self.shape.logout;
        if logout.enabled { server.join(&logout.path).map(Some) } else { Ok(None) }
    }

    /// Finds out whether anything answers at `server`, and returns what time it is there, if it tells. Any answer will do:
    /// only silence is a fault.
    pub async fn reach(&self, server: &ServerUrl) -> Result<Option<Timestamp>, RenewalFault> {
        self.caller.reach(server.url()).await
    }

    /// Revokes a session. `Ok(false)`: it cannot be revoked there. A server that the constants are not for is asked without
    /// them: it may do as it is told all the same.
    pub async fn revoke(&self, session: Revocation<'_>) -> Result<bool, RenewalFault> {
        let (Some(endpoint), Some(refresh_token)) = (session.endpoint, session.refresh_token) else {
            return Ok(false);
        };
        if !self.shape.logout.enabled {
            return Ok(false);
        }
        let secrets = [refresh_token.expose(), session.access_token.expose()];
        let is_home = endpoint.origin() == self.home;
        let shape = if is_home { Cow::Borrowed(&*self.shape) } else { Cow::Owned(self.shape.without_constants()) };
        let call = request::logout(&shape, refresh_token, session.access_token);
        let answer = self.send(call, endpoint, None, &secrets).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Ok(false),
            _ => Err(answer.unexpected()),
        }
    }

    /// Sends `call`, which holds `secrets`.
    async fn send(
        &self,
        call: Result<Call, ShapeError>,
        url: &Url,
        attempt_key: Option<&str>,
        secrets: &[&str],
    ) -> Result<Answer, RenewalFault> {
        let call = call?;
        call.check_home(&self.home, url)?;
        let client = self.caller.client.get()?;
        let mut request = call.to(client, url).map_err(|cause| RenewalFault::of_transport(url, cause))?;
        if let Some(key) = attempt_key.and_then(|key| HeaderValue::try_from(key).ok()) {
            request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        }
        self.caller.call(request, secrets).await
    }

    async fn redeem(&self, tokens: &TokenSet, way_out: &WayOut) -> Result<IssuedTokens, RenewalError> {
        let refresh_token = redeemable(tokens, self.caller.now())?;
        let mut secrets = secrets_of(tokens).to_vec();
        secrets.extend(request::constants(&self.shape));
        let attempt = || async {
            let call = request::refresh(&self.shape, refresh_token, Some(&tokens.access_token));
            let key = Some(tokens.attempt_key.expose());
            match self.send(call, &tokens.refresh_endpoint, key, &secrets).await {
                Ok(answer) => judge(&self.shape, &answer, &secrets),
                Err(fault) => Verdict::of_fault(fault),
            }
        };
        let repeat = if self.shape.is_safe_to_repeat() { Repeat::Safe } else { Repeat::Unsafe };
        redeem(way_out, repeat, attempt).await.map(|issued| without_repeated(issued, refresh_token))
    }
}

impl Renewal for JsonApi {
    fn renew<'a>(
        &'a self,
        tokens: &'a TokenSet,
        way_out: &'a WayOut,
    ) -> BoxFuture<'a, Result<IssuedTokens, RenewalError>> {
        Box::pin(self.redeem(tokens, way_out))
    }

    fn revoke_refused<'a>(&'a self, tokens: &'a TokenSet) -> BoxFuture<'a, Result<(), Cause>> {
        Box::pin(async {
            // A logout that takes the access token as well may end more than this session.
            if self.shape.is_safe_to_repeat() && self.shape.logout.access_token.is_none() {
                self.revoke(tokens.into()).await.map_err(|fault| Arc::new(fault) as Cause)?;
            }
            Ok(())
        })
    }
}

/// Only a clear refusal ends a session: a status that the shape names (400, 401 or 403 unless told otherwise) with a JSON
/// object that holds an error. Everything else that is not tokens leaves it standing.
fn judge(shape: &ApiShape, answer: &Answer, secrets: &[&str]) -> Verdict {
    let (status, asked) = (answer.status, answer.retry_after);
    let may_end = shape.refresh.ended.iter().any(|refusal| refusal.0 == status);
    let said = reading::error(shape, To::Refresh, answer, secrets).filter(|_| may_end);
    if status.is_success() {
        return match (reading::tokens(shape, To::Refresh, answer), said) {
            (Ok(Reading { tokens, missed }), _) => {
                for what in missed {
                    debug!("the answer to the refresh has {what}");
                }
                Verdict::Tokens(tokens)
            }
            (Err(_), Some(said)) if said.is_an_end => Verdict::Refused(said.words),
            // Cut off or garbled on the way, or in another shape: the same attempt gets the same tokens, and only that.
            (Err(fault), _) => Verdict::Again(fault, asked),
        };
    }
    match status {
        _ if may_end => judge_refusal(shape, answer, said),
        // Who limits calls without saying for how long is not called again.
        StatusCode::TOO_MANY_REQUESTS if asked.is_none() => Verdict::NotNow(answer.not_here(), asked),
        StatusCode::TOO_MANY_REQUESTS => Verdict::Again(answer.not_here(), asked),
        _ if status.is_server_error() => Verdict::Again(answer.not_here(), asked),
        // A captive portal, a gateway that has lost its server: not the endpoint's own voice.
        _ => Verdict::NotNow(answer.not_here(), asked),
    }
}

/// Judges an answer whose status may end the session, and that says `said`. What may come from a gateway does not, nor
/// what asks to come again, nor an error that OAuth 2.0 gives to clients rather than to grants.
fn judge_refusal(shape: &ApiShape, answer: &Answer, said: Option<Said>) -> Verdict {
    let (refresh, status, asked) = (&shape.refresh, answer.status, answer.retry_after);
    let Some(said) = said else {
        return if refresh.ended_needs_error || asked.is_some() {
            Verdict::NotNow(reading::silent(shape, To::Refresh, answer), asked)
        } else {
            Verdict::Refused(format!("answered {status}"))
        };
    };
    let passes = asked.is_some() || is_passing(&said.words) || (refresh.ended_needs_error && said.repeats(status));
    if said.is_an_end {
        Verdict::Refused(said.words)
    } else if passes || !refresh.ended_errors.is_empty() {
        Verdict::NotNow(answer.refusal(said.words), asked)
    } else if blames_the_client(&said.words) {
        Verdict::Misconfigured(answer.refusal(said.words))
    } else {
        Verdict::Refused(said.words)
    }
}

/// The codes of RFC 6749 section 5.2 that say nothing of the grant: the session may well stand.
fn blames_the_client(code: &str) -> bool {
    ["invalid_request", "invalid_client", "unauthorized_client", "unsupported_grant_type", "invalid_scope"]
        .contains(&code)
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::answer;
    use super::*;

    /// Returns what an answer comes to, in a word and the words that it brings.
    fn judged(shape: &str, status: u16, body: &str) -> (&'static str, String) {
        match judge(&toml::from_str(shape).unwrap(), &answer(status, body), &[]) {
            Verdict::Tokens(tokens) => ("tokens", tokens.access_token.expose().to_owned()),
            Verdict::Refused(reason) => ("refused", reason),
            Verdict::Again(fault, _) => ("again", fault.to_string()),
            Verdict::NotNow(fault, _) => ("not now", fault.to_string()),
            Verdict::Misconfigured(fault) => ("misconfigured", fault.to_string()),
        }
    }

    #[test]
    fn only_a_clear_refusal_ends_a_session() {
        for (status, body, expected) in [
            (403, "{\"error\":\"no\"}", "refused"),
            (401, "{\"error\":\"no\"}", "refused"),
            (400, "{\"error\":\"invalid_grant\"}", "refused"),
            (400, "{\"error\":\"invalid_client\"}", "misconfigured"),
            (403, "<html>", "not now"),
            (403, "{\"message\":\"no\"}", "not now"),
            (404, "{\"error\":\"no\"}", "not now"),
            (419, "{\"error\":\"no\"}", "not now"),
            (400, "{\"error\":\"slow_down\"}", "not now"),
            (401, "{\"error\":\"Unauthorized\"}", "not now"),
            (403, "{\"error\":403}", "not now"),
            (302, "", "not now"),
            (429, "{\"error\":\"no\"}", "not now"),
            (500, "{\"error\":\"no\"}", "again"),
            (200, "{\"error\":\"no\"}", "again"),
            (200, "", "again"),
            (200, "{\"accessToken\":\"a\"}", "tokens"),
        ] {
            assert_eq!(judged("", status, body).0, expected, "{status} {body}");
        }
    }

    #[test]
    fn a_profile_says_what_a_clear_refusal_is() {
        let coded =
            "answer.error = '/meta/code'\nrefresh.ended = [200, 419]\nrefresh.ended_errors = ['expired', '40101']";
        for (shape, status, body, expected) in [
            ("refresh.ended = [419]", 419, "{\"error\":\"no\"}", "refused"),
            ("refresh.ended = [419]", 403, "{\"error\":\"no\"}", "not now"),
            ("answer.error = '/detail'", 401, "{\"detail\":\"no\"}", "refused"),
            ("answer.error = '/detail'", 401, "{\"error\":\"no\"}", "not now"),
            ("refresh.answer.error = '/detail'", 401, "{\"detail\":\"no\"}", "refused"),
            ("refresh.ended_needs_error = false\nrefresh.ended = [401]", 401, "", "refused"),
            ("refresh.ended_needs_error = false\nrefresh.ended = [401]", 403, "{\"error\":\"no\"}", "not now"),
            ("", 401, "", "not now"),
            (coded, 419, "{\"meta\":{\"code\":\"expired\"}}", "refused"),
            (coded, 419, "{\"meta\":{\"code\":\"busy\"}}", "not now"),
            (coded, 200, "{\"meta\":{\"code\":40101}}", "refused"),
            (coded, 200, "{\"meta\":{\"code\":0},\"accessToken\":\"a\"}", "tokens"),
            (coded, 200, "{\"meta\":{\"code\":50001}}", "again"),
            ("refresh.ended_errors = ['0']", 401, "{\"error\":0}", "refused"),
            ("refresh.ended_errors = ['Unauthorized']", 401, "{\"error\":\"Unauthorized\"}", "refused"),
            ("refresh.ended_needs_error = false", 401, "{\"error\":\"Unauthorized\"}", "refused"),
            (coded, 200, "{\"me", "again"),
        ] {
            assert_eq!(judged(shape, status, body).0, expected, "{shape}: {status} {body}");
        }
    }

    #[test]
    fn a_refusal_without_the_error_that_was_looked_for_names_the_keys_that_are_there() {
        let (_, told) = judged("answer.error = '/error/code'", 403, "{\"errors\":[{\"code\":\"canary\"}]}");
        assert_eq!(
            told,
            "http://h/refresh answered 403 Forbidden with nothing at `/error/code` (its keys: /errors/0/code)"
        );
        let (_, told) = judged("", 403, "<html>canary");
        assert_eq!(told, "http://h/refresh answered 403 Forbidden with no JSON object with an error at `/error`");
    }
}
