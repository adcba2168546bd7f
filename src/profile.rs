//! Profiles and the configuration file.
//!
//! `config.toml` in the configuration directory names, for each profile, the server, the store, and the credential. It
//! holds no secret. People may edit it; what authcli writes keeps their comments and order.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml_edit::{DocumentMut, Item, Table, value};

use crate::credential::Credential;
use crate::error::{StoreError, TokenError};
use crate::http::{AddressError, ServerUrl};
use crate::lock::LockFile;
use crate::private_fs::{self, CALL_BOUND, Durability};
use crate::store::StoreKind;
use crate::token::RandomnessMissing;
use crate::worker::Worker;

const VERSION: i64 = 1;
const LOCK_BOUND: Duration = Duration::from_secs(10);
const FILE: &str = "config.toml";
const LONGEST_NAME: usize = 64;

/// What one profile says.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The API's address.
    #[serde(default)]
    pub server: Option<String>,
    /// Who logged in last.
    #[serde(default)]
    pub username: Option<String>,
    /// Where the tokens are.
    #[serde(default)]
    pub store: Option<StoreKind>,
    /// The name of the tokens there.
    #[serde(default)]
    pub credential: Option<String>,
    /// Whether http to another machine is allowed.
    #[serde(default)]
    pub allow_http: bool,
}

/// The configuration as it stands in its directory.
#[derive(Clone, Debug)]
pub struct Configuration {
    directory: PathBuf,
    profiles: BTreeMap<String, Profile>,
}

/// What a login notes in the profile.
#[derive(Clone, Debug)]
pub struct LoginNote<'a> {
    /// The API's address.
    pub server: &'a ServerUrl,
    /// Who logged in.
    pub username: &'a str,
    /// Where the tokens are.
    pub store: StoreKind,
    /// The name of the tokens there.
    pub credential: &'a str,
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
    },
    /// The file has a value that no profile can have.
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
    #[error("{} is of version {found}; this authcli knows versions up to {VERSION}", path.display())]
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    version: Option<i64>,
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

#[derive(Deserialize)]
struct VersionAlone {
    #[serde(default)]
    version: Option<i64>,
}

impl Configuration {
    /// Reads the configuration in `directory`. None there is an empty one.
    pub fn load(directory: PathBuf) -> Result<Self, ProfileError> {
        let path = directory.join(FILE);
        let text = read_text(&path)?;
        let profiles = parse(&path, &text)?.profiles;
        Ok(Self { directory, profiles })
    }

    /// Returns the directory that everything outside the keyring lies in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the file that people may edit.
    pub fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    /// Returns the profile called `name`.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.profiles.get(name)
    }

    /// Returns all profiles by name.
    pub fn profiles(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.profiles.iter().map(|(name, profile)| (name.as_str(), profile))
    }

    /// Returns the id of the credential of profile `name`; draws and notes one where there is none, making the profile if
    /// it is new. The id outlives logins, so that all processes of a profile meet at one lock; and of two first logins at
    /// once, the second takes the id that the first has drawn.
    pub async fn claim_credential(&self, name: &str) -> Result<String, ProfileError> {
        let claim = |before: Option<&Profile>, profile: &mut Item| {
            if let Some(id) = before.and_then(|profile| profile.credential.clone()) {
                return Ok(id);
            }
            let id = Credential::random_id().map_err(ProfileError::NoRandomness)?;
            profile["credential"] = value(&id);
            Ok(id)
        };
        self.change(name, claim).await
    }

    /// Notes a login in profile `name`, and returns where its tokens were until now.
    pub async fn note_login(&self, name: &str, note: &LoginNote<'_>) -> Result<Option<StoreKind>, ProfileError> {
        let write = |before: Option<&Profile>, profile: &mut Item| {
            profile["server"] = value(note.server.to_string());
            profile["username"] = value(note.username);
            profile["store"] = value(note.store.to_string());
            profile["credential"] = value(note.credential);
            Ok(before.and_then(|profile| profile.store))
        };
        self.change(name, write).await
    }

    /// Changes profile `name` as it stands in the file by now, under the file's lock. Nothing else in the file changes.
    async fn change<T>(
        &self,
        name: &str,
        edit: impl FnOnce(Option<&Profile>, &mut Item) -> Result<T, ProfileError>,
    ) -> Result<T, ProfileError> {
        check_name(name)?;
        on_disk("create", &self.directory, private_fs::ensure_directory_exists).await?;
        let lock = LockFile::new(self.directory.join("config.lock"));
        let _held = lock.lock_within(LOCK_BOUND).await.map_err(|error| ProfileError::Lock(Arc::new(error)))?;
        let path = self.path();
        let text = on_disk("read", &path, read_text).await?;
        let before = parse(&path, &text)?;
        let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| ProfileError::BadValue {
            path: path.clone(),
            profile: name.into(),
            why: error.message().to_owned(),
        })?;
        document["version"] = value(VERSION);
        let profiles = document["profiles"].or_insert(Item::Table(implicit_table()));
        let profile = &mut profiles[name];
        let edited = edit(before.profiles.get(name), profile.or_insert(Item::Table(Table::new())))?;
        let changed = document.to_string();
        if changed != text {
            let write = move |path: &Path| {
                // People who keep the file elsewhere, and a link here, keep the link.
                let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.into());
                private_fs::replace(&target, changed.as_bytes(), Durability::Durable)
            };
            on_disk("write", &path, write).await?;
        }
        Ok(edited)
    }
}

/// Checks that `name` can name a profile.
pub fn check_name(name: &str) -> Result<(), ProfileError> {
    let fits = |character: char| character.is_ascii_alphanumeric() || ".-_".contains(character);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(fits) {
        return Err(ProfileError::BadName(name.chars().filter(|character| !character.is_control()).collect()));
    }
    Ok(())
}

/// A table without a header line of its own.
fn implicit_table() -> Table {
    let mut table = Table::new();
    table.set_implicit(true);
    table
}

fn read_text(path: &Path) -> Result<String, StoreError> {
    let failed = |cause| StoreError::File { action: "read", path: path.into(), cause: Arc::new(cause) };
    let Some(text) = private_fs::read_public(path).map_err(failed)? else {
        return Ok(String::new());
    };
    String::from_utf8(text).map_err(|_| failed(io::Error::other("it is no UTF-8")))
}

/// Does `job` with the configuration file on the thread for files: the disk may be slow or gone.
async fn on_disk<T: Send + 'static>(
    action: &'static str,
    path: &Path,
    job: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let own = path.to_owned();
    match Worker::for_files().run(CALL_BOUND, move || job(&own)).await {
        Ok(result) => result,
        Err(fault) => Err(fault.of_file(action, path)),
    }
}

fn parse(path: &Path, text: &str) -> Result<Document, ProfileError> {
    let invalid = |error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        // What the parser expected may stand on lines of its own.
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        ProfileError::Invalid { path: path.into(), line, what }
    };
    // The version first: what a newer file holds is not for this program to judge.
    let VersionAlone { version } = toml::from_str(text).map_err(invalid)?;
    if let Some(found) = version.filter(|version| *version > VERSION) {
        return Err(ProfileError::NewerVersion { path: path.into(), found });
    }
    let document: Document = toml::from_str(text).map_err(invalid)?;
    debug_assert!(document.version.is_none_or(|version| version <= VERSION));
    let mut owners = BTreeMap::new();
    for (name, profile) in &document.profiles {
        check_name(name)?;
        check_credential(path, name, profile)?;
        // A copied profile: each login of one would end the session of the other.
        if let Some(owner) = profile.credential.as_ref().and_then(|id| owners.insert(id, name)) {
            let why = format!("its `credential` is that of profile `{owner}`; remove that line");
            return Err(ProfileError::BadValue { path: path.into(), profile: name.clone(), why });
        }
    }
    Ok(document)
}

/// The id becomes part of a file name, so it must not lead out of its directory.
fn check_credential(path: &Path, name: &str, profile: &Profile) -> Result<(), ProfileError> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    match &profile.credential {
        Some(id) if id.is_empty() || id.len() > LONGEST_NAME || !id.chars().all(fits) => {
            Err(ProfileError::BadValue { path: path.into(), profile: name.into(), why: "`credential` is no id".into() })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
