//! What can go wrong on the way from the trail to Neo4j. Nothing of it reaches a caller: it is tried again
//! and told by `/ready`.

use crate::audit::AuditError;
use crate::neo4j::Neo4jError;

/// Why shipping does not get on just now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShippingError {
    /// The trail could not be read.
    #[error("the trail cannot be read: {0}")]
    Trail(#[from] AuditError),
    /// Neo4j did not take it.
    #[error("{0}")]
    Neo4j(#[from] Neo4jError),
    /// A reading thread died.
    #[error("a reader of the trail crashed")]
    Reader,
}
