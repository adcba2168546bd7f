//! The file of a Unix socket: made for its owner alone, and gone when the proxy is.

use std::fs::{File, Metadata, Permissions, TryLockError, hard_link, rename, set_permissions, symlink_metadata};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::sleep;

/// For as long as this may somebody else be about to replace a file that was left behind, in so many looks.
const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// A Unix socket that listens. Its file is removed when this is dropped, unless another one has taken its place.
pub(super) struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`. What a proxy left there that was killed is replaced; a file of another kind, and a socket that
    /// somebody listens at, is left alone. Of several that come at once one listens.
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        // No client could name a longer one.
        SocketAddr::from_pathname(path)?;
        let beside = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Made where nobody else can look, and put in its place once it is private: at no time can anybody else connect.
        let private = private_directory(beside)?;
        let made = private.path().join("s");
        let listener = listen(private.path(), &made)?;
        set_permissions(&made, Permissions::from_mode(0o600))?;
        let identity = identity_of(&symlink_metadata(&made)?);
        put(&made, path, beside).await?;
        Ok(Self { listener, path: path.to_owned(), identity })
    }

    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener.accept().await?.0)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if symlink_metadata(&self.path).is_ok_and(|found| identity_of(&found) == self.identity) {
            // Whoever removed it meanwhile has done the same.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Makes a directory that is its owner's from its first moment, whatever the umask.
fn private_directory(beside: &Path) -> io::Result<TempDir> {
    let mode = Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix(".").rand_bytes(6).permissions(mode).tempdir_in(beside)
}

fn listen(directory: &Path, made: &Path) -> io::Result<UnixListener> {
    if cfg!(target_os = "linux") && SocketAddr::from_pathname(made).is_err() {
        // A socket's name has little room, and this one is longer than the one that was asked for.
        let directory = File::open(directory)?;
        return UnixListener::bind(format!("/proc/self/fd/{}/s", directory.as_raw_fd()));
    }
    UnixListener::bind(made)
}

/// Gives the socket `made` the name `path`, if nobody listens there.
async fn put(made: &Path, path: &Path, beside: &Path) -> io::Result<()> {
    loop {
        // Unlike a move, this takes nobody's place.
        match hard_link(made, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            linked => return linked,
        }
        // What is found to be left behind must not be somebody's new one by the time that it is replaced.
        let _turn = turn(beside).await?;
        if is_left_behind(path).await? {
            return rename(made, path);
        }
    }
}

/// Waits for the right to replace a file in `directory`; it ends when what this returns is dropped.
async fn turn(directory: &Path) -> io::Result<File> {
    let directory = File::open(directory)?;
    for _ in 0..LOOKS {
        match directory.try_lock() {
            Ok(()) => return Ok(directory),
            Err(TryLockError::WouldBlock) => sleep(BETWEEN_LOOKS).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "another program has locked its directory"))
}

/// Returns whether a socket is there that nobody listens at; `false` if nothing is there any more.
async fn is_left_behind(path: &Path) -> io::Result<bool> {
    let found = match symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file, which is no socket"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there")),
        Err(error) => Err(error),
    }
}

fn identity_of(file: &Metadata) -> (u64, u64) {
    (file.dev(), file.ino())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener as Other;
    use std::sync::Barrier;

    use super::*;

    #[tokio::test]
    async fn it_is_its_owners_alone_and_goes_with_the_proxy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let private = private_directory(directory.path()).unwrap();
        assert_eq!(symlink_metadata(private.path()).unwrap().permissions().mode() & 0o777, 0o700);
        drop(private);
        let socket = SocketFile::bind(&path).await.unwrap();
        assert_eq!(symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside it");
        let second = SocketFile::bind(&path).await.err().unwrap();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn what_a_killed_proxy_left_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        // Std leaves the file behind.
        drop(Other::bind(&path).unwrap());
        let socket = SocketFile::bind(&path).await.unwrap();
        assert!(UnixStream::connect(&path).await.is_ok());
        drop(socket);
    }

    /// Lets several start at `path` at once, and returns how many of them listen.
    fn at_once(path: &Path) -> usize {
        const MANY: usize = 4;
        let (start, end) = (Barrier::new(MANY), Barrier::new(MANY));
        std::thread::scope(|scope| {
            let bind = || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async {
                    start.wait();
                    let bound = SocketFile::bind(path).await;
                    end.wait();
                    bound.is_ok()
                })
            };
            let threads: Vec<_> = (0..MANY).map(|_| scope.spawn(bind)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).filter(|bound| *bound).count()
        })
    }

    #[test]
    fn of_several_that_come_at_once_one_listens() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        for round in 0..40 {
            if round % 2 == 0 {
                drop(Other::bind(&path).unwrap());
            }
            assert_eq!(at_once(&path), 1, "round {round}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_no_socket_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        std::fs::write(&path, "mine").unwrap();
        assert!(SocketFile::bind(&path).await.is_err());
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(SocketFile::bind(&link).await.is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[tokio::test]
    async fn the_file_of_who_came_after_is_not_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let socket = SocketFile::bind(&path).await.unwrap();
        std::fs::remove_file(&path).unwrap();
        let _other = Other::bind(&path).unwrap();
        drop(socket);
        assert!(path.exists());
    }
}
