//! Many requests at once through one session: the engine, and what it measures.

mod engine;
mod statistics;

pub use self::engine::{Finished, Plan, run};
pub use self::statistics::{Latencies, Summary, Tally};
