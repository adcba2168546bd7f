//! `authcli-server serve`.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use tempfile::TempDir;
use tokio::sync::oneshot;

use super::CommandError;
use super::context::{database_url, pepper_source, print, tell};
use crate::cli::ServeArgs;
use crate::config::{ACCESS_TTL, Config, DEMO_ACCESS_TTL, REFRESH_TTL};
use crate::domain::Lifetimes;
use crate::open_files;
use crate::password::{PasswordCost, Room};
use crate::routes::{AllowedOrigins, TrustedProxies};
use crate::startup::Application;
use crate::store::DatabaseUrl;

/// Serves until a signal asks to stop, then finishes what is under way; a second signal ends it at once. A throw-away
/// database goes with the process.
pub(super) async fn serve(args: ServeArgs) -> Result<(), CommandError> {
    // First of all: a signal during the start must not leave a throw-away database behind.
    let mut signals = Signals::listen().map_err(CommandError::io("could not wait for signals"))?;
    open_files::raise_open_file_limit();
    let (config, throw_away) = resolve(&args)?;
    let application = tokio::select! {
        built = Application::build(config) => built?,
        // There is nothing under way that could be finished.
        () = signals.next() => return Ok(()),
    };
    if !application.has_users() {
        tell("There are no users yet; `authcli-server user add NAME --password-stdin` adds one.");
    }
    print(&format!("listening on http://{}\n", application.address()))?;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = application.run_until_stopped(async { drop(stopped.await) });
    let served = async {
        tokio::pin!(running);
        tokio::select! {
            served = &mut running => return Some(served),
            () = signals.next() => drop(stop),
        }
        tokio::select! {
            served = running => Some(served),
            () = signals.next() => None,
        }
    };
    let served = served.await;
    drop(throw_away);
    served.ok_or(CommandError::CutOff)?.map_err(CommandError::io("the server broke down"))
}

/// The directory of a throw-away database; removed when dropped.
type ThrowAway = Option<TempDir>;

fn resolve(args: &ServeArgs) -> Result<(Config, ThrowAway), CommandError> {
    let listen = resolve_address(&args.listen)?;
    let origins = match args.cors_origin.as_slice() {
        [] if args.demo => AllowedOrigins::Any,
        origins => AllowedOrigins::parse(origins)?,
    };
    let proxies = TrustedProxies::parse(&args.trusted_proxy)?;
    let (database, throw_away) = if args.demo && args.database.database.is_none() {
        let directory = tempfile::Builder::new()
            .prefix("authcli-server-demo-")
            .tempdir()
            .map_err(CommandError::io("could not make a directory for the throw-away database"))?;
        (DatabaseUrl::Sqlite(directory.path().join("demo.db")), Some(directory))
    } else {
        (database_url(&args.database)?, None)
    };
    let lifetimes = resolve_lifetimes(args)?;
    let config = Config {
        listen,
        pepper: pepper_source(&database)?,
        database,
        lifetimes,
        origins,
        proxies,
        password_cost: PasswordCost::default(),
        password_room: Room::default(),
        demo: args.demo,
    };
    Ok((config, throw_away))
}

/// Returns the lifetimes, which must make sense together: what outlives what it comes from was not meant so.
fn resolve_lifetimes(args: &ServeArgs) -> Result<Lifetimes, CommandError> {
    let access = args.access_ttl.map(|lifetime| lifetime.0);
    let access = access.unwrap_or(if args.demo { DEMO_ACCESS_TTL } else { ACCESS_TTL });
    let session = args.session_ttl.0;
    let refresh = args.refresh_ttl.map_or(REFRESH_TTL.min(session), |lifetime| lifetime.0);
    if refresh > session {
        return Err(CommandError::RefreshOutlivesSession { refresh, session });
    }
    if access >= refresh {
        return Err(CommandError::AccessOutlivesRefresh { access, refresh });
    }
    Ok(Lifetimes { access, refresh, session })
}

fn resolve_address(text: &str) -> Result<Vec<SocketAddr>, CommandError> {
    match text.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(source) => Err(CommandError::Listen { text: text.to_owned(), source }),
    }
}

/// Signals that ask the server to stop: SIGTERM, SIGINT, and SIGHUP, which comes when the terminal is closed. One that was
/// ignored when the program started (as `nohup` does) stays ignored.
struct Signals {
    #[cfg(unix)]
    listeners: Vec<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        let ignored = ignored_signals();
        let kinds = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let kept = kinds.into_iter().filter(|kind| ignored & (1 << (kind.as_raw_value() - 1)) == 0);
        Ok(Self { listeners: kept.map(signal).collect::<io::Result<_>>()? })
    }

    async fn next(&mut self) {
        std::future::poll_fn(|context| {
            // All are polled each time, so that each can wake us.
            let mut come = false;
            for listener in &mut self.listeners {
                come |= listener.poll_recv(context).is_ready();
            }
            if come { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    }
}

/// Returns the mask of ignored signals, where the system tells it in a file (Linux).
#[cfg(unix)]
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(not(unix))]
impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    }
}
