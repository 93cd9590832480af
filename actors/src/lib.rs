//! The engine of Ultimate MCP: supervised actors that hold all state.
//!
//! Knows nothing of HTTP or MCP; the face calls it through the handles.
#![forbid(unsafe_code)]

pub mod audit;
pub mod authorization;
pub mod backup;
mod bounds;
pub mod cache;
pub mod deadline;
pub mod engine;
pub mod execution;
pub mod fault;
pub mod faults;
pub mod graph;
pub mod hex;
pub mod idempotency;
pub mod ids;
pub mod jobs;
pub mod neo4j;
pub mod network;
pub mod node;
pub mod redis;
pub mod resilience;
pub mod sandboxes;
pub mod sessions;
pub mod shipping;
mod sqlite;
pub mod supervision;
#[cfg(test)]
mod testing;
