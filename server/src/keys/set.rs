//! The keys of one list, opened: what signs, what verifies, what is published.

use std::sync::Arc;

use aws_lc_rs::error::{KeyRejected, Unspecified};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Serialize;

use super::verified::{TokenDigest, VerifiedTokens};
use super::{KeyError, UnusableKey, VerifyError, label};
use crate::domain::{
    AccessTokenError, KeyId, KeyPhase, KeyTimes, MAX_ACCESS_TOKEN_BYTES, SigningKey, UnixMillis, VerifiedToken,
    VerifyingKeys, key_named_by,
};
use crate::pepper::Peppers;
use crate::ports::{KeyList, ScheduledKey, SealedKey};

/// The living keys of a list.
pub(super) struct KeySet {
    /// The database's clock when the list was read.
    listed_at: UnixMillis,
    times: Vec<KeyTimes>,
    /// As many as there are times. What cannot be opened has its turn all the same, for other servers.
    keys: Vec<Result<SigningKey, UnusableKey>>,
    verifying: VerifyingKeys,
    /// What these keys have verified. A key that goes takes along what it verified.
    verified: Arc<VerifiedTokens>,
    jwks: String,
}

impl KeySet {
    /// Opens the keys of a list that are not dead, as far as that can be done. What `former` has verified is kept if all its keys are still there.
    pub(super) fn open(list: &KeyList, peppers: &Peppers, former: Option<&KeySet>) -> Result<Self, KeyError> {
        let mut set = KeySet {
            listed_at: list.now,
            times: Vec::new(),
            keys: Vec::new(),
            verifying: VerifyingKeys::default(),
            verified: Arc::default(),
            jwks: String::new(),
        };
        let mut public = Vec::new();
        for ScheduledKey { key, times } in living(list) {
            let opened = open(key, peppers).map(|(signing, pair)| {
                set.verifying.insert(key.id.clone(), pair.public_key().as_ref());
                public.push(PublicKey::new(&key.id, pair.public_key().as_ref()));
                signing
            });
            set.keys.push(opened);
            set.times.push(*times);
        }
        set.jwks = serde_json::to_string(&PublicKeys { keys: public }).map_err(|_| KeyError::Unpublishable)?;
        if let Some(former) = former.filter(|former| former.ids().all(|id| set.has(id))) {
            set.verified = Arc::clone(&former.verified);
        }
        Ok(set)
    }

    /// Returns whether a list says no more than what this set was made from.
    pub(super) fn is_of(&self, list: &KeyList) -> bool {
        let same = |(at, listed): (usize, &ScheduledKey)| {
            self.times.get(at) == Some(&listed.times) && id(&self.keys[at]) == &listed.key.id
        };
        living(list).count() == self.times.len() && living(list).enumerate().all(same)
    }

    /// Returns the same keys, listed again.
    pub(super) fn listed_again(&self, now: UnixMillis) -> Self {
        Self {
            listed_at: now,
            times: self.times.clone(),
            keys: self.keys.clone(),
            verifying: self.verifying.clone(),
            verified: Arc::clone(&self.verified),
            jwks: self.jwks.clone(),
        }
    }

    /// Returns the database's clock when the list was read.
    pub(super) fn listed_at(&self) -> UnixMillis {
        self.listed_at
    }

    /// Returns the key that signs at `now`.
    pub(super) fn signer(&self, now: UnixMillis) -> Result<&SigningKey, KeyError> {
        let at = KeyTimes::signing(&self.times, now).ok_or(KeyError::Generation(Unspecified))?;
        self.keys[at].as_ref().map_err(|unusable| unusable.clone().into())
    }

    /// Returns what a genuine token says.
    pub(super) fn verify(&self, token: &str) -> Result<VerifiedToken, VerifyError> {
        // Before it is hashed, too.
        if token.len() > MAX_ACCESS_TOKEN_BYTES {
            return Err(AccessTokenError::TooLong.into());
        }
        let digest = TokenDigest::of(token);
        if let Some(verified) = self.verified.get(&digest) {
            return Ok(verified);
        }
        let verified = self.verifying.verify(token).map_err(|error| match error {
            // Perhaps genuine: to refuse it would cost the client a good session.
            AccessTokenError::UnknownKey => self.unusable_of(token).map_or(error.into(), VerifyError::Keys),
            error => VerifyError::Refused(error),
        })?;
        self.verified.insert(digest, verified);
        Ok(verified)
    }

    /// Returns the public keys as [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517) writes them.
    pub(super) fn jwks(&self) -> &str {
        &self.jwks
    }

    /// Returns what these keys have verified.
    #[cfg(test)]
    pub(super) fn verified(&self) -> &Arc<VerifiedTokens> {
        &self.verified
    }

    /// Returns the names of the keys that can be used.
    pub(super) fn ids(&self) -> impl Iterator<Item = &KeyId> {
        self.keys.iter().flatten().map(SigningKey::id)
    }

    /// Returns why others cannot.
    pub(super) fn unusable(&self) -> impl Iterator<Item = &UnusableKey> {
        self.keys.iter().filter_map(|key| key.as_ref().err())
    }

    fn unusable_of(&self, token: &str) -> Option<KeyError> {
        // Nearly always there is none, and nothing to read twice.
        self.unusable().next()?;
        let named = key_named_by(token)?;
        let key = self.keys.iter().find(|key| id(key) == &named)?;
        key.as_ref().err().cloned().map(KeyError::from)
    }

    /// Returns whether there is a key of this name that can be used.
    pub(super) fn has(&self, id: &KeyId) -> bool {
        self.ids().any(|one| one == id)
    }
}

fn open(key: &SealedKey, peppers: &Peppers) -> Result<(SigningKey, Ed25519KeyPair), UnusableKey> {
    let damaged = || UnusableKey::Damaged(key.id.clone());
    let opened = peppers.open(key.pepper_id, &label(&key.id), &key.sealed);
    let opened = opened.ok_or_else(|| UnusableKey::OtherPepper(key.id.clone(), key.pepper_id))?;
    let pkcs8 = opened.map_err(|_| damaged())?;
    let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_: KeyRejected| damaged())?;
    Ok((SigningKey::from_pkcs8(key.id.clone(), &pkcs8), pair))
}

fn id(key: &Result<SigningKey, UnusableKey>) -> &KeyId {
    match key {
        Ok(key) => key.id(),
        Err(UnusableKey::Damaged(id) | UnusableKey::OtherPepper(id, _)) => id,
    }
}

/// Returns the keys of a list that are not dead.
fn living(list: &KeyList) -> impl Iterator<Item = &ScheduledKey> {
    let phases = super::phases(list);
    list.keys.iter().zip(phases).filter(|(_, phase)| *phase != KeyPhase::Dead).map(|(key, _)| key)
}

#[derive(Serialize)]
struct PublicKeys {
    keys: Vec<PublicKey>,
}

/// A public key by [RFC 8037 section 2](https://www.rfc-editor.org/rfc/rfc8037#section-2).
#[derive(Serialize)]
struct PublicKey {
    kty: &'static str,
    crv: &'static str,
    x: String,
    kid: String,
    #[serde(rename = "use")]
    purpose: &'static str,
    alg: &'static str,
}

impl PublicKey {
    fn new(id: &KeyId, raw: &[u8]) -> Self {
        let x = URL_SAFE_NO_PAD.encode(raw);
        Self { kty: "OKP", crv: "Ed25519", x, kid: id.0.clone(), purpose: "sig", alg: "EdDSA" }
    }
}
