//! The stored form of a [`TokenSet`]: one JSON object with a `version`.
//!
//! An entry of a newer version is refused, never guessed at and never overwritten. Errors name what is wrong and where,
//! never what stands there: it may be a token. Version 2 is taken: so heads of split entries begin (`split.rs`). Version 3
//! is an entry of an OAuth 2.0 client, which a program that knows none must not redeem; all others stay of version 1.

use jiff::Timestamp;
use secrecy::zeroize::Zeroizing;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::StoreError;
use crate::expiry::Lifetime;
use crate::token::{AttemptKey, ClientAuthentication, Generation, OauthClient, RenewedBy, Secret, SessionId, TokenSet};

const VERSION: u64 = 1;
const OAUTH_VERSION: u64 = 3;
/// What an entry holds beside its tokens is rarely more.
const ROOM_FOR_THE_REST: usize = 2048;

#[derive(Deserialize)]
struct VersionAlone {
    version: u64,
}

#[derive(Serialize)]
struct EntryRef<'a> {
    version: u64,
    session: &'a SessionId,
    generation: Generation,
    server: &'a Url,
    refresh_endpoint: &'a Url,
    revocation_endpoint: Option<&'a Url>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oauth: Option<OauthRef<'a>>,
    account: Option<&'a str>,
    access_token: &'a str,
    refresh_token: Option<&'a str>,
    attempt_key: &'a str,
    received_at: Timestamp,
    /// Only where it is another time.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_received_at: Option<Timestamp>,
    access_lifetime_ms: Lifetime,
    refresh_lifetime_ms: Lifetime,
}

#[derive(Deserialize)]
struct Entry {
    session: SessionId,
    generation: Generation,
    server: Url,
    refresh_endpoint: Url,
    revocation_endpoint: Option<Url>,
    #[serde(default)]
    oauth: Option<Oauth>,
    account: Option<String>,
    access_token: String,
    refresh_token: Option<String>,
    attempt_key: String,
    received_at: Timestamp,
    refresh_received_at: Option<Timestamp>,
    access_lifetime_ms: Lifetime,
    refresh_lifetime_ms: Lifetime,
}

#[derive(Serialize)]
struct OauthRef<'a> {
    client_id: &'a str,
    client_secret: Option<&'a str>,
    authentication: ClientAuthentication,
    renewed_by: &'a RenewedBy,
}

#[derive(Deserialize)]
struct Oauth {
    client_id: String,
    client_secret: Option<String>,
    authentication: ClientAuthentication,
    renewed_by: RenewedBy,
}

/// Returns the version that `text` says it has, if it says one.
pub(super) fn version_of(text: &[u8]) -> Option<u64> {
    serde_json::from_slice(text).ok().map(|VersionAlone { version }| version)
}

/// Returns the stored form of `tokens`; it is wiped from memory when dropped.
pub(super) fn encode(tokens: &TokenSet, place: &str) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let entry = EntryRef {
        version: if tokens.oauth.is_some() { OAUTH_VERSION } else { VERSION },
        session: &tokens.session,
        generation: tokens.generation,
        server: &tokens.server,
        refresh_endpoint: &tokens.refresh_endpoint,
        revocation_endpoint: tokens.revocation_endpoint.as_ref(),
        oauth: tokens.oauth.as_ref().map(|client| OauthRef {
            client_id: &client.id,
            client_secret: client.secret.as_ref().map(Secret::expose),
            authentication: client.authentication,
            renewed_by: &client.renewed_by,
        }),
        account: tokens.account.as_deref(),
        access_token: tokens.access_token.expose(),
        refresh_token: tokens.refresh_token.as_ref().map(Secret::expose),
        attempt_key: tokens.attempt_key.expose(),
        received_at: tokens.received_at,
        refresh_received_at: Some(tokens.refresh_received_at).filter(|received_at| *received_at != tokens.received_at),
        access_lifetime_ms: tokens.access_lifetime,
        refresh_lifetime_ms: tokens.refresh_lifetime,
    };
    // Room for all of it at once: a buffer that grows leaves copies behind that nobody wipes.
    let client_secret = entry.oauth.as_ref().and_then(|client| client.client_secret);
    let secrets = [Some(entry.access_token), entry.refresh_token, client_secret].into_iter().flatten();
    let length: usize = secrets.map(str::len).sum();
    let mut text = Zeroizing::new(Vec::with_capacity(length + ROOM_FOR_THE_REST));
    serde_json::to_writer(&mut *text, &entry).map_err(|error| damaged(place, &error))?;
    Ok(text)
}

/// Returns the tokens that `text`, found at `place`, holds.
pub(super) fn decode(text: &[u8], place: &str) -> Result<TokenSet, StoreError> {
    if text.iter().all(u8::is_ascii_whitespace) {
        return Err(StoreError::Damaged { place: place.into(), what: "it is empty".into() });
    }
    let VersionAlone { version } = serde_json::from_slice(text).map_err(|error| damaged(place, &error))?;
    if version > VERSION && version != OAUTH_VERSION {
        return Err(StoreError::NewerVersion { place: place.into(), found: version, known: OAUTH_VERSION });
    }
    let entry: Entry = serde_json::from_slice(text).map_err(|error| damaged(place, &error))?;
    Ok(TokenSet {
        session: entry.session,
        generation: entry.generation,
        server: entry.server,
        refresh_endpoint: entry.refresh_endpoint,
        revocation_endpoint: entry.revocation_endpoint,
        oauth: entry.oauth.map(|client| OauthClient {
            id: client.client_id,
            secret: client.client_secret.map(Secret::new),
            authentication: client.authentication,
            renewed_by: client.renewed_by,
        }),
        account: entry.account,
        access_token: Secret::new(entry.access_token),
        refresh_token: entry.refresh_token.map(Secret::new),
        attempt_key: AttemptKey::from_saved(entry.attempt_key),
        received_at: entry.received_at,
        refresh_received_at: entry.refresh_received_at.unwrap_or(entry.received_at),
        access_lifetime: entry.access_lifetime_ms,
        refresh_lifetime: entry.refresh_lifetime_ms,
    })
}

/// serde's own message may quote the value it did not like, so only its kind and its place are passed on.
fn damaged(place: &str, error: &serde_json::Error) -> StoreError {
    use serde_json::error::Category;

    let kind = match error.classify() {
        Category::Syntax => "it is not JSON",
        Category::Eof => "it is cut short",
        Category::Data => "a field is missing or of the wrong type",
        Category::Io => "it could not be read",
    };
    let what = format!("{kind} (line {}, column {})", error.line(), error.column());
    StoreError::Damaged { place: place.into(), what }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> TokenSet {
        decode(include_bytes!("fixtures/entry-v1.json"), "the fixture").unwrap()
    }

    #[test]
    fn the_first_version_is_still_read() {
        let tokens = sample();
        assert_eq!(tokens.generation.number(), 7);
        assert_eq!(tokens.account.as_deref(), Some("admin"));
        assert_eq!(tokens.access_token.expose(), "access-token-of-the-fixture");
        assert_eq!(tokens.access_token_expires_at().unwrap().to_string(), "2026-01-01T00:00:02Z");
        assert_eq!(tokens.refresh_token_expires_at().unwrap().to_string(), "2026-01-08T00:00:00Z");
    }

    #[test]
    fn an_entry_comes_back_as_it_went() {
        let tokens = sample();
        let text = encode(&tokens, "memory").unwrap();
        let fixture: serde_json::Value = serde_json::from_slice(include_bytes!("fixtures/entry-v1.json")).unwrap();
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&text).unwrap(), fixture);
    }

    #[test]
    fn the_receipt_of_an_older_refresh_token_comes_back_as_it_went() {
        let mut tokens = sample();
        tokens.refresh_received_at -= jiff::SignedDuration::from_secs(7);
        let back = decode(&encode(&tokens, "memory").unwrap(), "memory").unwrap();
        assert_eq!((back.received_at, back.refresh_received_at), (tokens.received_at, tokens.refresh_received_at));
    }

    #[test]
    fn an_entry_of_an_oauth_client_comes_back_as_it_went() {
        let fixture = include_bytes!("fixtures/entry-v3.json");
        let tokens = decode(fixture, "the fixture").unwrap();
        let client = tokens.oauth.as_ref().unwrap();
        assert_eq!((client.id.as_str(), client.authentication), ("cli", ClientAuthentication::Basic));
        assert_eq!(client.secret.as_ref().unwrap().expose(), "client-secret-of-the-fixture");
        assert!(matches!(&client.renewed_by, RenewedBy::ClientCredentials { audience: Some(_), .. }));
        let text = encode(&tokens, "memory").unwrap();
        let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&text), value(fixture));
    }

    #[test]
    fn a_renewal_keeps_the_client() {
        let tokens = decode(include_bytes!("fixtures/entry-v3.json"), "the fixture").unwrap();
        let issued = crate::token::IssuedTokens {
            access_token: Secret::new("next"),
            refresh_token: None,
            access_lifetime: Lifetime::UNKNOWN,
            refresh_lifetime: Lifetime::UNKNOWN,
        };
        let next = tokens.succeeded_by(issued, tokens.received_at, tokens.attempt_key.clone());
        assert_eq!(next.oauth.unwrap().id, "cli");
    }

    #[test]
    fn damage_is_named_without_being_quoted() {
        for (text, expected) in [
            ("", "it is empty"),
            (" \n", "it is empty"),
            ("{\"version\":1,", "it is cut short"),
            ("not JSON canary", "it is not JSON"),
            ("{\"version\":\"canary\"}", "a field is missing or of the wrong type"),
            ("{\"version\":1,\"session\":\"s\",\"generation\":\"canary\"}", "a field is missing or of the wrong type"),
        ] {
            let error = decode(text.as_bytes(), "the file").unwrap_err().to_string();
            assert!(error.contains(expected), "{text:?}: {error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[test]
    fn a_newer_version_is_not_touched() {
        let error = decode(b"{\"version\":2,\"sealed\":true}", "the file").unwrap_err();
        assert!(matches!(error, StoreError::NewerVersion { found: 2, known: 3, .. }), "{error}");
    }
}
