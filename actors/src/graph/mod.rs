//! The knowledge graph: a store behind a contract, and the actor in front of it.
//!
//! Agents write nodes and relationships through typed requests and read with Cypher, in the subset
//! that means the same on every engine. Reading is proven, not hoped for: a query is cut into tokens
//! and held to limits ([`cypher`]), parsed, its syntax tree shown to only read, and then run in a
//! transaction that cannot write.

mod actor;
pub mod batch;
pub mod cypher;
pub mod embedded;
pub mod error;
mod handle;
pub mod model;
pub mod neo4j;
pub mod options;
mod page;
pub mod property;
mod store;
#[cfg(test)]
mod tests;
pub mod transfer;

pub use cypher::COMMON_SUBSET;
pub use embedded::EmbeddedGraph;
pub use error::GraphError;
pub use handle::GraphHandle;
pub use neo4j::Neo4jGraph;
pub use options::GraphOptions;
pub use store::{Answer, GraphStore};
