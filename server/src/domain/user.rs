//! Users: what may be a name, what may be a password.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

/// The number of a user; never given to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A user's name: 1 to 64 characters, none of them a control character, no space at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Username(String);

/// Why a text is no user name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsername {
    /// Too short or too long.
    #[error("a user name has 1 to {} characters", Username::LONGEST)]
    Length,
    /// A line break, an escape or the like.
    #[error("a user name holds no control characters")]
    ControlCharacter,
    /// It could not be told from the name without them.
    #[error("a user name does not begin or end with a space")]
    OuterSpace,
}

impl Username {
    const LONGEST: usize = 64;

    /// Returns the name that `text` is.
    pub fn parse(text: &str) -> Result<Self, InvalidUsername> {
        if !(1..=Self::LONGEST).contains(&text.chars().count()) {
            return Err(InvalidUsername::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidUsername::ControlCharacter);
        }
        if text.trim() != text {
            return Err(InvalidUsername::OuterSpace);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A password as somebody typed it; wiped when dropped, never shown.
#[derive(Clone, Debug)]
pub struct Password(SecretString);

/// Why a text cannot become somebody's password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPassword {
    /// Nothing was given.
    #[error("the password is empty")]
    Empty,
    /// More than anybody types, and each byte is hashed.
    #[error("the password is longer than {} bytes", Password::LONGEST)]
    TooLong,
}

impl Password {
    /// The size that no password exceeds.
    pub const LONGEST: usize = 1024;

    /// Returns a password to compare: any text at all.
    pub fn presented(text: String) -> Self {
        Self(SecretString::from(text))
    }

    /// Returns a password to set.
    pub fn chosen(text: String) -> Result<Self, InvalidPassword> {
        let password = Self::presented(text);
        match password.as_bytes().len() {
            0 => Err(InvalidPassword::Empty),
            1..=Self::LONGEST => Ok(password),
            _ => Err(InvalidPassword::TooLong),
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.expose_secret().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_words() {
        assert!(Username::parse("admin").is_ok());
        assert!(Username::parse("名前 two").is_ok());
        assert!(Username::parse(&"ü".repeat(64)).is_ok());
        assert_eq!(Username::parse(""), Err(InvalidUsername::Length));
        assert_eq!(Username::parse(&"u".repeat(65)), Err(InvalidUsername::Length));
        assert_eq!(Username::parse("a\nb"), Err(InvalidUsername::ControlCharacter));
        assert_eq!(Username::parse(" a"), Err(InvalidUsername::OuterSpace));
    }

    #[test]
    fn a_password_is_neither_empty_nor_shown() {
        assert_eq!(Password::chosen(String::new()).unwrap_err(), InvalidPassword::Empty);
        assert_eq!(Password::chosen("p".repeat(1025)).unwrap_err(), InvalidPassword::TooLong);
        let password = Password::chosen("canary".to_owned()).unwrap();
        assert!(!format!("{password:?}").contains("canary"));
    }
}
