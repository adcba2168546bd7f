//! Random interleavings of all that can happen to processes that share a credential, against a server that rotates
//! refresh tokens and takes a reused one for theft.
//!
//! `steps` says what can happen; `process` and `universe` (with `shelf` and `wire`) are the world in which it does, and
//! `server` is its server; `run` does the steps. After each it is checked, here or in `verdicts`:
//!
//! - one renewal is in flight at any time, and the server never sees a token redeemed twice but under the same key;
//! - nothing newer in the store, and no other login, is overwritten or cleared by something older;
//! - nobody gets the generation that was refused to them, a dead token as though it were new, or another session's;
//! - a refresh token goes to its own server; a session that was logged out never comes back;
//! - everyone who waits gets an answer, and is told of an end only where there is one;
//! - a session that nobody ended can be renewed by whoever comes last.
//!
//! A case that fails is shrunk and told with its log. `PROPTEST_CASES` makes more of them.

mod process;
mod run;
mod server;
mod shelf;
mod steps;
mod universe;
mod verdicts;
mod wire;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError};

use self::run::Case;
use self::steps::{Step, steps};

const CASES: u32 = 2_000;

fn config() -> Config {
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { CASES };
    Config {
        cases,
        // The default draws as for secrets, and takes longer for it than the cases themselves.
        rng_algorithm: RngAlgorithm::XorShift,
        max_shrink_iters: u32::MAX - 1,
        max_shrink_time: 60_000,
        ..Config::default()
    }
}

fn run(turns: Vec<u8>, steps: &[Step]) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async { Case::new(turns).run(steps).await }).map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn nothing_is_lost_and_nothing_done_twice(turns in prop::collection::vec(0..4_u8, 0..8), steps in steps()) {
        run(turns, &steps)?;
    }
}
