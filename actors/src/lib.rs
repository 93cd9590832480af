//! The engine of Ultimate MCP: supervised actors that hold all state.
//!
//! Knows nothing of HTTP or MCP; the face calls it through the handles.
#![forbid(unsafe_code)]

pub mod audit;
pub mod authorization;
mod bounds;
pub mod cache;
pub mod deadline;
pub mod engine;
pub mod execution;
pub mod fault;
pub mod graph;
pub mod ids;
pub mod jobs;
pub mod redis;
pub mod resilience;
pub mod sessions;
pub mod supervision;
#[cfg(test)]
mod testing;
