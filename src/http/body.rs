//! What a request carries.
//!
//! - A *repeatable* body (none, bytes in memory, a file) can be sent again, after a refresh for instance. A file is opened
//!   anew for each sending, and must still be as long as it was.
//! - What a proxy passes on is sent while it arrives, and kept meanwhile up to the same bound ([`KeptBodies`]).
//! - Any other is a stream that is sent *once*. What a source gives up to [`KEPT_IN_MEMORY`] is kept, so that it can be
//!   repeated ([`Body::read_ahead`]); beyond that nothing is kept, however long it is.

mod kept;
mod outgoing;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use tokio::io::AsyncRead;
use tokio_util::io::ReaderStream;

use self::kept::Kept;
pub use self::kept::KeptBodies;
pub(crate) use self::outgoing::Outgoing;

/// How much of a source is kept in memory to be sent again: 8 MiB.
pub const KEPT_IN_MEMORY: usize = 8 * 1024 * 1024;
/// How much is read from a file or pipe at once.
const READ_AT_ONCE: usize = 1024 * 1024;

type Source = BoxStream<'static, io::Result<Bytes>>;

/// The body of a request. Cloning is cheap; the clones of a stream share it, so one of them can send it.
#[derive(Clone, Default)]
pub struct Body {
    kind: Kind,
}

#[derive(Clone, Default)]
enum Kind {
    #[default]
    None,
    Bytes(Bytes),
    File {
        path: Arc<Path>,
        length: u64,
    },
    Once {
        stream: Arc<Mutex<Option<Begun>>>,
        length: Option<u64>,
    },
    Kept {
        body: Arc<Kept>,
        length: Option<u64>,
    },
}

/// What was read of a source, and the rest of it.
struct Begun {
    read: Bytes,
    rest: Source,
}

impl Body {
    /// No body at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// A regular file, read anew for each sending.
    ///
    /// # Errors
    /// If it is not there, cannot be read, or is no regular file: what a pipe or device gives can be had once.
    pub async fn file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let metadata = tokio::fs::File::open(&path).await?.metadata().await?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        Ok(Self { kind: Kind::File { path: path.into(), length: metadata.len() } })
    }

    /// A stream that is sent once. With a `length`, in bytes, it must have just that; without, it is sent in chunks
    /// (RFC 9112 section 7.1).
    pub fn once(source: impl Stream<Item = io::Result<Bytes>> + Send + 'static, length: Option<u64>) -> Self {
        Self::begun(Bytes::new(), source.boxed(), length)
    }

    fn begun(read: Bytes, rest: Source, length: Option<u64>) -> Self {
        Self { kind: Kind::Once { stream: Arc::new(Mutex::new(Some(Begun { read, rest }))), length } }
    }

    /// Reads `source` as far as [`KEPT_IN_MEMORY`]. If it ends within that the body is repeatable; if not, it is sent once,
    /// from what was read on. Nothing is read of a source that is said to be longer.
    pub async fn read_ahead(
        source: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        length: Option<u64>,
    ) -> io::Result<Self> {
        let mut source = source.boxed();
        if length.is_some_and(|length| length > KEPT_IN_MEMORY as u64) {
            return Ok(Self::once(source, length));
        }
        let mut read = BytesMut::new();
        while let Some(chunk) = source.next().await.transpose()? {
            if read.len() + chunk.len() > KEPT_IN_MEMORY {
                return Ok(Self::begun(read.freeze(), stream::iter([Ok(chunk)]).chain(source).boxed(), length));
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read.freeze().into())
    }

    /// The same for a reader, such as standard input.
    pub async fn read_ahead_of(reader: impl AsyncRead + Send + 'static) -> io::Result<Self> {
        Self::read_ahead(ReaderStream::with_capacity(reader, READ_AT_ONCE), None).await
    }

    /// Returns whether it can be sent more than once.
    pub fn is_repeatable(&self) -> bool {
        match &self.kind {
            Kind::Once { .. } => false,
            Kind::Kept { body, .. } => body.is_repeatable(),
            _ => true,
        }
    }

    /// Returns whether there is no body, which is not the same as one of no bytes.
    pub fn is_none(&self) -> bool {
        matches!(self.kind, Kind::None)
    }

    /// Returns how many bytes it has, if that is known.
    pub fn length(&self) -> Option<u64> {
        match &self.kind {
            Kind::None => Some(0),
            Kind::Bytes(bytes) => Some(bytes.len() as u64),
            Kind::File { length, .. } => Some(*length),
            Kind::Once { length, .. } | Kind::Kept { length, .. } => *length,
        }
    }

    /// Returns what it holds, if that is kept in memory.
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.kind {
            Kind::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Returns what has been read of a stream that is still to be sent.
    pub fn beginning(&self) -> Option<Bytes> {
        let Kind::Once { stream, .. } = &self.kind else { return None };
        stream.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(|begun| begun.read.clone())
    }

    /// Makes ready to send it. `None`: it was a stream, and has been sent.
    pub(crate) async fn open(&self) -> io::Result<Option<Outgoing>> {
        Ok(Some(match &self.kind {
            Kind::None => Outgoing::none(),
            Kind::Bytes(bytes) => Outgoing::bytes(bytes.clone()),
            Kind::File { path, length } => {
                let file = tokio::fs::File::open(path).await?;
                Outgoing::stream(ReaderStream::with_capacity(file, READ_AT_ONCE).boxed(), Some(*length))
            }
            Kind::Once { stream, length } => {
                let taken = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                let Some(Begun { read, rest }) = taken else { return Ok(None) };
                let read = stream::iter((!read.is_empty()).then_some(Ok(read)));
                Outgoing::stream(read.chain(rest).boxed(), *length)
            }
            Kind::Kept { body, length } => return Ok(body.open(*length)),
        }))
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { kind: Kind::Bytes(bytes) }
    }
}

/// Without content, which may be a secret.
impl fmt::Debug for Body {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match &self.kind {
            Kind::None => "None",
            Kind::Bytes(_) => "Bytes",
            Kind::File { .. } => "File",
            Kind::Once { .. } => "Once",
            Kind::Kept { .. } => "Kept",
        };
        formatter.debug_struct(name).field("length", &self.length()).finish()
    }
}

#[cfg(test)]
mod tests;
