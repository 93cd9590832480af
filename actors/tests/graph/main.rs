//! The contract of a graph store, run against every implementation, and what only one of them promises.
//! A further engine joins by one entry in `fixture::stores_with`.
#![allow(clippy::disallowed_methods, reason = "threads of their own; no arbiter is near")]
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

mod away;
mod confined;
mod delete;
mod differences;
mod durability;
mod embedded;
mod fixture;
mod limits;
mod read_only;
mod stress;
mod subset;
mod transfer;
mod unsupported;
mod upsert;
