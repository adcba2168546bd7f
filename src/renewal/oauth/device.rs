//! Logging in on another device (RFC 8628).

use std::time::Duration;

use oauth2::StandardDeviceAuthorizationResponse;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::error::OauthError;
use super::pen::Pen;
use super::tokens::{self, Granted, Refusal, keys_of, object};
use super::{Login, LoginGrant, Oauth, secret_of};
use crate::renewal::RenewalFault;
use crate::renewal::answer::{Answer, brief};
use crate::text::printable;

/// Where the server does not say how often it may be asked (RFC 8628 section 3.2).
const DEFAULT_INTERVAL: u64 = 5;
const SLOWER: Duration = Duration::from_secs(5);
/// Beyond this the pause of a server that does not answer grows no more.
const LONGEST_INTERVAL: Duration = Duration::from_mins(2);
/// Where the server does not say how long its code is good for, although it must.
const DEFAULT_LIFE: u64 = 10 * 60;
/// Nobody sits before a code for longer.
const LONGEST_LIFE: u64 = 24 * 60 * 60;

/// A code that a person types in elsewhere.
pub struct DeviceCode {
    details: StandardDeviceAuthorizationResponse,
}

impl DeviceCode {
    /// Returns the code to type in.
    pub fn user_code(&self) -> String {
        brief(self.details.user_code().secret())
    }

    /// Returns the address to go to: the one with the code in it, where the server gave one.
    pub fn address(&self) -> String {
        let complete = self.details.verification_uri_complete().map(|complete| complete.secret().as_str());
        let address = complete.unwrap_or_else(|| self.details.verification_uri().as_str());
        printable(address)
    }

    /// Returns how long the code is good for.
    pub fn life(&self) -> Duration {
        self.details.expires_in()
    }
}

/// What one question whether the code was approved came to.
enum Poll {
    Granted(Granted),
    /// Ask again after the pause, which may have changed.
    Pending(Duration),
}

impl Oauth {
    /// Asks for a code.
    pub async fn begin_device(&self, login: &Login<'_>) -> Result<DeviceCode, OauthError> {
        let issuer = &login.metadata.issuer;
        let Some(endpoint) = &login.metadata.device_authorization_endpoint else {
            let what = "login on another device (`device_authorization_endpoint`)";
            return Err(OauthError::NotOffered { issuer: issuer.to_string(), what });
        };
        let request = Pen::new(login.client).device_authorization(endpoint, login.scopes, login.audience);
        let secrets = secret_of(login.client);
        let answer = self.caller.call(request, &secrets).await?;
        if !answer.status.is_success() || Refusal::of(&answer, &secrets).is_some() {
            return Err(tokens::refused(&answer, &login.origin(), &secrets));
        }
        Ok(DeviceCode { details: details_in(&answer)? })
    }

    /// Waits until the code is approved, asking no more often than the server allows.
    pub async fn finish_device(&self, login: &Login<'_>, code: &DeviceCode) -> Result<LoginGrant, OauthError> {
        let end = Instant::now() + code.life();
        let mut pause = code.details.interval();
        loop {
            let next = Instant::now() + pause;
            if next >= end {
                sleep_until(end).await;
                return Err(OauthError::TimedOut(code.life()));
            }
            sleep_until(next).await;
            match self.poll(login, code, pause).await? {
                Poll::Granted(granted) => return login.grant(granted, None),
                Poll::Pending(changed) => pause = changed,
            }
        }
    }

    async fn poll(&self, login: &Login<'_>, code: &DeviceCode, pause: Duration) -> Result<Poll, OauthError> {
        let endpoint = &login.metadata.token_endpoint;
        let request = Pen::new(login.client).device_token(endpoint, &code.details);
        let mut secrets = secret_of(login.client);
        secrets.push(code.details.device_code().secret());
        let reply = self.caller.call(request, &secrets).await;
        judge(reply, pause, code.life(), &login.origin(), &secrets)
    }
}

/// Judges what came of a question (RFC 8628 section 3.5) that was asked after a `pause`, of a code that is good for `life`.
fn judge(
    reply: Result<Answer, RenewalFault>,
    pause: Duration,
    life: Duration,
    origin: &str,
    secrets: &[&str],
) -> Result<Poll, OauthError> {
    // Less often, say half as often.
    let slower = Poll::Pending(pause.max((pause * 2).min(LONGEST_INTERVAL)));
    let answer = match reply {
        Ok(answer) => answer,
        Err(fault @ (RenewalFault::Unreachable { .. } | RenewalFault::NoAnswer { .. })) => {
            debug!(%fault, "asking again later");
            return Ok(slower);
        }
        Err(fault) => return Err(fault.into()),
    };
    // Also of a success: GitHub says so that the code was not approved yet.
    match Refusal::of(&answer, secrets).as_ref().map(|refusal| refusal.code.as_str()) {
        Some("authorization_pending") => Ok(Poll::Pending(pause)),
        Some("slow_down") => Ok(Poll::Pending(pause + SLOWER)),
        Some("expired_token") => Err(OauthError::TimedOut(life)),
        _ if answer.status.is_success() => Ok(Poll::Granted(tokens::granted(&answer, origin, secrets)?)),
        _ if answer.status.is_server_error() || answer.status == StatusCode::TOO_MANY_REQUESTS => Ok(slower),
        _ => Err(tokens::refused(&answer, origin, secrets)),
    }
}

/// Reads the answer with the code; its times are taken however the server writes them.
fn details_in(answer: &Answer) -> Result<StandardDeviceAuthorizationResponse, RenewalFault> {
    let mut fields = object(answer)?;
    // The name from before the standard, which the crate would take for the same field a second time.
    if fields.contains_key("verification_uri") {
        fields.remove("verification_url");
    }
    let seconds = |value: Option<&Value>| match value {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        _ => None,
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is positive, and what is huge is cut"
    )]
    let whole =
        |value: Option<&Value>| seconds(value).filter(|seconds| *seconds > 0.0).map(|seconds| seconds.ceil() as u64);
    let interval = whole(fields.get("interval")).unwrap_or(DEFAULT_INTERVAL).min(LONGEST_LIFE);
    let life = whole(fields.get("expires_in")).unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE);
    fields.insert("interval".into(), json!(interval));
    fields.insert("expires_in".into(), json!(life));
    let keys = keys_of(&fields);
    serde_json::from_value(fields.into()).map_err(|_| {
        answer.nonsense(format!("no usable `device_code`, `user_code` and `verification_uri` (its keys: {keys})"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::renewal::answer::tests::answer;

    const LIFE: Duration = Duration::from_mins(10);

    /// Returns the pause after this answer to a question that was asked after 5 s, or what ended the login.
    fn pause_after(status: u16, body: &str) -> Result<u64, String> {
        let pause = Duration::from_secs(5);
        match judge(Ok(answer(status, body)), pause, LIFE, "https://h", &["canary"]) {
            Ok(Poll::Pending(pause)) => Ok(pause.as_secs()),
            Ok(Poll::Granted(_)) => Err("granted".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_server_says_how_often_it_is_asked() {
        assert_eq!(pause_after(400, r#"{"error":"authorization_pending"}"#), Ok(5));
        assert_eq!(pause_after(400, r#"{"error":"slow_down"}"#), Ok(10));
        assert_eq!(pause_after(429, r#"{"error":"slow_down"}"#), Ok(10));
        assert_eq!(pause_after(200, r#"{"error":"authorization_pending"}"#), Ok(5));
        assert_eq!(pause_after(200, r#"{"error":"slow_down","interval":10}"#), Ok(10));
        for status in [429, 500, 502, 503, 504] {
            assert_eq!(pause_after(status, "<html>"), Ok(10), "{status}");
        }
        let url = url::Url::parse("http://127.0.0.1:1/").unwrap();
        for (pause, expected) in [(5, 10), (100, 120), (300, 300)] {
            let cause = reqwest::Client::new().get("http://").build().unwrap_err();
            let reply = Err(RenewalFault::of_transport(&url, cause));
            let poll = judge(reply, Duration::from_secs(pause), LIFE, "https://h", &[]);
            let Ok(Poll::Pending(after)) = poll else { panic!("the login goes on") };
            assert_eq!(after.as_secs(), expected, "after {pause} s");
        }
    }

    #[test]
    fn any_other_answer_ends_the_login() {
        for (status, body, expected) in [
            (400, r#"{"error":"access_denied"}"#, "https://h refused the login: access_denied"),
            (400, r#"{"error":"expired_token"}"#, "nobody finished the login within 600 s"),
            (401, r#"{"error":"invalid_client"}"#, "https://h refused the login: invalid_client"),
            (400, "<html>canary", "could not log in"),
            (404, "", "could not log in"),
            (200, "<html>canary", "could not log in"),
            (200, r#"{"error":"access_denied"}"#, "https://h refused the login: access_denied"),
            (200, r#"{"access_token":"a"}"#, "granted"),
            (200, r#"{"access_token":"a","error":0}"#, "granted"),
        ] {
            assert_eq!(pause_after(status, body), Err(expected.to_owned()), "{status} {body}");
        }
    }

    #[test]
    fn the_code_is_read_however_the_server_writes_it() {
        let must = r#""device_code":"canary","user_code":"A\u001bB","verification_uri":"https://h/d""#;
        for (times, interval, life) in [
            ("", 5, 600),
            (r#","interval":null,"expires_in":null"#, 5, 600),
            (r#","interval":0,"expires_in":-3"#, 5, 600),
            (r#","interval":"7","expires_in":"90""#, 7, 90),
            (r#","interval":0.5,"expires_in":1e300"#, 1, 86_400),
        ] {
            let details = details_in(&answer(200, &format!("{{{must}{times}}}"))).unwrap();
            let code = DeviceCode { details };
            assert_eq!((code.details.interval().as_secs(), code.life().as_secs()), (interval, life), "{times}");
            assert_eq!((code.user_code().as_str(), code.address().as_str()), ("AB", "https://h/d"));
        }
        let error = details_in(&answer(200, r#"{"device_code":"canary","expires_in":5}"#)).unwrap_err().to_string();
        assert!(error.contains("its keys: device_code, expires_in") && !error.contains("canary"), "{error}");
    }
}
