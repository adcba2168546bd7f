//! The two users of `serve --demo`. Everybody knows their passwords, so they get a server that only this machine can
//! reach and a database that nobody else uses.

use std::net::SocketAddr;

use crate::domain::{InvalidUsername, Password, UserId, Username};
use crate::password::{PasswordError, Passwords};
use crate::ports::{Store, StoreError};

/// Their numbers, names and passwords.
pub const USERS: [(i64, &str, &str); 2] = [(1, "admin", "123456"), (2, "user2", "password2")];

/// Why there is no demonstration.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Others could log in with passwords that everybody knows.
    #[error("`--demo` serves this machine alone, and {0} is not a loopback address")]
    NotLoopback(SocketAddr),
    /// The database is in real use.
    #[error("`--demo` refuses a database that already has other users")]
    OtherUsers,
    /// A server was started on it that was no demonstration.
    #[error("`--demo` refuses a database that other servers use")]
    OtherServers,
    /// The database was used for a demonstration, and now others could log in.
    #[error("the user `{0}` has the password of the demonstration, which everybody knows")]
    KnownPassword(&'static str),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The database did not answer.
    #[error("could not add the users of the demonstration")]
    Store(#[from] StoreError),
    /// Never, unless the names above are changed.
    #[error(transparent)]
    Username(#[from] InvalidUsername),
}

impl DemoError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotLoopback(_) => Some("listen on 127.0.0.1, or leave `--demo` away".to_owned()),
            Self::OtherUsers | Self::OtherServers => {
                Some("leave `--database` away for a throw-away one, or leave `--demo` away".to_owned())
            }
            Self::KnownPassword(name) => Some(format!(
                "set another with `authcli-server user password {name} --password-stdin`, or remove the user"
            )),
            Self::Password(_) | Self::Store(_) | Self::Username(_) => None,
        }
    }
}

/// Refuses addresses that other machines can reach.
pub fn check_addresses(addresses: &[SocketAddr]) -> Result<(), DemoError> {
    match addresses.iter().find(|address| !address.ip().to_canonical().is_loopback()) {
        Some(address) => Err(DemoError::NotLoopback(*address)),
        None => Ok(()),
    }
}

/// Makes sure that the users of the demonstration are there, and nobody else.
///
/// They are also what tells a demonstration's database from others: a server has been started on whatever has a pepper,
/// and if these users are not there, they must not be added behind its back.
pub async fn add_users(store: &dyn Store, passwords: &Passwords) -> Result<(), DemoError> {
    let present = store.users().await?;
    let expected = |id: UserId, name: &str| USERS.iter().any(|user| (user.0, user.1) == (id.0, name));
    if present.iter().any(|user| !user.enabled || !expected(user.id, &user.name)) {
        return Err(DemoError::OtherUsers);
    }
    if present.len() < USERS.len() && !store.known_peppers().await?.is_empty() {
        return Err(DemoError::OtherServers);
    }
    for (id, name, password) in USERS {
        let name = Username::parse(name)?;
        let password = Password::presented(password.to_owned());
        if let Some(stored) = store.login(&name).await? {
            // Somebody's own `admin` with a password of its own is no user of ours.
            if !passwords.verify(password, Some(stored.password_hash)).await? {
                return Err(DemoError::OtherUsers);
            }
        } else {
            let hash = passwords.hash(password).await?;
            // None: a second demonstration on this database was faster, and has added the same.
            store.add_user(&name, &hash, Some(UserId(id))).await?;
        }
    }
    Ok(())
}

/// Refuses a database in which this user of the demonstration still has the password that everybody knows.
pub async fn refuse_known_password(
    name: &'static str,
    known: &str,
    store: &dyn Store,
    passwords: &Passwords,
) -> Result<(), DemoError> {
    let Some(stored) = store.login(&Username::parse(name)?).await? else { return Ok(()) };
    if passwords.verify(Password::presented(known.to_owned()), Some(stored.password_hash)).await? {
        return Err(DemoError::KnownPassword(name));
    }
    Ok(())
}
