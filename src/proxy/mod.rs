//! A local proxy to a session's server: it adds a live token to whatever passes, so that any program in any language calls
//! the server as though tokens never expired.
//!
//! # What it guarantees
//!
//! - Only programs of this user get through: over TCP they must know a key that is drawn anew for each run and stands
//!   before every path; a Unix socket is made for its owner alone. Pages of other sites are refused, and so are requests
//!   under another name than the proxy's own (DNS rebinding) or for another host.
//! - Requests go to the session's server, under its own path, and nowhere else.
//! - No client sees a refusal that a newer token mends: a refused request is sent again once, also with a body of up to
//!   [`KEPT_IN_MEMORY`](crate::http::KEPT_IN_MEMORY).
//! - Bodies pass as they come, both ways, undecoded; a slow reader slows the writer. What is kept of bodies is bounded.
//! - A client that goes away ends its request at the server, never a refresh.
//! - The key is in no log, no error and no head that is sent to the server; in answers, only where an address leads back
//!   to the proxy. What bodies hold is their sender's.
//!
//! It speaks HTTP/1.1 on both sides. WebSocket passes; other upgrades do not.

mod access;
mod forward;
mod heads;
mod listen;
mod patience;
mod refusal;
#[cfg(unix)]
mod socket;
mod tunnel;

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::debug;

use self::forward::Forwarder;
use self::listen::{Connected, Listener};
pub use self::listen::{Listen, ListenError};
use self::patience::Patience;
use crate::session::{SendError, Session};

/// How long a client may take for a head, and how long its connection may lie idle.
const HEAD_BOUND: Duration = Duration::from_mins(1);
/// How long a client has to end a head that it has begun when the proxy stops.
const LAST_HEAD_BOUND: Duration = Duration::from_secs(1);
/// How long a head may be, in bytes; also what is read of a body at once.
const HEAD_LENGTH: usize = 64 * 1024;
/// Before the next client is accepted when none could be: nearly always because too many files are open.
const PAUSE: Duration = Duration::from_millis(100);

/// A proxy that listens already, and serves once it is told to.
pub struct Proxy {
    listener: Listener,
    forwarder: Arc<Forwarder>,
    connections: usize,
    address: String,
}

/// Is told of each request that no answer could be had for, unless that is its client's own fault.
pub type Observer = Box<dyn Fn(&SendError) + Send + Sync>;

impl Proxy {
    /// Listens at `listen`; `connections` is how many clients may be connected at a time. The session's HTTP client must
    /// neither follow redirects nor decode bodies, and must speak HTTP/1.1 alone.
    ///
    /// # Errors
    /// If the address is taken or not allowed, or there is no randomness for the key.
    pub async fn bind(listen: &Listen, session: Session, connections: usize, observer: Observer) -> io::Result<Self> {
        let listener = Listener::bind(listen).await?;
        let bound = listener.address()?;
        let forwarder = Forwarder::new(session, bound, observer).map_err(io::Error::other)?;
        let address = match bound {
            Some(address) => format!("http://{address}{}", forwarder.prefix()),
            None => listen.to_string(),
        };
        Ok(Self { listener, forwarder: Arc::new(forwarder), connections, address })
    }

    /// Returns what clients use in place of the server's address: `http://127.0.0.1:PORT/KEY`, or `unix:PATH`. It is a
    /// secret: whoever knows it calls the server as the session's user.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Serves until `stop` is ready; then accepts nobody any more, ends every WebSocket, and returns when the requests
    /// that are under way have been answered. Dropped, it cuts them too. The session's tokens are renewed ahead of their end
    /// meanwhile.
    pub async fn serve(self, stop: impl Future<Output = ()>) {
        let Self { listener, forwarder, connections, .. } = self;
        forwarder.session().gate().keep_ahead();
        let places = Arc::new(Semaphore::new(connections));
        let mut tasks = JoinSet::new();
        tokio::pin!(stop);
        loop {
            let accepted = async {
                // Never closed.
                let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((listener.accept().await?, place))
            };
            let accepted = tokio::select! {
                () = &mut stop => break,
                accepted = accepted => accepted,
            };
            while tasks.try_join_next().is_some() {}
            let forwarder = Arc::clone(&forwarder);
            match accepted {
                Ok((Connected::Tcp(stream), place)) => drop(tasks.spawn(converse(stream, forwarder, place))),
                #[cfg(unix)]
                Ok((Connected::Unix(stream), place)) => drop(tasks.spawn(converse(stream, forwarder, place))),
                Err(error) => {
                    debug!(%error, "could not accept a client");
                    sleep(PAUSE).await;
                }
            }
        }
        // No more clients, and the file of a socket goes.
        drop(listener);
        forwarder.stop();
        while tasks.join_next().await.is_some() {}
    }
}

/// Serves one client's connection to its end.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    forwarder: Arc<Forwarder>,
    place: OwnedSemaphorePermit,
) {
    let place = Arc::new(place);
    let stopped = forwarder.stopped();
    let service = service_fn(move |request| {
        let (forwarder, place) = (Arc::clone(&forwarder), Arc::clone(&place));
        async move { Ok::<_, std::convert::Infallible>(forwarder.answer(request, place).await) }
    });
    let patience = Patience::default();
    let connection = http1::Builder::new()
        .timer(patience.clone())
        .header_read_timeout(HEAD_BOUND)
        .max_buf_size(HEAD_LENGTH)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = stopped => {
            // At once, if it lies idle.
            connection.as_mut().graceful_shutdown();
            if let Ok(served) = timeout(LAST_HEAD_BOUND, connection.as_mut()).await {
                served
            } else {
                patience.lose();
                connection.await
            }
        }
    };
    if let Err(error) = served {
        debug!(%error, "a client's connection broke");
    }
}
