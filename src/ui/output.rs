//! Writing an answer: to standard output, or to a file.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tempfile::{NamedTempFile, TempPath};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

/// As many as Linux follows.
const MOST_LINKS: u32 = 40;

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
    let written = aside(move || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(&bytes)?;
        stdout.flush()
    });
    written.await.map_err(OutputError)
}

/// A file that appears whole or not at all. What is no regular file (a device, a pipe) is written straight.
pub(crate) struct FileOutput {
    target: PathBuf,
    file: File,
    /// Where the bytes are until they are all there; removes itself if that never comes.
    temporary: Option<TempPath>,
    length: u64,
}

impl FileOutput {
    pub(crate) async fn create(path: &Path) -> io::Result<Self> {
        let mut target = path.to_owned();
        aside(move || {
            let (file, temporary) = match std::fs::metadata(&target) {
                Ok(metadata) if !metadata.is_file() => (std::fs::OpenOptions::new().write(true).open(&target)?, None),
                _ => {
                    target = resolved(target)?;
                    let (file, path) = temporary_for(&target)?.into_parts();
                    (file, Some(path))
                }
            };
            Ok(Self { target, file: File::from_std(file), temporary, length: 0 })
        })
        .await
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
            aside(move || Ok(temporary.persist(&target)?)).await?;
        }
        Ok(length)
    }
}

/// Returns where `path` leads to: a symbolic link stays, and the file behind it is replaced, as the shell's `>` does.
fn resolved(mut path: PathBuf) -> io::Result<PathBuf> {
    for _ in 0..MOST_LINKS {
        let Ok(link) = std::fs::read_link(&path) else { return Ok(path) };
        path = path.parent().unwrap_or(Path::new("")).join(link);
    }
    Err(io::Error::other("too many symbolic links"))
}

/// Makes the temporary file that will replace `target`, with the mode that the shell's `>` would leave: that of the
/// file that is there, else 0666 less the umask.
fn temporary_for(target: &Path) -> io::Result<NamedTempFile> {
    let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".authcli-").suffix(".part");
    #[cfg(unix)]
    let permissions = std::fs::metadata(target)
        .map_or_else(|_| std::os::unix::fs::PermissionsExt::from_mode(0o666), |metadata| metadata.permissions());
    #[cfg(unix)]
    builder.permissions(permissions);
    builder.tempfile_in(directory)
}

/// Runs a job that may block.
async fn aside<T: Send + 'static>(job: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(job).await.map_err(io::Error::other)?
}
