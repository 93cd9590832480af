//! The way to the graph for everybody else. Cheap to clone.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::sync::oneshot;

use super::actor::{GraphActor, Request, Work};
use super::embedded::EmbeddedGraph;
use super::error::GraphError;
use super::model::{
    DeleteRequest, DeleteResult, GraphHealth, GraphStats, ImportMode, IndexSpec, QueryRequest,
    QueryResult, TransferReport, UpsertRequest, UpsertResult,
};
use super::options::GraphOptions;
use super::store::GraphStore;
use crate::deadline::Deadline;
use crate::resilience::{Priority, Requester};
use crate::supervision::{AskError, ChildRef, ChildSpec, ChildState, Supervisor};

/// The way to the graph.
#[derive(Clone)]
pub struct GraphHandle {
    child: ChildRef<GraphActor>,
    store: Arc<dyn GraphStore>,
}

impl GraphHandle {
    /// Opens (or creates, mode 0600) the embedded graph at `path` and starts its actor as `graph`.
    ///
    /// # Errors
    /// [`GraphError::Unavailable`] when the file is in use, damaged or unreadable,
    /// [`GraphError::Invalid`] for options out of range, [`GraphError::Spawn`] when the actor cannot
    /// be started.
    pub async fn start(
        supervisor: &Supervisor,
        path: &Path,
        options: GraphOptions,
    ) -> Result<Self, GraphError> {
        let mailbox = options.mailbox;
        let store = EmbeddedGraph::open(Some(path), options)?;
        Self::start_on(supervisor, Arc::new(store), mailbox).await
    }

    /// Starts the actor in front of any store.
    ///
    /// # Errors
    /// [`GraphError::Spawn`].
    pub async fn start_on(
        supervisor: &Supervisor,
        store: Arc<dyn GraphStore>,
        mailbox: usize,
    ) -> Result<Self, GraphError> {
        let owned = Arc::clone(&store);
        let spec = ChildSpec::new("graph", mailbox, move || GraphActor::new(Arc::clone(&owned)));
        let child = supervisor.spawn(spec).await.map_err(GraphError::Spawn)?;
        Ok(Self { child, store })
    }

    async fn ask<T: Send + 'static>(
        &self,
        deadline: Deadline,
        work: Work<T>,
    ) -> Result<T, GraphError> {
        // Lives as long as this future: the actor sees it end.
        let (_caller, caller) = oneshot::channel();
        // The actor is another task: it works on behalf of whoever asked.
        let requester = Requester::current();
        let work: Work<T> = Box::new(move |store| requester.scope(work(store)).boxed());
        self.child.ask(Request { work, caller }, deadline).await?
    }

    /// Runs one reading query; dropping the future stops it.
    ///
    /// # Errors
    /// As [`GraphStore::query`], and those of the actor. None has effects, and none says it might.
    pub async fn query(
        &self,
        request: QueryRequest,
        deadline: Deadline,
    ) -> Result<QueryResult, GraphError> {
        let work: Work<_> =
            Box::new(move |store| async move { store.query(request, deadline).await }.boxed());
        let limit_ms = u64::try_from(deadline.remaining().as_millis()).unwrap_or(u64::MAX);
        self.ask(deadline, work).await.map_err(|error| match error {
            GraphError::Ask(AskError::Timeout { begun: true, .. }) => {
                GraphError::QueryTimeout { limit_ms }
            }
            GraphError::Ask(AskError::Crashed { child }) => {
                GraphError::Crashed { wrote: false, detail: format!("the actor {child} crashed") }
            }
            other => other,
        })
    }

    /// Creates or updates nodes and relationships, all or nothing; durable when answered.
    ///
    /// # Errors
    /// As [`GraphStore::upsert`], and those of the actor.
    pub async fn upsert(
        &self,
        request: UpsertRequest,
        deadline: Deadline,
    ) -> Result<UpsertResult, GraphError> {
        let work: Work<_> =
            Box::new(move |store| async move { store.upsert(request, deadline).await }.boxed());
        self.ask(deadline, work).await
    }

    /// Deletes relationships and nodes, all or nothing; durable when answered.
    ///
    /// # Errors
    /// As [`GraphStore::delete`], and those of the actor.
    pub async fn delete(
        &self,
        request: DeleteRequest,
        deadline: Deadline,
    ) -> Result<DeleteResult, GraphError> {
        let work: Work<_> =
            Box::new(move |store| async move { store.delete(request, deadline).await }.boxed());
        self.ask(deadline, work).await
    }

    /// Writes one snapshot as JSON Lines in a stable order; dropping the future stops it.
    ///
    /// # Errors
    /// As [`GraphStore::export`], and those of the actor.
    pub async fn export(
        &self,
        sink: Box<dyn Write + Send>,
        deadline: Deadline,
    ) -> Result<TransferReport, GraphError> {
        let work: Work<_> = Box::new(move |store| async move { store.export(sink).await }.boxed());
        transfer().scope(self.ask(deadline, work)).await
    }

    /// Reads what an export wrote, all or nothing; dropping the future takes it back.
    ///
    /// # Errors
    /// As [`GraphStore::import`], and those of the actor.
    pub async fn import(
        &self,
        source: Box<dyn BufRead + Send>,
        mode: ImportMode,
        deadline: Deadline,
    ) -> Result<TransferReport, GraphError> {
        let work: Work<_> =
            Box::new(move |store| async move { store.import(source, mode).await }.boxed());
        transfer().scope(self.ask(deadline, work)).await
    }

    /// Size and schema.
    ///
    /// # Errors
    /// As [`GraphStore::stats`], and those of the actor.
    pub async fn stats(&self, deadline: Deadline) -> Result<GraphStats, GraphError> {
        let work: Work<_> =
            Box::new(move |store| async move { store.stats(deadline).await }.boxed());
        self.ask(deadline, work).await
    }

    /// Declares an index; answers whether it is new.
    ///
    /// # Errors
    /// As [`GraphStore::ensure_index`], and those of the actor.
    pub async fn ensure_index(
        &self,
        index: IndexSpec,
        deadline: Deadline,
    ) -> Result<bool, GraphError> {
        let work: Work<_> =
            Box::new(move |store| async move { store.ensure_index(index, deadline).await }.boxed());
        self.ask(deadline, work).await
    }

    /// Whether the graph serves; asks the store beside the actor, so it answers when that is busy.
    pub async fn health(&self) -> GraphHealth {
        let mut health = self.store.health().await;
        let state = self.child.state();
        if state != ChildState::Running {
            health.serving = false;
            health.problem.get_or_insert_with(|| format!("its actor is {state}"));
        }
        health
    }

    /// Counts up with each write that changed something; for caches.
    pub fn generation(&self) -> u64 {
        self.store.generation()
    }

    #[cfg(test)]
    pub(super) fn child(&self) -> &ChildRef<GraphActor> {
        &self.child
    }
}

/// Whole graphs go behind single questions.
fn transfer() -> Requester {
    Requester { priority: Priority::Background, ..Requester::current() }
}
