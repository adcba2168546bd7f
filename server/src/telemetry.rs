//! Logs, on stderr.
//!
//! What is never logged, at any level: tokens of either kind, attempt keys, passwords, the pepper, request headers and
//! bodies, and paths that are none of ours. A session is named by its id, a user by its number, and whatever is said while a
//! request is served bears the id that its answer carries as `X-Request-Id`.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;

/// Everything of ours; of the library that accepts connections only what is wrong.
const DEFAULT_FILTER: &str = "info,actix_server=warn";

/// The filter is none.
#[derive(Debug, thiserror::Error)]
#[error("`AUTHCLI_SERVER_LOG` is no log filter")]
pub struct InvalidFilter(#[from] tracing_subscriber::filter::ParseError);

/// Sends the logs of this process to stderr; `filter` is what `AUTHCLI_SERVER_LOG` holds.
pub fn init(filter: Option<&str>) -> Result<(), InvalidFilter> {
    let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER))?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .with_writer(io::stderr)
        // Its fallback prints to stderr and panics where that is closed: a log that nobody reads must not end requests.
        .log_internal_errors(false)
        .finish();
    // Fails only if the process has a subscriber already, and then that one is meant.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
