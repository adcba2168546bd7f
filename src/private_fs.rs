//! Files and directories that only their owner may read.
//!
//! - Directories are made with mode 0700, files with 0600.
//! - What stands there already is used only if it belongs to the user, is no symbolic link and lets no one else in;
//!   it is never "repaired", because whoever widened it may have had a look already.
//! - Files are replaced as a whole: temporary file, `fsync`, rename, `fsync` of the directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::zeroize::Zeroizing;
use tempfile::NamedTempFile;

use crate::error::StoreError;

/// Files of the program are small; one beyond this is not ours.
const LARGEST_FILE: u64 = 4 * 1024 * 1024;

/// Makes `directory` and its parents, or checks the one that is there.
pub(crate) fn ensure_directory(directory: &Path) -> Result<(), StoreError> {
    ensure_directory_exists(directory)?;
    let metadata = fs::symlink_metadata(directory).map_err(|cause| failed("read", directory, cause))?;
    if metadata.is_symlink() || !metadata.is_dir() {
        return Err(StoreError::Unsafe { path: directory.into(), why: "it is not a directory of its own".into() });
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

/// Reads the whole of `path`, or returns `None` where there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
    let file = match open_no_link(OpenOptions::new().read(true), path) {
        Ok(file) => file,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(cause) => return Err(link_or_failed("read", path, cause)),
    };
    check_open_file(path, &file)?;
    let mut content = Zeroizing::new(Vec::new());
    file.take(LARGEST_FILE).read_to_end(&mut content).map_err(|cause| failed("read", path, cause))?;
    Ok(Some(content))
}

/// Opens `path` for a lock, making it if needed.
pub(crate) fn open_permanent(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    open_no_link(&mut options, path)
}

/// Whether a replaced file must survive a power cut.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It must: its content exists nowhere else.
    Durable,
    /// Losing it costs some work, no more.
    Replaceable,
}

/// Replaces `path` by `content`: afterwards there is the old file or the new one, whole.
pub(crate) fn replace(path: &Path, content: &[u8], durability: Durability) -> Result<(), StoreError> {
    let directory = parent(path);
    let write = || -> io::Result<()> {
        let mut file = temporary_beside(path)?;
        file.write_all(content)?;
        if durability == Durability::Durable {
            file.as_file().sync_all()?;
        }
        file.persist(path)?;
        if durability == Durability::Durable {
            sync_directory(directory)?;
        }
        Ok(())
    };
    write().map_err(|cause| failed("write", path, cause))
}

/// Makes a temporary file beside `path`, mode 0600, that removes itself unless it is persisted.
pub(crate) fn temporary_beside(path: &Path) -> io::Result<NamedTempFile> {
    tempfile::Builder::new().prefix(".authcli-").suffix(".tmp").tempfile_in(parent(path))
}

/// Removes `path`, durably. None there is no error.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Ok(()) => sync_directory(parent(path)).map_err(|cause| failed("remove", path, cause)),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(cause) => Err(failed("remove", path, cause)),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(action: &'static str, path: &Path, cause: io::Error) -> StoreError {
    StoreError::File { action, path: path.into(), cause: Arc::new(cause) }
}

fn link_or_failed(action: &'static str, path: &Path, cause: io::Error) -> StoreError {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return StoreError::Unsafe { path: path.into(), why: "it is a symbolic link; remove it".into() };
    }
    failed(action, path, cause)
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

fn check_open_file(path: &Path, file: &File) -> Result<(), StoreError> {
    let metadata = file.metadata().map_err(|cause| failed("read", path, cause))?;
    if !metadata.is_file() {
        return Err(StoreError::Unsafe { path: path.into(), why: "it is not a regular file; remove it".into() });
    }
    check_owner_and_mode(path, &metadata)
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
