//! The keys that sign access tokens: Ed25519, made at the first start, sealed in the database under the pepper.
//!
//! The newest key signs, all of them verify. They are read once, at the start.

mod verified;

use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use self::verified::{TokenDigest, VerifiedTokens};
use crate::domain::{AccessTokenError, KeyId, MAX_ACCESS_TOKEN_BYTES, SigningKey, VerifiedToken, VerifyingKeys};
use crate::pepper::Pepper;
use crate::ports::{KeyStore, SealedKey, StoreError};
use crate::random;

/// What signs and verifies access tokens.
pub struct TokenKeys {
    /// Signs new ones.
    pub signing: SigningKey,
    /// Verify those that clients bring.
    verifying: VerifyingKeys,
    /// What they have verified.
    verified: VerifiedTokens,
}

/// Why there are no keys to work with.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The database did not answer.
    #[error("could not read the signing keys")]
    Store(#[from] StoreError),
    /// A new key could not be made or sealed.
    #[error("could not make a signing key")]
    Generation(#[from] Unspecified),
    /// A key does not open under the pepper, or what opens is no key.
    #[error("the signing key `{}` is damaged", .0.0)]
    Damaged(KeyId),
}

impl TokenKeys {
    /// Loads the keys of this database; makes the first one if there is none.
    pub async fn load(pepper: &Pepper, store: &dyn KeyStore) -> Result<Self, KeyError> {
        let mut sealed = store.signing_keys().await?;
        if sealed.is_empty() {
            store.add_first_signing_key(&new_key(pepper)?).await?;
            // Read back: another process may have been faster, and then its key is the first.
            sealed = store.signing_keys().await?;
        }
        let mut verifying = VerifyingKeys::default();
        let mut newest = None;
        for key in sealed {
            let damaged = || KeyError::Damaged(key.id.clone());
            let pkcs8 = pepper.open(&label(&key.id), &key.sealed).map_err(|_| damaged())?;
            let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_: KeyRejected| damaged())?;
            verifying.insert(key.id.clone(), pair.public_key().as_ref());
            newest.get_or_insert_with(|| SigningKey::from_pkcs8(key.id.clone(), &pkcs8));
        }
        let signing = newest.ok_or(KeyError::Generation(Unspecified))?;
        Ok(Self { signing, verifying, verified: VerifiedTokens::new() })
    }

    /// Returns what a genuine token says. Its expiry is still to be checked.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, AccessTokenError> {
        if token.len() > MAX_ACCESS_TOKEN_BYTES {
            return Err(AccessTokenError::TooLong);
        }
        let digest = TokenDigest::of(token);
        if let Some(verified) = self.verified.get(&digest) {
            return Ok(verified);
        }
        let verified = self.verifying.verify(token)?;
        self.verified.insert(digest, verified);
        Ok(verified)
    }
}

fn new_key(pepper: &Pepper) -> Result<SealedKey, Unspecified> {
    let id = KeyId(random::word::<9>());
    let pkcs8 = Ed25519KeyPair::generate()?.to_pkcs8v1()?;
    let sealed = pepper.seal(&label(&id), pkcs8.as_ref())?;
    Ok(SealedKey { id, sealed, pepper_id: pepper.id() })
}

/// Binds a sealed key to its name, so that rows cannot be swapped.
fn label(id: &KeyId) -> String {
    format!("signing key {}", id.0)
}
