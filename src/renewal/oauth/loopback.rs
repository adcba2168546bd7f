//! Where the browser comes back to on this machine (RFC 8252 section 7.3).
//!
//! - It listens on loopback alone, and only until the browser has come back once.
//! - The page that is shown then is always the same, and repeats nothing of the request.
//! - Browsers open connections ahead of need and ask for icons; neither gets in the way.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use oauth2::RedirectUrl;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;
use url::{Host, Url};

use super::error::OauthError;

/// A request's line, which holds the code, and its other lines.
const LONGEST_HEAD: u64 = 64 * 1024;
/// How long one connection may take for its request.
const CONNECTION_BOUND: Duration = Duration::from_secs(10);
/// How long is waited after a connection could not be taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const PAGE: &str = "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>authcli</title>\n\
    <p>authcli has the browser's answer. You may close this page and go back to the terminal.</p>\n</html>\n";

/// Listens for the browser.
pub struct Loopback {
    listeners: Vec<TcpListener>,
    redirect_uri: RedirectUrl,
}

impl Loopback {
    /// Returns the address to come back to where nobody says which: any free port will do.
    pub fn anywhere() -> RedirectUrl {
        #[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "the text is a constant and a URL")]
        RedirectUrl::new("http://127.0.0.1/callback".into()).expect("a constant URL")
    }

    /// Listens where `redirect_uri` says; without a port (or with port 0), on any free one. `None`: the address is not on this machine, so
    /// the browser cannot come back here.
    pub async fn bind(redirect_uri: &RedirectUrl) -> Result<Option<Self>, OauthError> {
        let url = redirect_uri.url();
        let addresses = match url.host() {
            Some(Host::Ipv4(address)) if address.is_loopback() => vec![IpAddr::V4(address)],
            Some(Host::Ipv6(address)) if address.is_loopback() => vec![IpAddr::V6(address)],
            // Browsers try both.
            Some(Host::Domain("localhost")) => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            _ => return Ok(None),
        };
        if url.scheme() != "http" {
            return Ok(None);
        }
        // A server lets the client choose the port of a loopback address, so none means any.
        let named = port_in(redirect_uri);
        let mut port = named.unwrap_or(0);
        let mut listeners = Vec::new();
        for address in addresses {
            let bound = TcpListener::bind(SocketAddr::from((address, port))).await;
            let bound = bound.and_then(|listener| Ok((listener.local_addr()?.port(), listener)));
            match bound {
                Ok((bound, listener)) => {
                    port = bound;
                    listeners.push(listener);
                }
                // A machine without IPv6.
                Err(error) if !listeners.is_empty() => debug!(%error, %address, "cannot listen there"),
                Err(cause) => {
                    let address = SocketAddr::from((address, port)).to_string();
                    return Err(OauthError::Listen { address, cause: Arc::new(cause) });
                }
            }
        }
        let redirect_uri = if named.is_none() { with_port(redirect_uri, port)? } else { redirect_uri.clone() };
        Ok(Some(Self { listeners, redirect_uri }))
    }

    /// Returns the address that the browser is sent back to.
    pub fn redirect_uri(&self) -> &RedirectUrl {
        &self.redirect_uri
    }

    /// Waits until the browser has come back, and returns the address that it came to. Nothing listens afterwards.
    pub async fn redirected(self) -> Url {
        let Self { listeners, redirect_uri } = self;
        let (came_back, mut redirected) = mpsc::channel(1);
        let mut connections = JoinSet::new();
        loop {
            let accepting = select_all(listeners.iter().map(|listener| Box::pin(listener.accept())));
            tokio::select! {
                Some(url) = redirected.recv() => return url,
                (accepted, ..) = accepting => match accepted {
                    Ok((stream, _)) => {
                        let (came_back, redirect_uri) = (came_back.clone(), redirect_uri.url().clone());
                        connections.spawn(async move {
                            if let Ok(Some(url)) = timeout(CONNECTION_BOUND, serve(stream, &redirect_uri)).await {
                                // The first is the one; who comes second finds nobody to tell.
                                let _ = came_back.try_send(url);
                            }
                        });
                    }
                    Err(error) => {
                        debug!(%error, "could not take a connection of the browser");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
                // Those that are done are not kept.
                Some(_) = connections.join_next() => {}
            }
        }
    }
}

/// Puts the port in, and leaves all else as it was written: servers compare the text.
fn with_port(redirect_uri: &RedirectUrl, port: u16) -> Result<RedirectUrl, OauthError> {
    let (scheme, host, path) = parts(redirect_uri);
    let host = host_and_port(host).map_or(host, |(host, _)| host);
    RedirectUrl::new(format!("{scheme}://{host}:{port}{path}"))
        .map_err(|_| OauthError::ForeignRedirect("its address takes no port"))
}

/// Returns the port that is written in the address. A parsed URL would not tell `:80` from none.
fn port_in(redirect_uri: &RedirectUrl) -> Option<u16> {
    let (_, host, _) = parts(redirect_uri);
    host_and_port(host).and_then(|(_, port)| port.parse().ok()).filter(|port| *port != 0)
}

/// Returns scheme, host with port, and the rest.
fn parts(redirect_uri: &RedirectUrl) -> (&str, &str, &str) {
    let (scheme, rest) = redirect_uri.split_once("://").unwrap_or_default();
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    (scheme, host, path)
}

fn host_and_port(host: &str) -> Option<(&str, &str)> {
    host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Answers one request. Returns the address that it asked for, if that is the one that the browser is sent back to.
async fn serve(stream: TcpStream, redirect_uri: &Url) -> Option<Url> {
    let mut stream = BufReader::new(stream);
    let target = read_target(&mut stream).await?;
    let redirected = target.and_then(|target| {
        let url = redirect_uri.join(&target).ok()?;
        (url.origin() == redirect_uri.origin() && url.path() == redirect_uri.path()).then_some(url)
    });
    let (status, page) = match redirected {
        Some(_) => ("200 OK", PAGE),
        None => ("404 Not Found", ""),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\ncache-control: no-store\r\n\
         referrer-policy: no-referrer\r\ncontent-security-policy: default-src 'none'\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    // A browser that goes away has told what it had to.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
    redirected
}

/// Reads the head of a request. Returns what it asks for, or `Some(None)` for what is no GET; `None` is no request.
async fn read_target(stream: &mut BufReader<TcpStream>) -> Option<Option<String>> {
    let mut head = stream.take(LONGEST_HEAD);
    let mut first = String::new();
    head.read_line(&mut first).await.ok().filter(|length| *length > 0)?;
    let mut line = String::new();
    loop {
        line.clear();
        match head.read_line(&mut line).await {
            Ok(length) if length > 0 && !line.trim().is_empty() => {}
            Ok(_) => break,
            Err(_) => return None,
        }
    }
    let mut words = first.split_whitespace();
    let is_get = words.next() == Some("GET");
    let target = words.next().filter(|target| is_get && target.starts_with('/') && !target.starts_with("//"));
    Some(target.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn ask(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    async fn bound(redirect_uri: &str) -> Option<Loopback> {
        Loopback::bind(&RedirectUrl::new(redirect_uri.into()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn one_request_is_taken_and_nothing_of_it_is_shown() {
        let loopback = bound(Loopback::anywhere().as_str()).await.unwrap();
        let port = loopback.redirect_uri().url().port().unwrap();
        assert_eq!(loopback.redirect_uri().as_str(), format!("http://127.0.0.1:{port}/callback"));
        let redirected = tokio::spawn(loopback.redirected());
        // Opened ahead of need, as browsers do, and never used.
        let _idle = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        for other in [
            "GET /favicon.ico HTTP/1.1\r\n\r\n",
            "POST /callback?code=evil HTTP/1.1\r\n\r\n",
            "GET //127.0.0.1/callback?code=evil HTTP/1.1\r\n\r\n",
            "GET /callback/x?code=evil HTTP/1.1\r\n\r\n",
        ] {
            assert!(ask(port, other).await.starts_with("HTTP/1.1 404"), "{other}");
        }
        let answer = ask(port, "GET /callback?code=canary&state=s HTTP/1.1\r\nhost: h\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("You may close this page"), "{answer}");
        assert!(!answer.contains("canary"), "{answer}");
        assert_eq!(redirected.await.unwrap().query(), Some("code=canary&state=s"));
        assert!(TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err(), "nothing listens any more");
    }

    #[tokio::test]
    async fn the_address_says_where_to_listen() {
        for (wanted, path) in [
            ("http://127.0.0.1/done", "/done"),
            ("http://127.0.0.1", ""),
            ("http://127.0.0.1?x", "?x"),
            ("http://127.0.0.1:0/done", "/done"),
            ("http://127.0.0.1:/done", "/done"),
        ] {
            let free = bound(wanted).await.unwrap();
            let port = free.redirect_uri().url().port().unwrap();
            assert_eq!(free.redirect_uri().as_str(), format!("http://127.0.0.1:{port}{path}"));
        }
        for (wanted, port) in [
            ("http://localhost:80/", Some(80)),
            ("http://localhost/", None),
            ("http://[::1]/x", None),
            ("http://[::1]:8080", Some(8080)),
        ] {
            assert_eq!(port_in(&RedirectUrl::new(wanted.into()).unwrap()), port, "{wanted}");
        }
        let free = bound("http://127.0.0.1/done").await.unwrap();
        let fixed = free.redirect_uri().clone();
        let busy = Loopback::bind(&fixed).await.map(drop);
        assert!(matches!(busy, Err(OauthError::Listen { .. })), "{busy:?}");
        drop(free);
        assert_eq!(bound(fixed.as_str()).await.unwrap().redirect_uri().as_str(), fixed.as_str());
        assert!(bound("http://localhost/x").await.unwrap().redirect_uri().url().port().is_some());
        for elsewhere in
            ["https://app.example/done", "http://app.example/done", "app:/done", "urn:ietf:wg:oauth:2.0:oob"]
        {
            assert!(bound(elsewhere).await.is_none(), "{elsewhere}");
        }
    }
}
