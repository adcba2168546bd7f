//! The gate's core as it ships, on Loom's primitives instead of those that the library uses.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the core is the part of the gate that is modelled, not all of it"
)]

#[path = "../../../src/gate/core.rs"]
pub(crate) mod core;
#[path = "../../../src/gate/decide.rs"]
pub(crate) mod decide;
#[path = "../../../src/gate/stamp.rs"]
pub(crate) mod stamp;
mod sync;
