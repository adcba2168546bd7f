//! What commands find around them: the user's directories, the environment, standard input and output.

use std::env;
use std::fs;
use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use directories::ProjectDirs;
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroize as _;

use super::CommandError;
use crate::cli::DatabaseArgs;
use crate::domain::Password;
use crate::pepper::PepperSource;
use crate::ports::Store;
use crate::store::{self, DatabaseUrl, Missing};

/// Returns the database that was asked for; the default one lies in a directory of the user's alone.
pub(super) fn database_url(args: &DatabaseArgs) -> Result<DatabaseUrl, CommandError> {
    match &args.database {
        Some(url) => Ok(DatabaseUrl::parse(url.expose_secret())?),
        None => Ok(DatabaseUrl::Sqlite(data_directory()?.join("authcli.db"))),
    }
}

/// Opens the database that was asked for.
pub(super) async fn open_database(args: &DatabaseArgs, missing: Missing) -> Result<Arc<dyn Store>, CommandError> {
    Ok(store::open(&database_url(args)?, missing).await?)
}

/// Returns the pepper from the environment, or else a file: beside a database that is a file itself, in the user's data
/// directory for one that is a server.
pub(super) fn pepper_source(database: &DatabaseUrl) -> Result<PepperSource, CommandError> {
    // One that is no UTF-8 is refused later as no base64; it must not be taken for none.
    if let Some(text) = env::var_os("AUTHCLI_SERVER_PEPPER") {
        return Ok(PepperSource::Given(SecretString::from(text.to_string_lossy().into_owned())));
    }
    match database {
        DatabaseUrl::Sqlite(path) => Ok(PepperSource::beside(path)),
        DatabaseUrl::Postgres(_) => Ok(PepperSource::File(data_directory()?.join("postgres.pepper"))),
    }
}

/// Returns the user's data directory; makes it if it is not there.
fn data_directory() -> Result<PathBuf, CommandError> {
    let directories = ProjectDirs::from("", "", "authcli-server").ok_or(CommandError::NoHome)?;
    let directory = directories.data_dir();
    make_private_directory(directory)
        .map_err(|source| CommandError::Directory { path: directory.to_owned(), source })?;
    Ok(directory.to_owned())
}

/// Reads a password to set: all of standard input, without one line break at its end. A terminal is refused: it would show
/// the password, and wait for an end that no Enter is.
pub(super) fn read_password() -> Result<Password, CommandError> {
    if io::stdin().is_terminal() {
        return Err(CommandError::PasswordFromTerminal);
    }
    let mut text = String::new();
    // One byte more than fits is enough to know.
    let limit = Password::LONGEST as u64 + 3;
    if let Err(error) = io::stdin().lock().take(limit).read_to_string(&mut text) {
        text.zeroize();
        return Err(CommandError::io("could not read the password from standard input")(error));
    }
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(Password::chosen(text)?)
}

/// Writes to standard output; a reader that has gone away is no failure.
pub(super) fn print(text: &str) -> Result<(), CommandError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::io("could not write to standard output")(error))
        }
        _ => Ok(()),
    }
}

/// Says something to whoever watches; that nobody does is no failure.
pub(super) fn tell(sentence: &str) {
    let _ = writeln!(io::stderr().lock(), "{sentence}");
}

fn make_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)
}
