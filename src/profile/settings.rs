//! What a profile can say: one list that `config.toml` is checked against, and that `authcli profile` sets, shows and
//! explains from.

use toml_edit::{InlineTable, Item, TableLike, Value};

use super::{ProfileError, SETTINGS};
use crate::text::printable;

/// What is shown of a value that may be a secret.
const HIDDEN: &str = "[hidden]";

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
    /// Any value that JSON has.
    Constant,
    /// Values under names of one's own; typed as TOML has them, `{ name = "value" }`. They may be secrets, so none of them
    /// is ever shown.
    Constants {
        /// What may be a name.
        name: fn(&str) -> Result<(), String>,
        /// What may stand there.
        of: &'static Form,
    },
}

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
    pub(super) fn of(&self, profile: &dyn TableLike) -> Option<Value> {
        let (mut tables, name) = self.place();
        let table = tables.try_fold(profile, |table, name| table.get(name)?.as_table_like())?;
        let item = table.get(name)?;
        if matches!(self.form, Form::Constants { .. }) {
            let hidden = |(name, _)| (name, HIDDEN);
            return Some(item.as_table_like()?.iter().map(hidden).collect::<InlineTable>().into());
        }
        item.as_value().cloned()
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
            Self::Constant => "must be text, a number, true or false, or such values in `[…]` or `{…}`; no date".into(),
            Self::Constants { .. } => "must be a table, such as `{ name = \"value\" }`".into(),
        }
    }

    /// Returns `text` as the value that it would be; whether that may stand here is for [`check`](Self::check).
    fn read(&self, text: &str) -> Value {
        let typed = match self {
            Self::Flag => text.parse().ok().map(|flag: bool| flag.into()),
            Self::Number(..) => text.parse().ok().map(|number: i64| number.into()),
            Self::List(of) => Some(text.split(',').map(|item| of.read(item.trim())).collect()),
            Self::Constants { .. } => text.parse().ok(),
            Self::Text | Self::Checked(_) | Self::Path | Self::Choice(_) | Self::Constant => None,
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
            (Self::Constant, Value::Array(items)) => return items.iter().try_for_each(|item| self.check(item)),
            (Self::Constant, Value::InlineTable(table)) => {
                return table.iter().try_for_each(|(_, item)| self.check(item));
            }
            (Self::Constant, value) => !value.is_datetime(),
            (Self::Constants { name, of }, Value::InlineTable(table)) => {
                return table.iter().try_for_each(|(key, value)| {
                    let of_this = |why: String| format!("`{}` {why}", printable(key));
                    name(key).and_then(|()| of.check(value)).map_err(of_this)
                });
            }
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
