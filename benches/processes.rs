//! Many processes on one expired token, beside as many on a live one: what meeting at one refresh costs.
//!
//! The server is the same for both, and holds the answer of a refresh for a while, as one far away would. A round in
//! which more than one refresh is asked for, or any process fails, ends the measurement.

#![expect(clippy::expect_used, reason = "a broken expectation ends the measurement")]
#![expect(clippy::print_stdout, reason = "the figures are what this is for")]

mod support {
    pub(crate) mod figures;
    pub(crate) mod token_server;
    pub(crate) mod user;
}

use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use self::support::figures::{Comparison, Relation};
use self::support::token_server::{Counts, TokenServer};
use self::support::user::User;

const CROWDS: [(usize, &str); 3] = [(1, "one get"), (16, "16 gets at once"), (64, "64 gets at once")];
const ROUNDS: usize = 15;
const REFRESH_TAKES: Duration = Duration::from_millis(150);
/// How much longer the crowd on the expired token may take.
const TARGET_MS: f64 = 500.0;

fn main() {
    let server = TokenServer::start(REFRESH_TAKES);
    let user = User::new();
    for (crowd, name) in CROWDS {
        let comparison = Comparison::measure(
            name,
            "ms",
            ROUNDS,
            [
                ("expired token", &mut || {
                    user.log_in(&server.url);
                    let figure = all_at_once(&user, crowd);
                    assert_eq!(server.counts(), Counts { refreshes: 1, served: crowd, refused: 0 });
                    figure
                }),
                ("live token", &mut || {
                    let figure = all_at_once(&user, crowd);
                    assert_eq!(server.counts(), Counts { refreshes: 1, served: 2 * crowd, refused: 0 });
                    figure
                }),
            ],
        );
        comparison.print(Relation::Difference, Some(TARGET_MS));
    }
}

/// Starts so many `get`s one right after the other, and returns the milliseconds until the last one has ended.
fn all_at_once(user: &User, crowd: usize) -> f64 {
    let start = Instant::now();
    let processes: Vec<Child> = (0..crowd)
        .map(|_| user.authcli(&["get", "/protected"]).stdout(Stdio::null()).spawn().expect("authcli can be started"))
        .collect();
    let ends: Vec<_> =
        processes.into_iter().map(|mut process| process.wait().expect("authcli can be waited for")).collect();
    let elapsed = start.elapsed();
    assert!(ends.iter().all(ExitStatus::success), "{ends:?}");
    elapsed.as_secs_f64() * 1000.0
}
