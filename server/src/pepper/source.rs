//! Where peppers come from: a file of its owner's alone, or the environment. One word each, the newest first.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use zeroize::{Zeroize as _, Zeroizing};

use super::{BYTES, PepperError};
use crate::random;

/// No peppers fill a longer file.
const LONGEST_FILE: u64 = 4096;
/// What holds them in place of a file.
const VARIABLE: &str = "AUTHCLI_SERVER_PEPPER";

/// Where the peppers come from.
#[derive(Clone, Debug)]
pub enum PepperSource {
    /// A file with lines of base64, the newest pepper first.
    File(PathBuf),
    /// Base64 from the environment; of several words the first is the newest.
    Given(SecretString),
}

impl PepperSource {
    /// Returns the file beside `database`.
    pub fn beside(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push(".pepper");
        Self::File(PathBuf::from(name))
    }

    /// Puts a new pepper before the ones in the file, which go on to verify what they made. Servers notice at their next
    /// start.
    pub fn rotate(&self) -> Result<(), PepperError> {
        let Self::File(path) = self else {
            return Err(PepperError::NotInAFile);
        };
        // What is there must be whole and private before anything is written in its place.
        read(path)?.ok_or_else(|| PepperError::Missing(path.clone()))?;
        let failed = |source| PepperError::File { path: path.clone(), source };
        // A link stays one: what it names is replaced.
        let path = &path.canonicalize().map_err(failed)?;
        let former = Zeroizing::new(fs::read_to_string(path).map_err(failed)?);
        let file = write_beside(path, &[new_line().as_str(), former.as_str()].concat()).map_err(failed)?;
        keep_owner(file.as_file(), path).map_err(failed)?;
        file.persist(path).map_err(|error| failed(error.error))?;
        sync_directory(path).map_err(failed)
    }

    /// Returns the peppers, the newest first, at least one; none if there is no file.
    pub(super) fn read(&self) -> Result<Option<Vec<SecretSlice<u8>>>, PepperError> {
        match self {
            Self::Given(text) if text.expose_secret().trim_ascii().is_empty() => Err(PepperError::Empty(VARIABLE)),
            Self::Given(text) => decode(text, VARIABLE).map(Some),
            Self::File(path) => read(path),
        }
    }

    /// Makes the file with the first pepper, whole or not at all; if another process made it first, that one counts.
    pub(super) fn make(&self) -> Result<(), PepperError> {
        let Self::File(path) = self else {
            return Err(PepperError::NotInAFile);
        };
        let failed = |source| PepperError::File { path: path.clone(), source };
        match write_beside(path, &new_line()).map_err(failed)?.persist_noclobber(path) {
            Ok(_) => {}
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error.error)),
        }
        // On the disk before any row depends on it.
        sync_directory(path).map_err(failed)
    }
}

fn new_line() -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(random::bytes::<BYTES>()) + "\n")
}

fn decode(text: &SecretString, origin: &str) -> Result<Vec<SecretSlice<u8>>, PepperError> {
    let unusable = || PepperError::Unusable(origin.to_owned());
    let mut peppers: Vec<SecretSlice<u8>> = Vec::new();
    for word in text.expose_secret().split_ascii_whitespace() {
        let mut bytes = STANDARD.decode(word).map_err(|_| unusable())?;
        if bytes.len() < BYTES {
            bytes.zeroize();
            return Err(unusable());
        }
        let pepper = SecretSlice::from(bytes);
        if peppers.iter().all(|other| other.expose_secret() != pepper.expose_secret()) {
            peppers.push(pepper);
        }
    }
    if peppers.is_empty() { Err(unusable()) } else { Ok(peppers) }
}

fn read(path: &Path) -> Result<Option<Vec<SecretSlice<u8>>>, PepperError> {
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

/// Writes a temporary file beside the one that it is to become, readable by its owner alone.
fn write_beside(path: &Path, text: &str) -> io::Result<tempfile::NamedTempFile> {
    let mut file = tempfile::NamedTempFile::new_in(directory(path))?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Leaves a file that root replaces to the user whose it was.
#[cfg(unix)]
fn keep_owner(file: &fs::File, former: &Path) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt as _, fchown};

    let (new, former) = (file.metadata()?, fs::metadata(former)?);
    if (new.uid(), new.gid()) == (former.uid(), former.gid()) {
        return Ok(());
    }
    fchown(file, Some(former.uid()), Some(former.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_: &fs::File, _: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    fs::File::open(directory(path))?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
