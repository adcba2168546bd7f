//! Reading the answers of token endpoints (RFC 6749 sections 5.1 and 5.2), however servers write them.

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::error::OauthError;
use crate::renewal::answer::{Answer, brief, words};
use crate::renewal::fault::RenewalFault;
use crate::renewal::issued::{lifetime, token};
use crate::renewal::tries::{Verdict, is_passing};
use crate::token::{IssuedTokens, Secret};

/// Of the names of keys as many are told.
const MOST_KEYS: usize = 24;

/// What a token endpoint grants.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) issued: IssuedTokens,
    pub(super) id_token: Option<Secret>,
    token_type: Option<String>,
}

/// What a token endpoint says when it grants nothing.
pub(super) struct Refusal {
    pub(super) code: String,
    /// The code, and the server's words for people where it has any.
    pub(super) text: String,
}

impl Granted {
    /// Reads a successful answer.
    pub(super) fn of(answer: &Answer) -> Result<Self, RenewalFault> {
        let object = object(answer)?;
        let text = |key: &str| object.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        let Some(access_token) = text("access_token") else {
            return Err(answer.nonsense(format!("no usable `access_token` (its keys: {})", keys_of(&object))));
        };
        let access_token =
            token(access_token).ok_or_else(|| answer.nonsense("an `access_token` that no header can carry"))?;
        let refresh_token = text("refresh_token").map(Secret::new);
        // Keycloak's name for it, then that of others; the standard has none.
        let session = object.get("refresh_expires_in").or_else(|| object.get("refresh_token_expires_in"));
        Ok(Self {
            issued: IssuedTokens {
                access_lifetime: lifetime(object.get("expires_in"), Some(&access_token)),
                refresh_lifetime: lifetime(session, refresh_token.as_ref()),
                access_token,
                refresh_token,
            },
            id_token: text("id_token").map(Secret::new),
            token_type: text("token_type").map(brief),
        })
    }

    /// Refuses tokens that are no bearer tokens. Only at login: a refresh has spent the token before, so what it brings is
    /// kept whatever it is called.
    pub(super) fn into_bearer(self, origin: &str) -> Result<Self, OauthError> {
        match self.token_type {
            Some(token_type) if !token_type.eq_ignore_ascii_case("bearer") => {
                Err(OauthError::OtherTokenType { origin: origin.to_owned(), token_type })
            }
            _ => Ok(self),
        }
    }
}

impl Refusal {
    /// Reads an answer with an `error` in it, and no token beside that. Words that repeat one of `secrets` are left out.
    pub(super) fn of(answer: &Answer, secrets: &[&str]) -> Option<Self> {
        let object = object(answer).ok()?;
        if object.get("access_token").is_some_and(Value::is_string) {
            return None;
        }
        Self::in_fields(|key| object.get(key).cloned(), secrets)
    }

    /// The same for the fields of a redirected address (RFC 6749 section 4.1.2.1).
    pub(super) fn in_fields(field: impl Fn(&str) -> Option<Value>, secrets: &[&str]) -> Option<Self> {
        let code = words(&field("error")?, secrets, "an error without a code")?;
        let description = field("error_description").and_then(|value| words(&value, secrets, ""));
        let description = description.filter(|description| !description.is_empty());
        let text = description.map_or_else(|| code.clone(), |description| format!("{code}: {description}"));
        Some(Self { code, text })
    }
}

/// Returns the answer's JSON object.
pub(super) fn object(answer: &Answer) -> Result<Map<String, Value>, RenewalFault> {
    match answer.json() {
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(answer.nonsense("JSON that is not an object")),
        None => Err(answer.nonsense("a body that is not JSON")),
    }
}

/// Returns the names of an answer's fields, for people: as many as fit into a message.
pub(super) fn keys_of(object: &Map<String, Value>) -> String {
    let more = (object.len() > MOST_KEYS).then(|| "…".to_owned());
    object.keys().take(MOST_KEYS).map(|key| brief(key)).chain(more).collect::<Vec<_>>().join(", ")
}

/// Judges an answer to a renewal. Only `invalid_grant` ends a session, and only where there is a grant that can be invalid;
/// everything else leaves it standing. Some servers (GitHub) refuse with a 200.
pub(super) fn judge(answer: &Answer, secrets: &[&str], has_grant: bool) -> Verdict {
    let retry_after = answer.retry_after;
    let speaks_for_itself = match answer.status {
        StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => true,
        status => status.is_success(),
    };
    match (Refusal::of(answer, secrets).filter(|_| speaks_for_itself), answer.status) {
        (Some(Refusal { code, text }), _) if code == "invalid_grant" && has_grant => Verdict::Refused(text),
        (Some(Refusal { code, text }), _) => {
            let fault = answer.refusal(text);
            if is_passing(&code) { Verdict::NotNow(fault, retry_after) } else { Verdict::Misconfigured(fault) }
        }
        (None, status) if status.is_success() => match Granted::of(answer) {
            Ok(granted) => Verdict::Tokens(granted.issued),
            Err(fault) => Verdict::Again(fault, retry_after),
        },
        (None, _) if speaks_for_itself => Verdict::NotNow(answer.unexpected(), retry_after),
        (_, StatusCode::TOO_MANY_REQUESTS) if retry_after.is_none() => Verdict::NotNow(answer.unexpected(), None),
        (_, status) if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
            Verdict::Again(answer.unexpected(), retry_after)
        }
        // A captive portal, a gateway that has lost its server: not the endpoint's own voice.
        _ => Verdict::NotNow(answer.not_here(), retry_after),
    }
}

/// Reads an answer to a login.
pub(super) fn granted(answer: &Answer, origin: &str, secrets: &[&str]) -> Result<Granted, OauthError> {
    if answer.status.is_success() && Refusal::of(answer, secrets).is_none() {
        Granted::of(answer)?.into_bearer(origin)
    } else {
        Err(refused(answer, origin, secrets))
    }
}

/// Returns what an answer to a login comes to that brought nothing.
pub(super) fn refused(answer: &Answer, origin: &str, secrets: &[&str]) -> OauthError {
    match Refusal::of(answer, secrets).filter(|_| answer.status.is_client_error() || answer.status.is_success()) {
        Some(refusal) => OauthError::Refused { origin: origin.to_owned(), reason: refusal.text },
        None => answer.unexpected().into(),
    }
}
