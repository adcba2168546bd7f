//! The rules, as pure code: no I/O, no clock, no database.
//!
//! Whatever a rule needs to know (the time, the row, the key) is handed in, so each of them is tested as a table or by
//! properties, and the store only has to be atomic, not clever.

mod access_token;
mod attempt_key;
mod bearer;
mod key_schedule;
mod lifetimes;
mod refresh_token;
mod rotation;
mod throttle;
mod user;

pub use access_token::{
    AccessClaims, AccessTokenError, KeyId, MAX_ACCESS_TOKEN_BYTES, SigningKey, VerifiedToken, VerifyingKeys,
    key_named_by,
};
pub use attempt_key::{AttemptHash, AttemptKey};
pub use bearer::{Credentials, parse_authorization};
pub use key_schedule::{ANNOUNCEMENT, JWKS_MAX_AGE, KEY_LIST_MAX_AGE, KeyPhase, KeyTimes};
pub(crate) use lifetimes::whole_millis;
pub use lifetimes::{Lifetimes, Seconds, UnixMillis};
pub use refresh_token::{
    Generation, MalformedRefreshToken, PresentedRefreshToken, RefreshToken, SessionId, SessionKey,
};
pub use rotation::{Ended, RotationDecision, SessionState, decide};
pub use throttle::{Bucket, ClientNetwork, Counted, KNOWN_ADDRESS_LIFE, Limit, Subject, Subjects, ThrottleKey, wait};
pub use user::{InvalidPassword, InvalidUsername, Password, UserId, Username};
