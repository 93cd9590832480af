//! Connections to lend: each alone in a pool of the driver's, so that closing one closes nothing else.
//!
//! Called by the client, on the client's runtime. A connection dropped in the middle of its work goes back
//! to the driver's pool and stays open there for as long as anybody uses that pool; on the server the
//! transaction then keeps its locks. Here such a connection shares its pool with nobody, and is closed.

use std::sync::{Mutex, MutexGuard, PoisonError};

use neo4rs::Graph;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::Neo4jError;

/// Lends connections, the one used last first; makes them on demand, at most so many.
pub(super) struct Pool {
    places: Semaphore,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// Counts up when every connection so far is given up.
    generation: u64,
    /// Each of at most one connection.
    graphs: Vec<Graph>,
}

impl Pool {
    /// At most `connections_max` at once.
    pub(super) fn new(connections_max: usize) -> Self {
        Self { places: Semaphore::new(connections_max), idle: Mutex::default() }
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for its turn, without a limit; then lends a connection of before, or one that `make` makes.
    ///
    /// # Errors
    /// What `make` says.
    pub(super) async fn lend(
        &self,
        make: impl FnOnce() -> Result<Graph, Neo4jError>,
    ) -> Result<Lease<'_>, Neo4jError> {
        // The semaphore is never closed; were it, making a connection more harms nobody.
        let place = self.places.acquire().await.ok();
        let (generation, before) = {
            let mut idle = self.idle();
            (idle.generation, idle.graphs.pop())
        };
        let graph = before.map_or_else(make, Ok)?;
        Ok(Lease { pool: self, graph: Some(graph), generation, tidy: false, _place: place })
    }

    /// Closes every connection: the idle ones now, the lent ones when they come back.
    pub(super) fn discard_all(&self) {
        let graphs = {
            let mut idle = self.idle();
            idle.generation += 1;
            std::mem::take(&mut idle.graphs)
        };
        drop(graphs);
    }
}

/// A lent connection. Closed when dropped, which ends what still runs on it, unless it was called tidy.
pub(super) struct Lease<'p> {
    pool: &'p Pool,
    /// Taken by `drop` alone.
    graph: Option<Graph>,
    generation: u64,
    tidy: bool,
    _place: Option<SemaphorePermit<'p>>,
}

impl Lease<'_> {
    /// The connection, as the driver wants it.
    ///
    /// # Errors
    /// Never while it is lent.
    pub(super) fn graph(&self) -> Result<&Graph, Neo4jError> {
        self.graph.as_ref().ok_or_else(|| Neo4jError::Answer("a connection was given back".into()))
    }

    /// Whether nothing is left open on the server, so that others may use it.
    pub(super) fn set_tidy(&mut self, tidy: bool) {
        self.tidy = tidy;
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let Some(graph) = self.graph.take().filter(|_| self.tidy) else { return };
        let mut idle = self.pool.idle();
        if idle.generation == self.generation {
            idle.graphs.push(graph);
        }
    }
}
