//! Files and directories that only their owner may read.
//!
//! - Directories are made with mode 0700, files with 0600.
//! - What stands there already is used only if it belongs to the user, is no symbolic link and lets no one else in;
//!   it is never "repaired", because whoever widened it may have had a look already.
//! - Files are replaced as a whole: temporary file, `fsync`, rename, `fsync` of the directory.
//! - A writer that was killed leaves its temporary file, `.NAME.XXXXXX.tmp`, which may hold tokens. The next one to
//!   replace or remove NAME removes that first; no file of another name is ever touched. So whoever replaces or removes a
//!   file must hold the lock that guards it, or a temporary file could be swept from under its writer.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use tempfile::NamedTempFile;
use tracing::debug;

use crate::error::StoreError;

/// Files of the program are small; one beyond this is not ours.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;
/// How long somebody waits for a file call. Longer than a busy disk takes, and within the 10 s of the way out.
pub(crate) const CALL_BOUND: Duration = Duration::from_secs(8);
/// Tokens differ in length from one refresh to the next.
const ROOM_TO_GROW: u64 = 1024;
/// The end of a temporary file's name.
const TEMPORARY: &str = ".tmp";

/// Makes `directory` and its parents, or checks the one that is there.
pub(crate) fn ensure_directory(directory: &Path) -> Result<(), StoreError> {
    // Before anything is made through a link.
    check_directory(directory)?;
    ensure_directory_exists(directory)?;
    check_directory(directory)
}

/// Checks `directory`, where it is there.
fn check_directory(directory: &Path) -> Result<(), StoreError> {
    let metadata = match fs::symlink_metadata(directory) {
        Ok(metadata) => metadata,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(failed("read", directory, cause)),
    };
    if metadata.is_symlink() {
        return Err(StoreError::Unsafe { path: directory.into(), why: "it is a symbolic link; remove it".into() });
    }
    if !metadata.is_dir() {
        return Err(StoreError::Unsafe { path: directory.into(), why: "it is not a directory; remove it".into() });
    }
    check_owner_and_mode(directory, &metadata)
}

/// Makes `directory` and its parents, private; one that is there may be as open as its owner likes.
pub(crate) fn ensure_directory_exists(directory: &Path) -> Result<(), StoreError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|cause| failed("create", directory, cause))
}

/// Reads the whole of `path`, or returns `None` where there is no such file. Its directory must be safe too: whoever may
/// write there may put another file in its place.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    check_directory(parent(path))?;
    let file = match open_no_link(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(link_or_failed("read", path, cause)),
    };
    let metadata = check_open_file(path, &file)?;
    // Room for all of it at once: a buffer that grows leaves copies behind that nobody wipes.
    let expected = metadata.len().min(LARGEST_FILE) + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(usize::try_from(expected).unwrap_or_default()));
    file.take(LARGEST_FILE).read_to_end(&mut content).map_err(|cause| failed("read", path, cause))?;
    Ok(Some(content))
}

/// Reads the whole of `path`, which may be a link, and which others may read; `None` where there is no such file.
pub(crate) fn read_public(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let mut options = OpenOptions::new();
    options.read(true);
    // A named pipe must not hang us.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    let file = match options.open(path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(cause),
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut content = Vec::new();
    file.take(LARGEST_FILE).read_to_end(&mut content)?;
    Ok(Some(content))
}

/// Opens `path` for a lock, making it if needed.
pub(crate) fn open_permanent(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = match open_no_link(&mut options, path) {
        // Where nothing can be written, that is what the user must hear, from whoever writes next; a lock needs no writing.
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            open_no_link(OpenOptions::new().read(true), path)?
        }
        Err(_) if is_link(path) => return Err(io::Error::other("it is a symbolic link; remove it")),
        opened => opened?,
    };
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a regular file; remove it")) }
}

/// Whether a replaced file must survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It must: its content exists nowhere else.
    Durable,
    /// Losing it costs some work, no more.
    Replaceable,
}

/// Replaces `path` by `content`: afterwards there is the old file or the new one, whole. The caller holds the lock that
/// guards `path`.
pub(crate) fn replace(path: &Path, content: &[u8], durability: Durability) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        sweep_before_writing(path);
        let mut file = temporary_beside(path)?;
        file.write_all(content)?;
        if durability == Durability::Durable {
            file.as_file().sync_all()?;
        }
        file.persist(path)?;
        if durability == Durability::Durable {
            sync_directory(parent(path))?;
        }
        Ok(())
    };
    write().map_err(|cause| failed("write", path, cause))
}

/// Proves that `path` could be replaced now by as much as it holds and a little more: a full disk takes an empty file
/// gladly. The caller holds the lock that guards `path`.
pub(crate) fn prove_replaceable(path: &Path) -> Result<(), StoreError> {
    let prove = || -> io::Result<()> {
        sweep_before_writing(path);
        let size = fs::symlink_metadata(path).map_or(0, |metadata| metadata.len()).min(LARGEST_FILE) + ROOM_TO_GROW;
        let mut file = temporary_beside(path)?;
        io::copy(&mut io::repeat(0).take(size), &mut file)?;
        // Some file systems find out only now that there is no room.
        file.as_file().sync_all()?;
        file.close()
    };
    prove().map_err(|cause| failed("write beside", path, cause))
}

/// Removes `path` and what a killed writer of it left, durably. None there is no error. The caller holds the lock that
/// guards `path`.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    let remove = || -> io::Result<()> {
        let swept = sweep(path)?;
        match fs::remove_file(path) {
            Ok(()) => sync_directory(parent(path)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound && !swept => Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => sync_directory(parent(path)),
            Err(cause) => Err(cause),
        }
    };
    check_directory(parent(path))?;
    remove().map_err(|cause| failed("remove", path, cause))
}

/// Makes a temporary file beside `path`, mode 0600, that removes itself unless it is persisted.
fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(&temporary_prefix(path)).suffix(TEMPORARY).tempfile_in(parent(path))
}

fn temporary_prefix(path: &Path) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    prefix
}

/// What cannot be removed does not keep a save from being made, which matters more.
fn sweep_before_writing(path: &Path) {
    if let Err(error) = sweep(path) {
        debug!(%error, path = %path.display(), "could not remove what a killed writer left");
    }
}

/// Removes the temporary files of killed writers of `path`; returns whether there were any.
fn sweep(path: &Path) -> io::Result<bool> {
    let prefix = temporary_prefix(path);
    let prefix = prefix.as_encoded_bytes();
    let entries = match fs::read_dir(parent(path)) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut swept = false;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let drawn =
            name.as_encoded_bytes().strip_prefix(prefix).and_then(|rest| rest.strip_suffix(TEMPORARY.as_bytes()));
        // What stands between is drawn at random, from letters and digits: a further dot is another file's name.
        if drawn.is_some_and(|drawn| !drawn.is_empty() && drawn.iter().all(u8::is_ascii_alphanumeric)) {
            fs::remove_file(entry.path())?;
            swept = true;
        }
    }
    Ok(swept)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(action: &'static str, path: &Path, cause: io::Error) -> StoreError {
    StoreError::File { action, path: path.into(), cause: Arc::new(cause) }
}

fn link_or_failed(action: &'static str, path: &Path, cause: io::Error) -> StoreError {
    if is_link(path) {
        return StoreError::Unsafe { path: path.into(), why: "it is a symbolic link; remove it".into() };
    }
    failed(action, path, cause)
}

fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}

fn open_no_link(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    // O_NOFOLLOW in the open itself: a check before it could be outrun. O_NONBLOCK: a named pipe must not hang us.
    #[cfg(unix)]
    {
        use rustix::fs::OFlags;
        let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC).bits();
        std::os::unix::fs::OpenOptionsExt::custom_flags(options, flags.cast_signed());
    }
    options.open(path)
}

fn check_open_file(path: &Path, file: &File) -> Result<fs::Metadata, StoreError> {
    let metadata = file.metadata().map_err(|cause| failed("read", path, cause))?;
    if !metadata.is_file() {
        return Err(StoreError::Unsafe { path: path.into(), why: "it is not a regular file; remove it".into() });
    }
    check_owner_and_mode(path, &metadata)?;
    Ok(metadata)
}

#[cfg(unix)]
fn check_owner_and_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt as _;

    let me = rustix::process::geteuid().as_raw();
    if metadata.uid() != me {
        let why = format!("it belongs to user id {}, and this is user id {me}", metadata.uid());
        return Err(StoreError::Unsafe { path: path.into(), why });
    }
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 != 0 {
        let right = if metadata.is_dir() { "700" } else { "600" };
        let why = format!("others may open it (mode {mode:03o}); run `chmod {right}` on it");
        return Err(StoreError::Unsafe { path: path.into(), why });
    }
    Ok(())
}

/// Elsewhere the user's profile directory is private by its inherited access list.
#[cfg(not(unix))]
fn check_owner_and_mode(_path: &Path, _metadata: &fs::Metadata) -> Result<(), StoreError> {
    Ok(())
}

/// A rename is durable only once its directory is.
#[cfg(unix)]
fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_directory: &Path) -> io::Result<()> {
    Ok(())
}

/// Returns the paths that belong to the credential `id` under the configuration directory.
pub(crate) fn credential_path(configuration: &Path, id: &str, extension: &str) -> PathBuf {
    configuration.join("credentials").join(format!("{id}.{extension}"))
}
