//! One pepper, and the keys that are made of it.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hkdf, hmac};
use secrecy::{ExposeSecret as _, SecretSlice};
use zeroize::Zeroizing;

use crate::domain::SessionKey;

/// A pepper.
pub(super) struct Pepper(pub(super) SecretSlice<u8>);

impl Pepper {
    /// Returns the keys of the session whose row holds `salt`.
    pub(super) fn session_key(&self, salt: &[u8]) -> SessionKey {
        SessionKey::derive(self.0.expose_secret(), salt)
    }

    /// Returns the key under which failed logins are counted where this is a database's first pepper.
    pub(super) fn first_throttle_key(&self) -> Zeroizing<[u8; 32]> {
        derive(self.0.expose_secret(), b"authcli-server throttle key v1")
    }

    /// Returns what recognises it, and tells nothing of it.
    pub(super) fn check_value(&self) -> Vec<u8> {
        let key = derive(self.0.expose_secret(), b"authcli-server pepper check v1");
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
        hmac::sign(&key, b"this pepper").as_ref().to_vec()
    }

    /// Encrypts `secret` so that only this pepper opens it, and only under the same `label`.
    pub(super) fn seal(&self, label: &str, secret: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut sealed = secret.to_vec();
        let nonce = self.sealing_key()?.seal_in_place_append_tag(Aad::from(label), &mut sealed)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts what [`seal`](Self::seal) returned.
    pub(super) fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let (nonce, sealed) = sealed.split_first_chunk::<{ aws_lc_rs::aead::NONCE_LEN }>().ok_or(Unspecified)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length = self.sealing_key()?.open_in_place(nonce.into(), Aad::from(label), &mut plain)?.len();
        plain.truncate(length);
        Ok(plain)
    }

    fn sealing_key(&self) -> Result<RandomizedNonceKey, Unspecified> {
        let key = derive(self.0.expose_secret(), b"authcli-server sealing key v1");
        RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pepper(..)")
    }
}

fn derive(pepper: &[u8], purpose: &[u8]) -> Zeroizing<[u8; 32]> {
    let mut key = Zeroizing::new([0; 32]);
    #[expect(clippy::expect_used, reason = "HKDF fails only beyond 255 blocks; this asks for one")]
    hkdf::Salt::new(hkdf::HKDF_SHA256, &[])
        .extract(pepper)
        .expand(&[purpose], hkdf::HKDF_SHA256)
        .and_then(|okm| okm.fill(key.as_mut_slice()))
        .expect("one block of output");
    key
}
