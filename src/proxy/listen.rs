//! Where the proxy can be reached: a loopback address, or a Unix socket that only its owner can connect to.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

#[cfg(unix)]
use std::path::PathBuf;

use tokio::net::{TcpListener, TcpStream};

#[cfg(unix)]
use super::socket::SocketFile;

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A loopback address; port 0 is a free one.
    Loopback(SocketAddr),
    /// A Unix socket, made with mode 0600.
    #[cfg(unix)]
    Unix(PathBuf),
}

impl Default for Listen {
    fn default() -> Self {
        Self::Loopback(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}

/// Why an address is none to listen at. Nothing was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The text is no address.
    #[error("expected HOST:PORT, such as 127.0.0.1:8080, or unix:PATH")]
    NotAnAddress,
    /// Other machines could connect.
    #[error("a proxy that adds tokens listens on this machine alone: 127.0.0.1, [::1], localhost, or unix:PATH")]
    NotLoopback,
    /// There is no path after `unix:`.
    #[error("`unix:` needs the path of the socket, such as unix:/run/user/1000/api.sock")]
    NoPath,
    /// This system has no such sockets.
    #[error("there are no Unix sockets on this system")]
    NoUnixSockets,
}

impl FromStr for Listen {
    type Err = ListenError;

    fn from_str(text: &str) -> Result<Self, ListenError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix(path);
        }
        let address = match text.rsplit_once(':') {
            Some((host, port)) if host.eq_ignore_ascii_case("localhost") => {
                let port = port.parse().map_err(|_| ListenError::NotAnAddress)?;
                SocketAddr::from((Ipv4Addr::LOCALHOST, port))
            }
            // A name is not looked up: who answers may be anybody.
            _ => text.parse().map_err(|_| ListenError::NotAnAddress)?,
        };
        if !address.ip().is_loopback() {
            return Err(ListenError::NotLoopback);
        }
        Ok(Self::Loopback(address))
    }
}

#[cfg(unix)]
fn unix(path: &str) -> Result<Listen, ListenError> {
    if path.is_empty() {
        return Err(ListenError::NoPath);
    }
    Ok(Listen::Unix(path.into()))
}

#[cfg(not(unix))]
fn unix(_: &str) -> Result<Listen, ListenError> {
    Err(ListenError::NoUnixSockets)
}

impl fmt::Display for Listen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback(address) => address.fmt(formatter),
            #[cfg(unix)]
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
        }
    }
}

/// A socket that listens.
pub(super) enum Listener {
    Tcp(TcpListener),
    #[cfg(unix)]
    Unix(SocketFile),
}

/// A client that has connected.
pub(super) enum Connected {
    Tcp(TcpStream),
    #[cfg(unix)]
    Unix(tokio::net::UnixStream),
}

impl Listener {
    pub(super) async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Loopback(address) => TcpListener::bind(address).await.map(Self::Tcp),
            #[cfg(unix)]
            Listen::Unix(path) => SocketFile::bind(path).await.map(Self::Unix),
        }
    }

    /// Returns where it listens; `None` for a socket without a name in the network.
    pub(super) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            #[cfg(unix)]
            Self::Unix(_) => Ok(None),
        }
    }

    pub(super) async fn accept(&self) -> io::Result<Connected> {
        match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                // What is passed on has been collected by whoever wrote it.
                stream.set_nodelay(true)?;
                Ok(Connected::Tcp(stream))
            }
            #[cfg(unix)]
            Self::Unix(file) => Ok(Connected::Unix(file.accept().await?)),
        }
    }
}

/// Returns how clients may write `address` in a `Host` header.
pub(super) fn names_of(address: SocketAddr) -> Vec<String> {
    let port = address.port();
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    let mut names = vec![ip];
    // Another address is not what that name leads to; somebody else may listen there.
    if [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)].contains(&address.ip()) {
        names.push("localhost".into());
    }
    let with_port = names.iter().map(|name| format!("{name}:{port}")).collect();
    if port == 80 { [names, with_port].concat() } else { with_port }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_listened_at() {
        for (text, expected) in [
            ("127.0.0.1:0", Ok("127.0.0.1:0")),
            ("127.9.9.9:8080", Ok("127.9.9.9:8080")),
            ("[::1]:80", Ok("[::1]:80")),
            ("localhost:8080", Ok("127.0.0.1:8080")),
            ("LocalHost:0", Ok("127.0.0.1:0")),
            ("0.0.0.0:80", Err(ListenError::NotLoopback)),
            ("[::]:80", Err(ListenError::NotLoopback)),
            ("192.0.2.1:80", Err(ListenError::NotLoopback)),
            ("[::ffff:127.0.0.1]:80", Err(ListenError::NotLoopback)),
            ("example.com:80", Err(ListenError::NotAnAddress)),
            ("localhost", Err(ListenError::NotAnAddress)),
            ("127.0.0.1", Err(ListenError::NotAnAddress)),
            ("localhost:65536", Err(ListenError::NotAnAddress)),
            ("8080", Err(ListenError::NotAnAddress)),
            ("", Err(ListenError::NotAnAddress)),
        ] {
            let parsed = text.parse::<Listen>().map(|listen| listen.to_string());
            assert_eq!(parsed, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn localhost_is_the_name_of_its_own_addresses_alone() {
        for (address, expected) in [
            ("127.0.0.1:8080", ["127.0.0.1:8080", "localhost:8080"].as_slice()),
            ("[::1]:8080", &["[::1]:8080", "localhost:8080"]),
            ("127.0.0.2:8080", &["127.0.0.2:8080"]),
            ("127.0.0.1:80", &["127.0.0.1", "localhost", "127.0.0.1:80", "localhost:80"]),
        ] {
            assert_eq!(names_of(address.parse().unwrap()), expected, "{address}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_unix_socket_needs_a_path() {
        assert_eq!("unix:/tmp/a b".parse(), Ok(Listen::Unix("/tmp/a b".into())));
        assert_eq!("unix:".parse::<Listen>(), Err(ListenError::NoPath));
    }
}
