//! The engine-neutral contract of a graph. Called by the graph actor; implemented by the embedded
//! engine, and by any other that passes the contract tests in `tests/graph`.

use std::io::{BufRead, Write};

use futures_util::future::BoxFuture;

use super::error::GraphError;
use super::model::{
    DeleteRequest, DeleteResult, GraphHealth, GraphStats, ImportMode, IndexSpec, QueryRequest,
    QueryResult, TransferReport, UpsertRequest, UpsertResult,
};
use crate::deadline::Deadline;

/// What every operation of a store answers.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, GraphError>>;

/// A property graph. All operations are bounded; dropping a future stops a query, and takes a write
/// back that has not begun.
pub trait GraphStore: Send + Sync + 'static {
    /// Runs one reading query.
    ///
    /// # Errors
    /// The client's mistakes as [`GraphError::Syntax`] to [`GraphError::MissingParameter`];
    /// [`GraphError::QueryTimeout`]; never writes.
    fn query(&self, request: QueryRequest, deadline: Deadline) -> Answer<'_, QueryResult>;

    /// Creates or updates nodes and relationships, all or nothing; durable when answered.
    ///
    /// # Errors
    /// [`GraphError::Invalid`], [`GraphError::MissingEndpoints`], [`GraphError::NotUnique`].
    fn upsert(&self, request: UpsertRequest, deadline: Deadline) -> Answer<'_, UpsertResult>;

    /// Deletes relationships and nodes, all or nothing; durable when answered. What does not exist
    /// is reported, not an error.
    ///
    /// # Errors
    /// [`GraphError::Invalid`], [`GraphError::StillConnected`].
    fn delete(&self, request: DeleteRequest, deadline: Deadline) -> Answer<'_, DeleteResult>;

    /// Writes one snapshot as JSON Lines in a stable order.
    ///
    /// # Errors
    /// [`GraphError::Engine`] when the sink fails.
    fn export(&self, sink: Box<dyn Write + Send>) -> Answer<'_, TransferReport>;

    /// Reads what [`GraphStore::export`] wrote, all or nothing.
    ///
    /// # Errors
    /// [`GraphError::Import`] with the line; [`GraphError::Conflict`] when the graph is not empty.
    fn import(
        &self,
        source: Box<dyn BufRead + Send>,
        mode: ImportMode,
    ) -> Answer<'_, TransferReport>;

    /// Size and schema.
    ///
    /// # Errors
    /// Those of the engine.
    fn stats(&self, deadline: Deadline) -> Answer<'_, GraphStats>;

    /// Declares an index; answers whether it is new.
    ///
    /// # Errors
    /// [`GraphError::NotUnique`] when present values collide, [`GraphError::Conflict`] when it
    /// exists with another uniqueness.
    fn ensure_index(&self, index: IndexSpec, deadline: Deadline) -> Answer<'_, bool>;

    /// Whether it serves; never an error.
    fn health(&self) -> BoxFuture<'_, GraphHealth>;

    /// Counts up with each write that changed something; for caches.
    fn generation(&self) -> u64;
}
