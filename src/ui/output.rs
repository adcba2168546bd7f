//! Writing an answer: to standard output, or to a file.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::{NamedTempFile, TempPath};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

/// As many as Linux follows.
const MOST_LINKS: u32 = 40;
const STANDARD: [&str; 3] = ["/dev/stdin", "/dev/stdout", "/dev/stderr"];

/// Standard output did not take what was written.
#[derive(Debug, thiserror::Error)]
#[error("could not write to standard output")]
pub(crate) struct OutputError(#[source] io::Error);

impl OutputError {
    /// Returns whether the reader went away. That is no failure: `head` does it.
    pub(crate) fn reader_is_gone(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Writes all of `bytes` to standard output, and at once: half a line of an answer that goes on for long must not wait for
/// its end. A thread of the runtime's does it, because a reader that pauses must not keep a signal from being noticed; not
/// by way of tokio's standard output, which copies every byte and takes two turns of a thread where one will do.
pub(crate) async fn print(bytes: impl Into<Bytes>) -> Result<(), OutputError> {
    let bytes = bytes.into();
    aside(move || write_out(&bytes)).await.map_err(OutputError)
}

/// The same on the calling thread, which may be kept for as long as the reader pauses.
pub(crate) fn print_here(bytes: &[u8]) -> Result<(), OutputError> {
    write_out(bytes).map_err(OutputError)
}

fn write_out(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes)?;
    stdout.flush()
}

/// A file that appears whole or not at all. What is no regular file (a device, a pipe), or is one that somebody has open
/// (`/dev/stdout`), is written straight.
pub(crate) struct FileOutput {
    target: PathBuf,
    file: File,
    /// Where the bytes are until they are all there; removes itself if that never comes.
    temporary: Option<TempPath>,
    length: u64,
}

impl FileOutput {
    /// Makes sure that `path` can be written. What is there stays as it is until [`begin`](Self::begin).
    pub(crate) async fn create(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        if path.as_os_str().as_encoded_bytes().last().is_none_or(|end| *end == b'/') {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        aside(move || {
            let there = std::fs::metadata(&path);
            let (target, is_open) = resolved(path)?;
            // Whoever may not write a file may not replace it either, though the directory would let them.
            let opened = match OpenOptions::new().write(true).open(&target) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                opened => opened,
            };
            if is_open || there.is_ok_and(|metadata| !metadata.is_file()) {
                return Ok(Self { target, file: File::from_std(opened?), temporary: None, length: 0 });
            }
            let (file, temporary) = match (temporary_for(&target), opened) {
                (Ok(temporary), _) => temporary.into_parts(),
                // A directory that takes no file, with one in it that may be written.
                (Err(_), Ok(file)) => {
                    return Ok(Self { target, file: File::from_std(file), temporary: None, length: 0 });
                }
                (Err(error), Err(_)) => return Err(error),
            };
            Ok(Self { target, file: File::from_std(file), temporary: Some(temporary), length: 0 })
        })
        .await
    }

    /// Begins, or begins anew.
    pub(crate) async fn begin(&mut self) -> io::Result<()> {
        if self.file.metadata().await?.is_file() {
            self.file.rewind().await?;
            self.file.set_len(0).await?;
        }
        self.length = 0;
        Ok(())
    }

    /// Returns whether nobody has seen yet what was written.
    pub(crate) fn is_hidden(&self) -> bool {
        self.temporary.is_some() || self.length == 0
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Puts the file in its place and returns its length in bytes.
    pub(crate) async fn finish(self) -> io::Result<u64> {
        let Self { target, mut file, temporary, length } = self;
        file.flush().await?;
        if let Some(temporary) = temporary {
            aside(move || match temporary.persist(&target) {
                // A file that is mounted, or another's in a directory such as /tmp, cannot be replaced; it can be written.
                Err(kept) if target.is_file() => std::fs::copy(&kept.path, &target).map(drop).map_err(|_| kept.error),
                persisted => Ok(persisted?),
            })
            .await?;
        }
        Ok(length)
    }
}

/// Returns where `path` leads to, and whether that is a file which a process has open: a symbolic link stays, and the file
/// behind it is replaced, as the shell's `>` does.
fn resolved(mut path: PathBuf) -> io::Result<(PathBuf, bool)> {
    for _ in 0..MOST_LINKS {
        let is_open = path.starts_with("/dev/fd")
            || path.starts_with("/proc")
            || STANDARD.iter().any(|name| path == Path::new(name));
        let Ok(link) = std::fs::read_link(&path) else { return Ok((path, is_open)) };
        if is_open {
            // `/dev/stdout` and its like. What the link says need not be a name.
            return Ok((path, true));
        }
        path = path.parent().unwrap_or(Path::new("")).join(link);
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Makes the temporary file that will replace `target`, with the mode that the shell's `>` would leave: that of the
/// file that is there, else 0666 less the umask.
fn temporary_for(target: &Path) -> io::Result<NamedTempFile> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(target) {
        use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

        options.mode(metadata.mode());
    }
    // The builder's own way to open it would tell the temporary name in errors, which means nothing to people.
    tempfile::Builder::new().prefix(".authcli-").suffix(".part").make_in(directory, |path| options.open(path))
}

/// Runs a job that may block.
async fn aside<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(job).await.map_err(io::Error::other)?
}
