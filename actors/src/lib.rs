//! The engine of Ultimate MCP: supervised actors that hold all state.
//!
//! Knows nothing of HTTP or MCP; the face calls it through the handles.
#![forbid(unsafe_code)]

pub mod deadline;
pub mod fault;
pub mod graph;
pub mod ids;
