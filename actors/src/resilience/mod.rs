//! Resilience: what stands between a failing part and its callers.
//!
//! Owns the only import of the crate `backoff` (unmaintained, RUSTSEC-2025-0012: used for its delay
//! arithmetic alone). Everybody else takes delays from [`schedule::Schedule`]; a test scans the
//! sources for a second import.

pub mod schedule;
