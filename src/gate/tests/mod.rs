//! The gate against a world that is answered by hand: each renewal arrives at the test, which decides when and how it
//! is answered. Several gates on one world stand for several processes. Time is paused and moves only by `advance` and
//! by waits that everything waits for.

mod across_processes;
mod failures;
mod found;
mod interrupted;
mod long_work;
mod random;
mod refusals;
mod refused;
mod single_flight;
mod world;
