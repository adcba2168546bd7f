//! Builds a server from its configuration, binds it, runs it until it is told to stop.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use actix_web::middleware::from_fn;
use actix_web::web::Data;
use actix_web::{App, HttpServer};
use tokio::net::TcpSocket;
use tracing::{info, warn};

use crate::auth::Auth;
use crate::config::Config;
use crate::demo::{self, DemoError};
use crate::keys::{KeyError, KeyRing};
use crate::open_files;
use crate::password::{PasswordError, Passwords};
use crate::pepper::{Absent, PepperError, Peppers};
use crate::ports::{Store, StoreError};
use crate::routes;
use crate::routes::{AllowedOrigins, TrustedProxies};
use crate::store::{self, Missing, OpenError};
use crate::sweep::{Pace, Sweeper};

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How many connections may wait to be accepted; the system may allow less.
const BACKLOG: u32 = 2048;
/// How long an idle connection is kept.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long requests that are under way may take to finish once the server is told to stop.
const STOP_TIMEOUT_SECONDS: u64 = 15;

/// A server that is bound but not yet running.
#[derive(Debug)]
pub struct Application {
    listener: TcpListener,
    address: SocketAddr,
    auth: Data<Auth>,
    origins: Data<AllowedOrigins>,
    proxies: Data<TrustedProxies>,
    store: Arc<dyn Store>,
    has_users: bool,
}

/// Why a server could not be built.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or is none of this machine's.
    #[error("could not listen on {address}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No address at all.
    #[error("there is no address to listen on")]
    NoAddress,
    /// The database.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The pepper.
    #[error(transparent)]
    Pepper(#[from] PepperError),
    /// The signing keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The password hash.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The demonstration.
    #[error(transparent)]
    Demo(#[from] DemoError),
    /// The database opened but did not answer.
    #[error("could not read the database")]
    Store(#[from] StoreError),
}

impl StartError {
    /// Returns what the operator can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                Some("another program listens there; `--listen` names another address, port 0 any free one".to_owned())
            }
            Self::Bind { .. } | Self::NoAddress => Some("`--listen ADDRESS:PORT` names another address".to_owned()),
            Self::Open(error) => error.hint(),
            Self::Pepper(error) => error.hint(),
            Self::Demo(error) => error.hint(),
            Self::Keys(error) => error.hint().map(str::to_owned),
            Self::Password(_) | Self::Store(_) => None,
        }
    }
}

impl Application {
    /// Opens the database and binds the address. The address comes first: it is what fails most, and it costs nothing.
    pub async fn build(config: Config) -> Result<Self, StartError> {
        if config.demo {
            demo::check_addresses(&config.listen)?;
        }
        let listener = bind(&config.listen)?;
        let bound = |source| StartError::Bind { address: config.listen[0], source };
        let address = listener.local_addr().map_err(bound)?;
        let store = store::open(&config.database, Missing::Create).await?;
        let passwords = Passwords::with_room(config.password_cost, config.password_room)?;
        // Before the pepper: a database that is refused here must not be bound to one.
        if config.demo {
            demo::add_users(&*store, &passwords).await?;
        } else {
            let is_loopback = address.ip().to_canonical().is_loopback();
            for (_, name, password) in demo::USERS {
                match demo::refuse_known_password(name, password, &*store, &passwords).await {
                    // Whoever serves this machine alone may play on; behind a proxy, though, that is not what it does.
                    Err(error) if is_loopback => warn!("{error}: {}", error.hint().unwrap_or_default()),
                    other => other?,
                }
            }
        }
        let peppers = Arc::new(Peppers::load(&config.pepper, &*store, Absent::Check).await?);
        if let Err(error) = peppers.tell_needless(&*store).await {
            info!(%error, "could not look whether an older pepper is still needed");
        }
        let keys = KeyRing::load(store.clone(), Arc::clone(&peppers), config.lifetimes.access).await?;
        let has_users = store.has_users().await?;
        let auth = Auth::new(store.clone(), store.clone(), store.clone(), peppers, keys, passwords, config.lifetimes);
        let (origins, proxies) = (Data::new(config.origins), Data::new(config.proxies));
        Ok(Self { listener, address, auth: Data::new(auth), origins, proxies, store, has_users })
    }

    /// Returns the address that it is bound to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the port that it is bound to.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Returns whether anybody can log in.
    pub fn has_users(&self) -> bool {
        self.has_users
    }

    /// Serves until `stop` is done, then lets requests that are under way finish and closes the database.
    pub async fn run_until_stopped(self, stop: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let Self { listener, auth, origins, proxies, store, .. } = self;
        let keeper = auth.clone();
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(auth.clone())
                .app_data(origins.clone())
                .app_data(proxies.clone())
                .configure(routes::configure)
                // The last one is the outermost: every answer passes both, errors included.
                .wrap(from_fn(routes::cors))
                .wrap(from_fn(routes::request_log))
        })
        .workers(threads)
        .max_connections(open_files::connections_for_each(threads))
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .shutdown_timeout(STOP_TIMEOUT_SECONDS)
        .shutdown_signal(stop)
        .listen(listener)?;
        let sweeper = Sweeper::start(Arc::clone(&store), Pace::default());
        // Dropped with the server: nothing else ends it.
        let result = tokio::select! {
            result = server.run() => result,
            () = keeper.keys.keep_current() => Ok(()),
        };
        sweeper.stop().await;
        store.close().await;
        result
    }
}

/// Takes the first address that can be had: `localhost` may have several.
fn bind(addresses: &[SocketAddr]) -> Result<TcpListener, StartError> {
    let mut refused = StartError::NoAddress;
    for &address in addresses {
        match listen(address) {
            Ok(listener) => return Ok(listener),
            Err(source) => refused = StartError::Bind { address, source },
        }
    }
    Err(refused)
}

/// Not `TcpListener::bind`: that lets 128 connections wait, and of a thousand that come at once most would be dropped and
/// try again a second later.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
