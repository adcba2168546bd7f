//! What a profile can say: one list that `config.toml` is checked against, and that `authcli profile` sets, shows and
//! explains from.

use toml_edit::{Item, TableLike, Value};

use super::{LONGEST_NAME, ProfileError};
use crate::http::ServerUrl;

/// How much two names must have in common for one to be suggested for the other; what clap asks of options.
const LIKENESS: f64 = 0.7;

/// One thing that a profile can say.
#[derive(Debug)]
pub struct Setting {
    /// Its name. With dots where it lies in a table below the profile's: `api.login.path` is `path` in
    /// `[profiles.NAME.api.login]`.
    pub key: &'static str,
    /// What it is, in one line.
    pub about: &'static str,
    /// What may stand there.
    pub form: Form,
    /// A value that may, as it is typed.
    pub example: &'static str,
    /// Who decides it.
    pub writer: Writer,
}

/// Who decides a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// A person, at any time.
    Person,
    /// A login, which would be undone by another hand.
    Login,
}

/// What may stand in a setting.
#[derive(Debug)]
pub enum Form {
    /// Any text.
    Text,
    /// Text that the function finds nothing wrong with; it says so in words that follow the setting's name.
    Checked(fn(&str) -> Result<(), String>),
    /// The absolute path of a file.
    Path,
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number, from and to.
    Number(i64, i64),
    /// Several values; typed with commas in between.
    List(&'static Form),
}

/// All settings, in the order in which they are shown. A new one needs its entry here and its field in
/// [`Profile`](super::Profile), and nothing else.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "server",
        about: "address of the API; where `login` logs in",
        form: Form::Checked(is_server),
        example: "https://api.example.com/v1",
        writer: Writer::Person,
    },
    Setting { key: "username", about: "who logged in last", form: Form::Text, example: "admin", writer: Writer::Login },
    Setting {
        key: "store",
        about: "where the tokens are kept",
        form: Form::Choice(&["keyring", "file"]),
        example: "file",
        writer: Writer::Person,
    },
    Setting {
        key: "credential",
        about: "name of the tokens in the store",
        form: Form::Checked(is_id),
        example: "Zml4dHVyZS1jcmVkZW50aWFs",
        writer: Writer::Login,
    },
    Setting {
        key: "allow_http",
        about: "whether http to another machine is allowed: tokens can be read on the way",
        form: Form::Flag,
        example: "true",
        writer: Writer::Person,
    },
    Setting {
        key: "cacert",
        about: "PEM file of the certificate authorities to trust, instead of the system's",
        form: Form::Path,
        example: "/etc/ssl/certs/company.pem",
        writer: Writer::Person,
    },
];

impl Setting {
    /// Returns the setting called `key`.
    pub fn find(key: &str) -> Result<&'static Self, ProfileError> {
        SETTINGS
            .iter()
            .find(|setting| setting.key == key)
            .ok_or_else(|| ProfileError::UnknownSetting { key: printable(key), meant: like(key) })
    }

    /// Returns the value that `text` means, as it is typed.
    pub(super) fn read(&self, text: &str) -> Result<Value, ProfileError> {
        let value = self.form.read(text);
        let why = match self.form.check(&value) {
            Ok(()) => return Ok(value),
            Err(why) => why,
        };
        Err(ProfileError::BadSetting { key: self.key, why, meant: self.form.meant(text) })
    }

    /// Returns what `profile` says here.
    pub(super) fn of<'a>(&self, profile: &'a dyn TableLike) -> Option<&'a Value> {
        let (mut tables, name) = self.place();
        let table = tables.try_fold(profile, |table, name| table.get(name)?.as_table_like())?;
        table.get(name)?.as_value()
    }

    /// Puts `value` into `profile`, or takes away what stands there.
    pub(super) fn put(&self, profile: &mut dyn TableLike, value: Option<Value>) {
        let (tables, name) = self.place();
        put_in(profile, &tables.collect::<Vec<_>>(), name, value);
    }

    /// Returns the names of the tables below the profile's that it lies in, and its own.
    fn place(&self) -> (impl Iterator<Item = &'static str> + use<>, &'static str) {
        let (tables, name) = self.key.rsplit_once('.').unwrap_or(("", self.key));
        (tables.split('.').filter(|name| !name.is_empty()), name)
    }
}

fn put_in(table: &mut dyn TableLike, tables: &[&str], name: &str, value: Option<Value>) {
    let Some((first, rest)) = tables.split_first() else {
        match value {
            // In place, so that a comment behind the old value stays.
            Some(mut value) => match table.get_mut(name).and_then(Item::as_value_mut) {
                Some(old) => {
                    *value.decor_mut() = old.decor().clone();
                    *old = value;
                }
                None => drop(table.insert(name, Item::Value(value))),
            },
            None => drop(table.remove(name)),
        }
        return;
    };
    if value.is_none() && !table.contains_key(first) {
        return;
    }
    let below = table.entry(first).or_insert_with(|| Item::Table(super::file::implicit_table()));
    // What stands there was checked when the file was read, so it is a table.
    let Some(below) = below.as_table_like_mut() else { return };
    put_in(below, rest, name, value);
    if below.is_empty() {
        table.remove(first);
    }
}

impl Form {
    /// Returns what may stand here, in words that follow the setting's name.
    fn wants(&self) -> String {
        match self {
            Self::Text | Self::Checked(_) => "must be text".into(),
            Self::Path => "must be the absolute path of a file".into(),
            Self::Flag => "must be `true` or `false`".into(),
            Self::Choice(words) => format!("must be `{}`", words.join("` or `")),
            Self::Number(from, to) => format!("must be a whole number from {from} to {to}"),
            Self::List(of) => format!("must be a list, each of which {}", of.wants()),
        }
    }

    /// Returns `text` as the value that it would be; whether that may stand here is for [`check`](Self::check).
    fn read(&self, text: &str) -> Value {
        let typed = match self {
            Self::Flag => text.parse().ok().map(|flag: bool| flag.into()),
            Self::Number(..) => text.parse().ok().map(|number: i64| number.into()),
            Self::List(of) => Some(text.split(',').map(|item| of.read(item.trim())).collect()),
            Self::Text | Self::Checked(_) | Self::Path | Self::Choice(_) => None,
        };
        typed.unwrap_or_else(|| text.into())
    }

    /// Says what is wrong with `value`, in words that follow the setting's name.
    pub(super) fn check(&self, value: &Value) -> Result<(), String> {
        let fits = match (self, value) {
            (Self::Checked(check), Value::String(text)) => return check(text.value()),
            (Self::Path, Value::String(path)) => std::path::Path::new(path.value()).is_absolute(),
            (Self::Text, Value::String(_)) | (Self::Flag, Value::Boolean(_)) => true,
            (Self::Choice(words), Value::String(word)) => words.contains(&word.value().as_str()),
            (Self::Number(from, to), Value::Integer(number)) => (from..=to).contains(&number.value()),
            (Self::List(of), Value::Array(items)) => return items.iter().try_for_each(|item| of.check(item)),
            _ => false,
        };
        if fits { Ok(()) } else { Err(self.wants()) }
    }

    /// Returns which of the possible words `text` was probably meant to be.
    pub(super) fn meant(&self, text: &str) -> Option<&'static str> {
        match self {
            Self::Choice(words) => most_like(text, words.iter().copied()),
            _ => None,
        }
    }
}

/// Returns the setting that somebody who wrote `key` probably meant.
pub(super) fn like(key: &str) -> Option<&'static str> {
    let keys = || SETTINGS.iter().map(|setting| setting.key);
    // Right but for the table that it belongs into.
    let leaf = |key: &'static str| key.rsplit('.').next().unwrap_or(key);
    keys().find(|known| leaf(known) == key).or_else(|| most_like(key, keys()))
}

pub(super) fn most_like(text: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let rated = known.map(|word| (strsim::jaro(text, word), word)).filter(|(likeness, _)| *likeness > LIKENESS);
    rated.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, word)| word)
}

pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).collect()
}

fn is_server(text: &str) -> Result<(), String> {
    ServerUrl::parse(text).map(drop).map_err(|error| format!("must be the address of a server: {error}"))
}

/// The id becomes part of a file name, so it must not lead out of its directory.
fn is_id(text: &str) -> Result<(), String> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    if text.is_empty() || text.len() > LONGEST_NAME || !text.chars().all(fits) {
        return Err("is no id".into());
    }
    Ok(())
}
