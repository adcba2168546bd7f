//! `authcli-server serve`.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};

use tempfile::TempDir;

use super::CommandError;
use super::context::{database_path, pepper_source, print, tell};
use crate::cli::ServeArgs;
use crate::config::{ACCESS_TTL, Config, DEMO_ACCESS_TTL};
use crate::domain::Lifetimes;
use crate::password::PasswordCost;
use crate::routes::AllowedOrigins;
use crate::startup::Application;

/// Serves until SIGTERM or SIGINT. A throw-away database goes with the process.
pub(super) async fn serve(args: ServeArgs) -> Result<(), CommandError> {
    // First of all: a signal during the start must not leave a throw-away database behind.
    let stop = stop_signal().map_err(CommandError::io("could not wait for signals"))?;
    let (config, throw_away) = resolve(&args)?;
    let application = Application::build(config).await?;
    if !application.has_users() {
        tell("There are no users yet; `authcli-server user add NAME --password-stdin` adds one.");
    }
    print(&format!("listening on http://{}\n", application.address()))?;
    let served = application.run_until_stopped(stop).await;
    drop(throw_away);
    served.map_err(CommandError::io("the server broke down"))
}

/// The directory of a throw-away database; removed when dropped.
type ThrowAway = Option<TempDir>;

fn resolve(args: &ServeArgs) -> Result<(Config, ThrowAway), CommandError> {
    let listen = resolve_address(&args.listen)?;
    let origins = match args.cors_origin.as_slice() {
        [] if args.demo => AllowedOrigins::Any,
        origins => AllowedOrigins::parse(origins)?,
    };
    let (database, throw_away) = if args.demo && args.database.database.is_none() {
        let directory = tempfile::Builder::new()
            .prefix("authcli-server-demo-")
            .tempdir()
            .map_err(CommandError::io("could not make a directory for the throw-away database"))?;
        (directory.path().join("demo.db"), Some(directory))
    } else {
        (database_path(&args.database)?, None)
    };
    let access = args.access_ttl.map(|lifetime| lifetime.0);
    let config = Config {
        listen,
        pepper: pepper_source(&database),
        database,
        lifetimes: Lifetimes {
            access: access.unwrap_or(if args.demo { DEMO_ACCESS_TTL } else { ACCESS_TTL }),
            refresh: args.refresh_ttl.0,
            session: args.session_ttl.0,
        },
        origins,
        password_cost: PasswordCost::default(),
        demo: args.demo,
    };
    Ok((config, throw_away))
}

fn resolve_address(text: &str) -> Result<Vec<SocketAddr>, CommandError> {
    match text.to_socket_addrs() {
        Ok(addresses) => Ok(addresses.collect()),
        Err(source) => Err(CommandError::Listen { text: text.to_owned(), source }),
    }
}

/// Returns a future that is done at the first SIGTERM or SIGINT from now on.
#[cfg(unix)]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    use std::future::poll_fn;
    use std::task::Poll;

    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(poll_fn(move |context| {
        // Both are polled each time, so that both can wake us.
        let terminated = terminate.poll_recv(context).is_ready();
        let interrupted = interrupt.poll_recv(context).is_ready();
        if terminated || interrupted { Poll::Ready(()) } else { Poll::Pending }
    }))
}

/// Returns a future that is done at the first Ctrl-C from now on.
#[cfg(not(unix))]
fn stop_signal() -> io::Result<impl Future<Output = ()> + Send + 'static> {
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}
