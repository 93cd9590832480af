//! Resilience: what stands between a failing dependency and its callers.
//!
//! ```text
//! Dependency::call: deadline → bulkhead → retry within a budget → breaker → attempt timeout → hedge → operation
//! ```
//! Called by every actor that talks to something outside the process. Owns the only imports of the
//! crates `backoff` (unmaintained, RUSTSEC-2025-0012: its delay arithmetic alone) and `failsafe` (its
//! state machine alone); a test scans the sources for others.

mod breaker;
#[cfg(test)]
mod breaker_model;
mod budget;
mod bulkhead;
mod class;
mod dependency;
mod gradient;
mod hedge;
#[cfg(test)]
mod load_tests;
mod options;
mod requester;
pub mod schedule;
#[cfg(test)]
mod tests;
mod window;

pub use breaker::{Breaker, BreakerObserver, BreakerSnapshot, BreakerState, Rejected, Transition};
pub use bulkhead::BulkheadSnapshot;
pub use class::{CallError, Class, Failure};
pub use dependency::{Dependency, DependencySnapshot, Repeat};
pub use hedge::HedgeCounts;
pub use options::{BreakerOptions, Concurrency, DependencyOptions, HedgeOptions, RetryOptions};
pub use requester::{Priority, Requester};
