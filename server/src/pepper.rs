//! The pepper: the one secret that is not in the database.
//!
//! - All keys come from it: those of refresh tokens (with the session's salt) and the one that seals signing keys. A copy
//!   of the database alone makes no token.
//! - It lies in a file of its owner's alone, made at the first start, or comes from the environment.
//! - A database belongs to one pepper and recognises it; with another one the server refuses to start, instead of
//!   refusing every session it ever opened.

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hkdf, hmac};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use zeroize::{Zeroize as _, Zeroizing};

use crate::domain::{SessionKey, ThrottleKey};
use crate::ports::{KeyStore, PepperId, StoreError};
use crate::random;

const BYTES: usize = 32;
/// No pepper fills a longer file.
const LONGEST_FILE: u64 = 4096;

/// Where the pepper comes from.
#[derive(Clone, Debug)]
pub enum PepperSource {
    /// A file with one line of base64.
    File(PathBuf),
    /// Base64 from the environment.
    Given(SecretString),
}

impl PepperSource {
    /// Returns the file beside `database`.
    pub fn beside(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push(".pepper");
        Self::File(PathBuf::from(name))
    }
}

/// Why there is no pepper to work with.
#[derive(Debug, thiserror::Error)]
pub enum PepperError {
    /// The database has sessions and keys that nobody can use without it.
    #[error("the pepper of this database is missing: there is no {}", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read or made.
    #[error("could not read or make the pepper file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Others may read it.
    #[error("the pepper file {} can be read by others", .0.display())]
    Exposed(PathBuf),
    /// Not base64, or too short to be a key.
    #[error("the pepper from {0} is not base64 of at least {BYTES} bytes")]
    Unusable(String),
    /// It is not the one that this database was made with.
    #[error("the pepper does not belong to this database")]
    Mismatch,
    /// The database did not answer.
    #[error("could not read the database")]
    Store(#[from] StoreError),
}

impl PepperError {
    /// Returns what the operator can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing(_) | Self::Mismatch => {
                Some("restore the pepper file that lay beside the database, or set AUTHCLI_SERVER_PEPPER".to_owned())
            }
            Self::Exposed(path) => Some(format!("chmod 600 {}", path.display())),
            Self::Unusable(_) => Some("`openssl rand -base64 32` makes one".to_owned()),
            Self::File { .. } | Self::Store(_) => None,
        }
    }
}

/// A pepper that belongs to the database it was loaded for.
pub struct Pepper {
    id: PepperId,
    secret: SecretSlice<u8>,
}

impl Pepper {
    /// Loads the pepper of this database; binds the database to it if it has none yet.
    pub async fn load(source: &PepperSource, store: &dyn KeyStore) -> Result<Self, PepperError> {
        let known = store.known_pepper().await?;
        let secret = match source {
            PepperSource::Given(text) => decode(text, "AUTHCLI_SERVER_PEPPER")?,
            PepperSource::File(path) => match (read_file(path)?, &known) {
                (Some(secret), _) => secret,
                (None, Some(_)) => return Err(PepperError::Missing(path.clone())),
                (None, None) => make_file(path)?,
            },
        };
        let check_value = check_value(&secret);
        let known = match known {
            Some(known) => known,
            None => store.bind_pepper(&check_value).await?,
        };
        if known.check_value == check_value { Ok(Self { id: known.id, secret }) } else { Err(PepperError::Mismatch) }
    }

    /// Returns the number under which the database knows it.
    pub fn id(&self) -> PepperId {
        self.id
    }

    /// Returns the keys of the session whose row holds `salt`.
    pub fn session_key(&self, salt: &[u8]) -> SessionKey {
        SessionKey::derive(self.secret.expose_secret(), salt)
    }

    /// Returns the key under which failed logins are counted.
    pub fn throttle_key(&self) -> ThrottleKey {
        ThrottleKey::new(derive(self.secret.expose_secret(), b"authcli-server throttle key v1").as_slice())
    }

    /// Encrypts `secret` so that only this pepper opens it, and only under the same `label`.
    pub fn seal(&self, label: &str, secret: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut sealed = secret.to_vec();
        let nonce = self.sealing_key()?.seal_in_place_append_tag(Aad::from(label), &mut sealed)?;
        Ok([nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Decrypts what [`seal`](Self::seal) returned.
    pub fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unspecified> {
        let (nonce, sealed) = sealed.split_first_chunk::<{ aws_lc_rs::aead::NONCE_LEN }>().ok_or(Unspecified)?;
        let mut plain = Zeroizing::new(sealed.to_vec());
        let length = self.sealing_key()?.open_in_place(nonce.into(), Aad::from(label), &mut plain)?.len();
        plain.truncate(length);
        Ok(plain)
    }

    fn sealing_key(&self) -> Result<RandomizedNonceKey, Unspecified> {
        let key = derive(self.secret.expose_secret(), b"authcli-server sealing key v1");
        RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())
    }
}

impl fmt::Debug for Pepper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pepper").field("id", &self.id).finish_non_exhaustive()
    }
}

fn check_value(secret: &SecretSlice<u8>) -> Vec<u8> {
    let key = derive(secret.expose_secret(), b"authcli-server pepper check v1");
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_slice());
    hmac::sign(&key, b"this pepper").as_ref().to_vec()
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

fn decode(text: &SecretString, origin: &str) -> Result<SecretSlice<u8>, PepperError> {
    match STANDARD.decode(text.expose_secret().trim()) {
        Ok(bytes) if bytes.len() >= BYTES => Ok(SecretSlice::from(bytes)),
        Ok(mut bytes) => {
            bytes.zeroize();
            Err(PepperError::Unusable(origin.to_owned()))
        }
        Err(_) => Err(PepperError::Unusable(origin.to_owned())),
    }
}

fn read_file(path: &Path) -> Result<Option<SecretSlice<u8>>, PepperError> {
    let failed = |source| PepperError::File { path: path.to_owned(), source };
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed(source)),
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        // Of the open file: the one at the path may be another by now.
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(PepperError::Exposed(path.to_owned()));
        }
    }
    let origin = || path.display().to_string();
    let mut text = Zeroizing::new(Vec::new());
    // One byte more than fits is enough to know.
    (&mut file).take(LONGEST_FILE + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(PepperError::Unusable(origin()));
    }
    let text = std::str::from_utf8(&text).map_err(|_| PepperError::Unusable(origin()))?;
    decode(&SecretString::from(text), &origin()).map(Some)
}

/// Makes the file whole or not at all; if another process made it first, that one counts.
fn make_file(path: &Path) -> Result<SecretSlice<u8>, PepperError> {
    let failed = |source| PepperError::File { path: path.to_owned(), source };
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let text = Zeroizing::new(STANDARD.encode(random::bytes::<BYTES>()) + "\n");
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error.error)),
    }
    // On the disk before any row depends on it.
    #[cfg(unix)]
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    read_file(path)?.ok_or_else(|| PepperError::Missing(path.to_owned()))
}

#[cfg(test)]
mod tests;
