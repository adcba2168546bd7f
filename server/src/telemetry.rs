//! Logs, on stderr, by a thread of their own (`telemetry/lines.rs`): a reader that stalls holds up no request.
//!
//! What is never logged, at any level: tokens of either kind, attempt keys, passwords, the pepper, request headers and
//! bodies, and paths that are none of ours. A session is named by its id, a user by its number, and whatever is said while a
//! request is served bears the id that its answer carries as `X-Request-Id`.

mod lines;

use std::fmt;
use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use self::lines::{Flush, Lines};

/// Everything of ours; of the library that accepts connections only what is wrong.
const DEFAULT_FILTER: &str = "info,actix_server=warn";

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("`AUTHCLI_SERVER_LOG` is no log filter")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// The thread that writes could not be started.
    #[error("could not start to log")]
    Thread(#[from] io::Error),
}

/// Sends the logs of this process to stderr, until what is returned is dropped; `filter` is what `AUTHCLI_SERVER_LOG` holds.
pub fn init(filter: Option<&str>) -> Result<Flush, TelemetryError> {
    let filter = EnvFilter::try_new(filter.unwrap_or(DEFAULT_FILTER))?;
    let (lines, flush) = Lines::start(io::stderr())?;
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_timer(Clock)
        .with_target(false)
        .with_writer(lines)
        // Its fallback prints to stderr and panics where that is closed: a log that nobody reads must not end requests.
        .log_internal_errors(false)
        .finish();
    // Fails only if the process has a subscriber already, and then that one is meant.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(flush)
}

/// When a line was said, to the millisecond.
struct Clock;

impl FormatTime for Clock {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        #[expect(clippy::disallowed_methods, reason = "a log tells the time; no rule rests on it")]
        let now = jiff::Timestamp::now();
        write!(writer, "{now:.3}")
    }
}
