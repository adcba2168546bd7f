//! Profiles and the configuration file.
//!
//! `config.toml` in the configuration directory says, for each profile, what is listed in [`SETTINGS`]: the server, the
//! store, the credential and what else a person decides. It holds no token; the constants of a JSON API may be secrets, and
//! are in no message and no `Debug`.
//!
//! - The file is people's: what authcli writes keeps their comments and their order, and nothing else in it changes.
//! - A key that nobody knows, or a value that cannot be meant, is refused with its line, never ignored: a misspelt
//!   `allow_http` must not count for nothing.
//! - A file of a newer version is refused, never guessed at and never overwritten.

mod file;
mod list;
mod oauth;
mod settings;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

pub use self::file::{Configuration, Edit, LoginNote};
pub use self::list::SETTINGS;
pub use self::oauth::OauthProfile;
pub use self::settings::{Form, Setting, Writer};
use crate::error::{StoreError, TokenError};
use crate::http::AddressError;
use crate::renewal::ApiShape;
use crate::store::StoreKind;
use crate::text::printable;
use crate::token::RandomnessMissing;

const LONGEST_NAME: usize = 64;

/// What one profile says. A field here has its entry in [`SETTINGS`], which tells what may stand there; a table below the
/// profile (`[profiles.NAME.TABLE]`) is a struct of its own in an `Option`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Profile {
    /// The API's address.
    pub server: Option<String>,
    /// Who logged in last.
    pub username: Option<String>,
    /// Where the tokens are.
    pub store: Option<StoreKind>,
    /// The name of the tokens there.
    pub credential: Option<String>,
    /// Whether http to another machine is allowed.
    pub allow_http: bool,
    /// A file of the certificate authorities to trust, instead of the system's.
    pub cacert: Option<PathBuf>,
    /// What its JSON API looks like.
    pub api: Option<ApiShape>,
    /// The authorization server that tokens are had from.
    pub oauth: Option<OauthProfile>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file is not what it should be. Mend it by hand.
    #[error("{}: line {line}: {what}", path.display())]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where in it, counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// The file says something that the rest of it forbids.
    #[error("{}: profile `{profile}`: {why}", path.display())]
    BadValue {
        /// Which file.
        path: PathBuf,
        /// Which profile.
        profile: String,
        /// What is wrong.
        why: String,
    },
    /// A newer authcli wrote the file.
    #[error("{} is of version {found}; this authcli knows versions up to {}", path.display(), file::VERSION)]
    NewerVersion {
        /// Which file.
        path: PathBuf,
        /// Its version.
        found: i64,
    },
    /// There is no such profile.
    #[error("there is no profile `{0}`")]
    Unknown(String),
    /// The text cannot name a profile.
    #[error("`{0}` cannot name a profile: use up to {LONGEST_NAME} letters, digits, `.`, `-` and `_`")]
    BadName(String),
    /// No profile has such a setting.
    #[error("there is no setting `{key}`")]
    UnknownSetting {
        /// What was asked for.
        key: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// A setting cannot have that value.
    #[error("`{key}` {why}")]
    BadSetting {
        /// Which setting.
        key: &'static str,
        /// What may stand there.
        why: String,
        /// What was probably meant.
        meant: Option<&'static str>,
    },
    /// The address in the profile is not usable.
    #[error("profile `{profile}` has no usable server address")]
    Address {
        /// Which profile.
        profile: String,
        /// What is wrong with it.
        #[source]
        cause: AddressError,
    },
    /// The file could not be read or written.
    #[error(transparent)]
    File(#[from] StoreError),
    /// No id could be drawn for a new credential.
    #[error(transparent)]
    NoRandomness(RandomnessMissing),
    /// The lock around changes of the file could not be had.
    #[error("could not change the configuration")]
    Lock(#[source] Arc<TokenError>),
}

/// Checks that `name` can name a profile.
pub fn check_name(name: &str) -> Result<(), ProfileError> {
    let fits = |character: char| character.is_ascii_alphanumeric() || ".-_".contains(character);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
        return Err(ProfileError::BadName(printable(name)));
    }
    Ok(())
}
