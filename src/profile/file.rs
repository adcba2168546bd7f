//! `config.toml`: read and checked as a whole, and changed under its lock.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use toml_edit::{Document, DocumentMut, Item, Table, TableLike, Value, value};

use super::settings::{self, Form, Setting};
use super::{Profile, ProfileError, SETTINGS, check_name};
use crate::credential::Credential;
use crate::error::StoreError;
use crate::http::ServerUrl;
use crate::lock::LockFile;
use crate::private_fs::{self, CALL_BOUND, Durability};
use crate::renewal::ApiShape;
use crate::store::StoreKind;
use crate::text::printable;
use crate::worker::Worker;

pub(super) const VERSION: i64 = 1;
const LOCK_BOUND: Duration = Duration::from_secs(10);
const FILE: &str = "config.toml";
const LOCK: &str = "config.lock";

const VERSION_KEY: &str = "version";
const CHOSEN_KEY: &str = "default_profile";
const PROFILES_KEY: &str = "profiles";

/// The configuration as it stands in its directory.
#[derive(Clone)]
pub struct Configuration {
    directory: PathBuf,
    file: File,
    /// The text that it was read from.
    text: String,
}

/// What a login notes in the profile.
#[derive(Clone, Debug)]
pub struct LoginNote<'a> {
    /// The API's address.
    pub server: &'a ServerUrl,
    /// Who logged in, where the name is known.
    pub username: Option<&'a str>,
    /// Where the tokens are.
    pub store: StoreKind,
    /// The name of the tokens there.
    pub credential: &'a str,
    /// What else the login decided, by the keys of [`SETTINGS`] and as typed; `None` takes the setting away.
    pub settings: &'a [(&'static str, Option<String>)],
}

/// What the file says.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    version: Option<i64>,
    default_profile: Option<String>,
    profiles: BTreeMap<String, Profile>,
}

/// The file as it stands by now, to be changed.
pub struct Edit<'a> {
    before: &'a File,
    document: DocumentMut,
}

impl fmt::Debug for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The text may hold constants of an API, which may be secrets.
        formatter.debug_struct("Configuration").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl Configuration {
    /// Reads the configuration in `directory`. None there is an empty one.
    pub fn load(directory: PathBuf) -> Result<Self, ProfileError> {
        let path = directory.join(FILE);
        let text = read_text(&path)?;
        Ok(Self { directory, file: read(&path, &text)?, text })
    }

    /// Returns the file in `directory` that people may edit.
    pub fn path_in(directory: &Path) -> PathBuf {
        directory.join(FILE)
    }

    /// Returns the directory that everything outside the keyring lies in.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the file that people may edit.
    pub fn path(&self) -> PathBuf {
        Self::path_in(&self.directory)
    }

    /// Returns the profile called `name`.
    pub fn profile(&self, name: &str) -> Option<&Profile> {
        self.file.profiles.get(name)
    }

    /// Returns all profiles by name.
    pub fn profiles(&self) -> impl Iterator<Item = (&str, &Profile)> {
        self.file.profiles.iter().map(|(name, profile)| (name.as_str(), profile))
    }

    /// Returns the name of the profile that a person chose for when none is named.
    pub fn default_profile(&self) -> Option<&str> {
        self.file.default_profile.as_deref()
    }

    /// Returns what profile `name` says, in the order of [`SETTINGS`]: `None` where it is silent.
    pub fn settings(&self, name: &str) -> Vec<(&'static Setting, Option<Value>)> {
        let document = Document::parse(self.text.as_str()).ok();
        let profile = document
            .as_ref()
            .and_then(|document| document.get(PROFILES_KEY)?.as_table_like()?.get(name)?.as_table_like());
        let said = |setting: &Setting| setting.of(profile?);
        SETTINGS.iter().map(|setting| (setting, said(setting))).collect()
    }

    /// Returns the id of the credential of profile `name`; draws and notes one where there is none, making the profile if
    /// it is new. The id outlives logins, so that all processes of a profile meet at one lock; and of two first logins at
    /// once, the second takes the id that the first has drawn.
    pub async fn claim_credential(&self, name: &str) -> Result<String, ProfileError> {
        let claim = |edit: &mut Edit<'_>| {
            if let Some(id) = edit.before(name).and_then(|profile| profile.credential.clone()) {
                return Ok(id);
            }
            let id = Credential::random_id().map_err(ProfileError::NoRandomness)?;
            edit.set(name, "credential", Some(&id))?;
            Ok(id)
        };
        self.change(claim).await
    }

    /// Notes a login in profile `name`, and returns where its tokens were until now.
    pub async fn note_login(&self, name: &str, note: &LoginNote<'_>) -> Result<Option<StoreKind>, ProfileError> {
        let write = |edit: &mut Edit<'_>| {
            edit.set(name, "server", Some(&note.server.to_string()))?;
            edit.set(name, "username", note.username)?;
            edit.set(name, "store", Some(&note.store.to_string()))?;
            edit.set(name, "credential", Some(note.credential))?;
            for (key, text) in note.settings {
                edit.set(name, key, text.as_deref())?;
            }
            Ok(edit.before(name).and_then(|profile| profile.store))
        };
        self.change(write).await
    }

    /// Changes the file as it stands by now, under its lock; nothing in it changes but what `edit` changes.
    pub async fn change<T>(
        &self,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, ProfileError>,
    ) -> Result<T, ProfileError> {
        on_disk("create", &self.directory, private_fs::ensure_directory_exists).await?;
        let lock = LockFile::new(self.directory.join(LOCK));
        let _held = lock.lock_within(LOCK_BOUND).await.map_err(|error| ProfileError::Lock(Arc::new(error)))?;
        let path = self.path();
        let text = on_disk("read", &path, read_text).await?;
        let before = read(&path, &text)?;
        let document = text.parse().map_err(|error| not_toml(&path, &text, &error))?;
        let mut change = Edit { before: &before, document };
        change.note_version();
        let edited = edit(&mut change)?;
        let changed = change.document.to_string();
        // What this program would refuse to read, it does not write.
        read(&path, &changed)?;
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

impl Edit<'_> {
    fn note_version(&mut self) {
        let is_empty = self.document.is_empty();
        self.document[VERSION_KEY].or_insert(value(VERSION));
        // What a person wrote into a file without anything else stays above what comes now.
        if is_empty && let Some(comments) = self.document.trailing().as_str().map(str::to_owned) {
            self.document.set_trailing("");
            if let Some(mut key) = self.document.key_mut(VERSION_KEY) {
                key.leaf_decor_mut().set_prefix(comments);
            }
        }
    }

    /// Returns profile `name` as it was before the change.
    pub fn before(&self, name: &str) -> Option<&Profile> {
        self.before.profiles.get(name)
    }

    /// Sets the setting `key` of profile `name` to what `text` means, making the profile if it is new; `None` takes the
    /// setting away.
    pub fn set(&mut self, name: &str, key: &str, text: Option<&str>) -> Result<(), ProfileError> {
        check_name(name)?;
        let setting = Setting::find(key)?;
        let value = text.map(|text| setting.read(text)).transpose()?;
        if value.is_none() && self.before(name).is_none() {
            return Err(ProfileError::Unknown(name.to_owned()));
        }
        let profiles = self.document[PROFILES_KEY].or_insert(Item::Table(implicit_table()));
        let profile = profiles[name].or_insert(Item::Table(Table::new()));
        if let Some(profile) = profile.as_table_like_mut() {
            setting.put(profile, value);
        }
        Ok(())
    }

    /// Takes profile `name` away, and the choice of it as the default.
    pub fn remove(&mut self, name: &str) -> Result<(), ProfileError> {
        let profiles = self.document.get_mut(PROFILES_KEY).and_then(Item::as_table_like_mut);
        if profiles.and_then(|profiles| profiles.remove(name)).is_none() {
            return Err(ProfileError::Unknown(name.to_owned()));
        }
        if self.before.default_profile.as_deref() == Some(name) {
            self.choose(None)?;
        }
        Ok(())
    }

    /// Chooses the profile for when none is named; `None` takes the choice away.
    pub fn choose(&mut self, name: Option<&str>) -> Result<(), ProfileError> {
        let Some(name) = name else {
            self.document.remove(CHOSEN_KEY);
            return Ok(());
        };
        if self.before(name).is_none() {
            return Err(ProfileError::Unknown(name.to_owned()));
        }
        self.document[CHOSEN_KEY] = value(name);
        Ok(())
    }
}

/// A table without a header line of its own.
pub(super) fn implicit_table() -> Table {
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

/// Reads and checks the text of the file at `path`.
fn read(path: &Path, text: &str) -> Result<File, ProfileError> {
    let document = Document::parse(text.to_owned()).map_err(|error| not_toml(path, text, &error))?;
    // The version first: what a newer file holds is not for this program to judge.
    if let Some(found) = document.get(VERSION_KEY).and_then(Item::as_integer).filter(|version| *version > VERSION) {
        return Err(ProfileError::NewerVersion { path: path.into(), found });
    }
    let invalid = |mistake: Mistake| {
        let Mistake { span, what, meant } = mistake;
        ProfileError::Invalid { path: path.into(), line: line_of(text, span), what, meant }
    };
    check_file(document.as_table()).map_err(invalid)?;
    // What was checked is what is read, so this finds something wrong only where the two disagree.
    let file: File = toml_edit::de::from_document(document)
        .map_err(|error| invalid(Mistake { span: error.span(), what: in_one_line(error.message()), meant: None }))?;
    debug_assert!(file.version.is_none_or(|version| version <= VERSION));
    let mut owners = BTreeMap::new();
    for (name, profile) in &file.profiles {
        let api = profile.api.as_ref().map_or(Ok(()), ApiShape::check);
        api.map_err(|error| ProfileError::BadValue {
            path: path.into(),
            profile: name.clone(),
            why: error.to_string(),
        })?;
        // A copied profile: each login of one would end the session of the other.
        if let Some(owner) = profile.credential.as_ref().and_then(|id| owners.insert(id, name)) {
            let why = format!("its `credential` is that of profile `{owner}`; remove that line");
            return Err(ProfileError::BadValue { path: path.into(), profile: name.clone(), why });
        }
    }
    Ok(file)
}

/// Something wrong in the file, and where.
struct Mistake {
    span: Option<Range<usize>>,
    what: String,
    meant: Option<&'static str>,
}

impl Mistake {
    fn at(table: &dyn TableLike, key: &str, what: String) -> Self {
        let item = table.get(key).filter(|item| item.is_value()).and_then(Item::span);
        Self { span: item.or_else(|| table.key(key).and_then(toml_edit::Key::span)), what, meant: None }
    }

    fn unknown(table: &dyn TableLike, key: &str, meant: Option<&'static str>) -> Self {
        let span = table.key(key).and_then(toml_edit::Key::span).or_else(|| table.get(key).and_then(Item::span));
        Self { span, what: format!("there is no setting `{}`", printable(key)), meant }
    }
}

fn check_file(file: &Table) -> Result<(), Mistake> {
    for (key, item) in file {
        let wrong = |wanted: &str| Err(Mistake::at(file, key, format!("`{key}` must be {wanted}")));
        match (key, item) {
            (VERSION_KEY, Item::Value(Value::Integer(_))) => {}
            (VERSION_KEY, _) => return wrong("a whole number"),
            (CHOSEN_KEY, Item::Value(Value::String(name))) if check_name(name.value()).is_ok() => {}
            (CHOSEN_KEY, _) => return wrong("the name of a profile"),
            (PROFILES_KEY, item) => match item.as_table_like() {
                Some(profiles) => check_profiles(profiles)?,
                None => return wrong("a table"),
            },
            _ => {
                let known = [VERSION_KEY, CHOSEN_KEY, PROFILES_KEY];
                return Err(Mistake::unknown(file, key, settings::most_like(key, known.into_iter())));
            }
        }
    }
    Ok(())
}

fn check_profiles(profiles: &dyn TableLike) -> Result<(), Mistake> {
    for (name, profile) in profiles.iter() {
        let bad = |what: String| Mistake::at(profiles, name, what);
        check_name(name).map_err(|error| bad(error.to_string()))?;
        let profile = profile.as_table_like().ok_or_else(|| bad(format!("profile `{name}` must be a table")))?;
        check_settings(profile, "")?;
    }
    Ok(())
}

/// Checks what stands in `table`, which is the profile's or the one below it whose name, with its dot, is `prefix`.
fn check_settings(table: &dyn TableLike, prefix: &str) -> Result<(), Mistake> {
    for (name, item) in table.iter() {
        let key = format!("{prefix}{name}");
        let below = format!("{key}.");
        if SETTINGS.iter().any(|setting| setting.key.starts_with(&below)) {
            let Some(tables) = item.as_table_like() else {
                return Err(Mistake::at(table, name, format!("`{key}` must be a table")));
            };
            check_settings(tables, &below)?;
            continue;
        }
        let Ok(setting) = Setting::find(&key) else {
            return Err(Mistake::unknown(table, name, settings::like(&key)));
        };
        let value = match (&setting.form, item) {
            // Written as a table of its own, or within one line: both are the same.
            (Form::Constants { .. }, Item::Table(table)) => Some(Value::from(table.clone().into_inline_table())),
            _ => item.as_value().cloned(),
        };
        let checked = match value {
            Some(value) => setting.form.check(&value),
            None => Err("must be a value, not a table".into()),
        };
        checked.map_err(|why| Mistake {
            meant: item.as_str().and_then(|text| setting.form.meant(text)),
            ..Mistake::at(table, name, format!("`{key}` {why}"))
        })?;
    }
    Ok(())
}

fn not_toml(path: &Path, text: &str, error: &toml_edit::TomlError) -> ProfileError {
    let (line, what) = (line_of(text, error.span()), in_one_line(error.message()));
    ProfileError::Invalid { path: path.into(), line, what, meant: None }
}

/// Returns the line that `span` begins in, counted from 1.
fn line_of(text: &str, span: Option<Range<usize>>) -> usize {
    let before = span.and_then(|span| text.get(..span.start)).unwrap_or_default();
    before.matches('\n').count() + 1
}

/// What the parser expected may stand on lines of its own.
fn in_one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}
