//! The file of a Unix socket: made for its owner alone, and gone when the proxy is.

use std::fs::{Metadata, Permissions, symlink_metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tokio::net::{UnixListener, UnixStream};

/// A Unix socket that listens. Its file is removed when this is dropped, unless another one has taken its place.
pub(super) struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`. What a proxy left there that was killed is replaced; a file of another kind, and a socket that
    /// somebody listens at, is left alone.
    pub(super) async fn bind(path: &Path) -> io::Result<Self> {
        check_free(path).await?;
        let beside = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        // Made where nobody else can look, and moved once it is private: at no time can anybody else connect.
        let private = tempfile::Builder::new().prefix(".").rand_bytes(6).tempdir_in(beside)?;
        let made = private.path().join("s");
        let listener = UnixListener::bind(&made)?;
        std::fs::set_permissions(&made, Permissions::from_mode(0o600))?;
        let identity = identity_of(&symlink_metadata(&made)?);
        std::fs::rename(&made, path)?;
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

async fn check_free(path: &Path) -> io::Result<()> {
    let found = match symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        found => found?,
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file, which is no socket"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
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

    use super::*;

    #[tokio::test]
    async fn it_is_its_owners_alone_and_goes_with_the_proxy() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("api.sock");
        let socket = SocketFile::bind(&path).await.unwrap();
        assert_eq!(symlink_metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
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
