//! The knowledge graph's tools: typed fronts of the graph actor.
//!
//! Called through the registry. They decide nothing: limits, identities and the proof that a query only
//! reads are the graph's; here its refusals get the path of the argument that is to be changed.

mod cached;
mod delete;
mod query;
#[cfg(test)]
mod tests;
mod upsert;

use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::GraphError;

pub use cached::{GraphCache, QueryAnswer};
pub use delete::GraphDelete;
pub use query::GraphQuery;
pub use upsert::GraphUpsert;

use super::typed::problem;
use crate::error::ApiError;

/// A refusal of the graph as a refusal of arguments, when it is one. `text` is the argument that a
/// refusal without a path of its own is about.
fn refusal(error: GraphError, text: &str) -> ApiError {
    match &error {
        GraphError::Invalid { path, problem: why } => problem(path, why),
        GraphError::MissingParameter { name } => {
            problem(&format!("parameters.{name}"), &error.public())
        }
        GraphError::MissingEndpoints { .. } => problem("relationships", &error.public()),
        GraphError::StillConnected { .. } => problem("nodes", &error.public()),
        _ if error.kind() == Kind::InvalidInput => problem(text, &error.public()),
        _ => error.into(),
    }
}
