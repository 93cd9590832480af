//! The graph on a Neo4j server that it shares with audit, roles and sessions.
//!
//! Called by the graph actor through [`GraphStore`]. The same checks, answers and errors as the embedded
//! engine's; a query is confined to nodes with the label `Entity`. While the server is away every call
//! says so at once; nothing falls back to another engine.

mod bulk;
mod delete;
mod error;
mod query;
mod schema;
#[cfg(test)]
mod tests;
mod transfer;
mod upsert;
mod value;

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use self::delete::Delete;
use self::error::{is_race, write_error};
use self::upsert::Upsert;
use super::batch::{self, Batch};
use super::error::GraphError;
use super::model::{
    DeleteRequest, DeleteResult, GraphHealth, GraphStats, ImportMode, IndexSpec, QueryRequest,
    QueryResult, TransferReport, UpsertRequest, UpsertResult,
};
use super::options::GraphOptions;
use super::property;
use super::store::{Answer, GraphStore};
use crate::deadline::Deadline;
use crate::neo4j::{Neo4jClient, migrations};

/// Attempts of an upsert whose new node somebody else created at the same time.
const RACES_MAX: u32 = 8;

/// A graph on Neo4j. Cheap to clone.
#[derive(Clone)]
pub struct Neo4jGraph {
    client: Neo4jClient,
    options: Arc<GraphOptions>,
    counter: Generation,
    /// The schema is as this program needs it.
    migrated: Arc<OnceCell<()>>,
}

/// Counts the writes of this process that changed something.
#[derive(Clone, Default)]
struct Generation(Arc<AtomicU64>);

impl Generation {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn advance(&self) -> u64 {
        self.0.fetch_add(1, Ordering::AcqRel) + 1
    }
}

impl Neo4jGraph {
    /// A graph behind a client; needs no server yet.
    ///
    /// # Errors
    /// [`GraphError::Invalid`] for options out of range.
    pub fn new(client: Neo4jClient, options: GraphOptions) -> Result<Self, GraphError> {
        if let Some(mistake) = options.mistakes().into_iter().next() {
            return Err(GraphError::invalid(format!("graph.{}", mistake.key), mistake.message));
        }
        let (options, migrated) = (Arc::new(options), Arc::default());
        Ok(Self { client, options, counter: Generation::default(), migrated })
    }

    /// Migrates the schema before the first use.
    async fn ready(&self, deadline: Deadline) -> Result<(), GraphError> {
        let migrate = || async {
            let list = schema::migrations();
            migrations::run(&self.client, schema::PART, &list, deadline).await.map(drop)
        };
        self.migrated.get_or_try_init(migrate).await.map(drop).map_err(|error| {
            match write_error(error) {
                GraphError::Engine { detail } | GraphError::Meaning { message: detail } => {
                    tracing::error!(error = detail, "Neo4j cannot be migrated");
                    GraphError::Unavailable(
                        "its schema could not be migrated; see the log".to_owned(),
                    )
                }
                other => other,
            }
        })
    }

    /// Writes a checked batch, all or nothing. `fresh`: nothing of it is there yet, so nothing is looked
    /// for; when that is no longer certain, it is.
    async fn write(
        &self,
        batch: Batch,
        mut fresh: bool,
        end: Deadline,
    ) -> Result<UpsertResult, GraphError> {
        let batch = Arc::new(batch);
        let mut races = 0;
        loop {
            let job = Upsert { batch: Arc::clone(&batch), fresh };
            // A batch that looks first may be sent again whatever became of the first attempt.
            let error = match self.client.transaction(end, !fresh, job).await {
                Ok(answer) => return answer,
                Err(error) => error,
            };
            let again = is_race(&error) || (fresh && !error.is_without_effect());
            if !again || races == RACES_MAX {
                return Err(write_error(error));
            }
            races += 1;
            fresh = false;
        }
    }

    fn generation_after(&self, changed: bool) -> u64 {
        if changed { self.counter.advance() } else { self.counter.now() }
    }
}

impl GraphStore for Neo4jGraph {
    fn query(&self, request: QueryRequest, deadline: Deadline) -> Answer<'_, QueryResult> {
        query::run(self, request, deadline).boxed()
    }

    fn upsert(&self, request: UpsertRequest, deadline: Deadline) -> Answer<'_, UpsertResult> {
        async move {
            let batch = batch::check_upsert(&request, &self.options)?;
            let end = deadline.at_most(self.options.write_timeout());
            self.ready(end).await?;
            let mut result = self.write(batch, false, end).await?;
            let counts = [result.nodes, result.relationships];
            let changed = counts.iter().any(|counts| counts.created + counts.updated > 0);
            result.generation = self.generation_after(changed);
            Ok(result)
        }
        .boxed()
    }

    fn delete(&self, request: DeleteRequest, deadline: Deadline) -> Answer<'_, DeleteResult> {
        async move {
            batch::check_delete(&request, &self.options)?;
            let end = deadline.at_most(self.options.write_timeout());
            self.ready(end).await?;
            let deleted = self.client.transaction(end, false, Delete(request)).await;
            let mut result = deleted.map_err(write_error)??;
            let changed = result.nodes_deleted + result.relationships_deleted > 0;
            result.generation = self.generation_after(changed);
            Ok(result)
        }
        .boxed()
    }

    fn export(&self, sink: Box<dyn Write + Send>) -> Answer<'_, TransferReport> {
        transfer::export(self, sink).boxed()
    }

    fn import(
        &self,
        source: Box<dyn BufRead + Send>,
        mode: ImportMode,
    ) -> Answer<'_, TransferReport> {
        transfer::import(self, source, mode).boxed()
    }

    fn stats(&self, deadline: Deadline) -> Answer<'_, GraphStats> {
        async move {
            let end = deadline.at_most(self.options.query_timeout());
            self.ready(end).await?;
            let stats = schema::stats(&self.client, end).await?;
            Ok(GraphStats { generation: self.counter.now(), ..stats })
        }
        .boxed()
    }

    fn ensure_index(&self, index: IndexSpec, deadline: Deadline) -> Answer<'_, bool> {
        async move {
            property::check_label(&index.label, "label")?;
            property::check_identifier(&index.property, "property")?;
            let end = deadline.at_most(self.options.write_timeout());
            self.ready(end).await?;
            schema::ensure_index(&self.client, &index, end).await
        }
        .boxed()
    }

    fn health(&self) -> BoxFuture<'_, GraphHealth> {
        async move {
            let health = self.client.health().await;
            let server = health.server.unwrap_or_else(|| "?".to_owned());
            GraphHealth {
                engine: format!("Neo4j {server} at {}", health.address),
                serving: health.serving,
                problem: health.problem,
                running: health.running,
                waiting: 0,
                stuck: 0,
                panics: 0,
                generation: self.counter.now(),
            }
        }
        .boxed()
    }

    fn generation(&self) -> u64 {
        self.counter.now()
    }
}
