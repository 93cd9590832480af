//! Chaos: real processes, a checked workload, faults drawn from a seed, and invariants that are written once
//! and checked after every scenario.
//!
//! Read `scenario.rs` (what is broken, and what that may hurt), then `run.rs` (one scenario from start to
//! verdict), then `invariants/`. How to run it and how to read a violation: `docs/chaos.md`.
#![forbid(unsafe_code)]
#![allow(clippy::disallowed_methods, reason = "threads of their own; no arbiter is near")]

pub mod census;
pub mod evidence;
pub mod inject;
pub mod invariants;
pub mod place;
pub mod record;
pub mod report;
pub mod restarts;
pub mod rng;
pub mod run;
pub mod scenario;
pub mod server;
pub mod watch;
pub mod workload;
pub mod world;
