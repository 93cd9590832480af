//! The embedded graph: one file, no server. Owns the engine and its threads.
//!
//! Called by the graph actor through [`GraphStore`]. Queries run in parallel on snapshots, writes one
//! after another; both on threads of their own. After a panic in a write the file is opened anew,
//! since the storage layer then knows only after a recovery what it holds.

mod engine;
mod pool;
pub(super) mod query;
mod transfer;
pub(super) mod value;
mod write;

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use self::engine::Engine;
use self::pool::{Leash, Load, Pool, PoolSize};
use super::batch;
use super::error::GraphError;
use super::model::{
    DeleteRequest, DeleteResult, GraphHealth, GraphStats, ImportMode, IndexSpec, QueryRequest,
    QueryResult, TransferReport, UpsertRequest, UpsertResult,
};
use super::options::GraphOptions;
use super::page;
use super::property;
use super::store::{Answer, GraphStore};
use crate::deadline::Deadline;

/// Longest time a health check may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// A graph in one file or in memory.
pub struct EmbeddedGraph {
    shared: Arc<Shared>,
    readers: Pool,
    writer: Pool,
    /// Health must not wait behind queries: busy is not broken.
    probe: Pool,
}

/// What jobs hold on to.
struct Shared {
    file: Option<PathBuf>,
    options: GraphOptions,
    engine: RwLock<Option<Arc<Engine>>>,
    generation: AtomicU64,
    /// A write panicked: the next operation opens the file anew.
    suspect: AtomicBool,
}

impl EmbeddedGraph {
    /// Opens the graph in `file`, or an empty one in memory, and starts its threads. Blocks for
    /// milliseconds, longer after a crash.
    ///
    /// # Errors
    /// [`GraphError::Unavailable`] when the file is in use, damaged or unreadable;
    /// [`GraphError::Invalid`] for options out of range.
    pub fn open(file: Option<&Path>, options: GraphOptions) -> Result<Self, GraphError> {
        if let Some(mistake) = options.mistakes().into_iter().next() {
            return Err(GraphError::invalid(format!("graph.{}", mistake.key), mistake.message));
        }
        let engine = Engine::open(file)?;
        let size = PoolSize {
            name: "graph-read",
            threads: options.reader_threads,
            stack_bytes: options.stack_mb << 20,
            waiting_max: options.waiting_max,
            stuck_max: options.stuck_threads_max,
            memory_growth_max: Some(options.memory_growth_mb_max << 20),
        };
        let started = |error: std::io::Error| {
            GraphError::Unavailable(format!("the system gives no threads: {}", error.kind()))
        };
        let readers = Pool::start(size).map_err(started)?;
        // Writes are bounded batches through the typed interface: nothing in them can hang.
        let size = PoolSize {
            name: "graph-write",
            threads: 1,
            stuck_max: 0,
            memory_growth_max: None,
            ..size
        };
        let writer = Pool::start(size).map_err(started)?;
        let probe = Pool::start(PoolSize { name: "graph-probe", ..size }).map_err(started)?;
        let shared = Arc::new(Shared {
            file: file.map(Path::to_owned),
            options,
            engine: RwLock::new(Some(Arc::new(engine))),
            generation: AtomicU64::new(0),
            suspect: AtomicBool::new(false),
        });
        Ok(Self { shared, readers, writer, probe })
    }

    fn read<T: Send + 'static>(
        &self,
        end: Option<Deadline>,
        work: impl FnOnce(&Shared, &Engine, &Leash) -> Result<T, GraphError> + Send + 'static,
    ) -> impl Future<Output = Result<T, GraphError>> + Send {
        let shared = Arc::clone(&self.shared);
        let limit_ms = end.map_or(0, |end| end.remaining().as_millis() as u64);
        let late = move |_| GraphError::QueryTimeout { limit_ms };
        self.readers.run(end, late, false, move |leash| {
            let engine = shared.engine()?;
            work(&shared, &engine, leash)
        })
    }

    fn write<T: Send + 'static>(
        &self,
        end: Option<Deadline>,
        work: impl FnOnce(&Shared, &Engine, &Leash) -> Result<T, GraphError> + Send + 'static,
    ) -> impl Future<Output = Result<T, GraphError>> + Send {
        let shared = Arc::clone(&self.shared);
        let late = |started| GraphError::WriteTimeout { started };
        self.writer.run(end, late, true, move |leash| {
            if end.is_some_and(|end| end.is_past()) {
                return Err(GraphError::WriteTimeout { started: false });
            }
            let engine = shared.engine()?;
            let suspicion = Suspicion(&shared);
            let outcome = work(&shared, &engine, leash);
            std::mem::forget(suspicion);
            outcome
        })
    }

    fn load(&self) -> Load {
        let (readers, writer) = (self.readers.load(), self.writer.load());
        Load {
            running: readers.running + writer.running,
            waiting: readers.waiting + writer.waiting,
            stuck: readers.stuck,
            panics: readers.panics + writer.panics,
        }
    }
}

/// Marks the engine suspect unless the work it guards returns.
struct Suspicion<'a>(&'a Shared);

impl Drop for Suspicion<'_> {
    fn drop(&mut self) {
        self.0.suspect.store(true, Ordering::Release);
    }
}

impl Shared {
    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Counts a write that changed something.
    fn advance(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The open engine; opened anew when a write panicked.
    fn engine(&self) -> Result<Arc<Engine>, GraphError> {
        if !self.suspect.load(Ordering::Acquire) {
            let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(engine) = engine.as_ref() {
                return Ok(Arc::clone(engine));
            }
        }
        let mut slot = self.engine.write().unwrap_or_else(PoisonError::into_inner);
        let suspect = self.suspect.load(Ordering::Acquire);
        if let Some(engine) = slot.as_ref() {
            if !suspect || self.file.is_none() {
                self.suspect.store(false, Ordering::Release);
                return Ok(Arc::clone(engine));
            }
            if Arc::strong_count(engine) > 1 {
                // The file's lock is free only when the last query has let go.
                let message = "it recovers from a crash and waits for running queries";
                return Err(GraphError::Unavailable(message.to_owned()));
            }
        }
        *slot = None;
        let engine = Arc::new(Engine::open(self.file.as_deref())?);
        *slot = Some(Arc::clone(&engine));
        self.suspect.store(false, Ordering::Release);
        Ok(engine)
    }
}

impl GraphStore for EmbeddedGraph {
    fn query(&self, request: QueryRequest, deadline: Deadline) -> Answer<'_, QueryResult> {
        async move {
            let (rows, end) = page::bounds(&request, &self.shared.options, deadline)?;
            let generation = self.shared.generation();
            self.read(Some(end), move |shared, engine, leash| {
                let bounds = query::Bounds { rows, time: end.remaining(), generation };
                query::run(engine, &shared.options, &request, &bounds, leash)
            })
            .await
        }
        .boxed()
    }

    fn upsert(&self, request: UpsertRequest, deadline: Deadline) -> Answer<'_, UpsertResult> {
        async move {
            let batch = batch::check_upsert(&request, &self.shared.options)?;
            let end = deadline.at_most(self.shared.options.write_timeout());
            self.write(Some(end), move |shared, engine, _| {
                let mut result = write::upsert(engine, &batch)?;
                let changed = write::changed(&result);
                result.generation = if changed { shared.advance() } else { shared.generation() };
                Ok(result)
            })
            .await
        }
        .boxed()
    }

    fn delete(&self, request: DeleteRequest, deadline: Deadline) -> Answer<'_, DeleteResult> {
        async move {
            batch::check_delete(&request, &self.shared.options)?;
            let end = deadline.at_most(self.shared.options.write_timeout());
            self.write(Some(end), move |shared, engine, _| {
                let mut result = write::delete(engine, &request)?;
                let changed = result.nodes_deleted + result.relationships_deleted > 0;
                result.generation = if changed { shared.advance() } else { shared.generation() };
                Ok(result)
            })
            .await
        }
        .boxed()
    }

    fn export(&self, sink: Box<dyn Write + Send>) -> Answer<'_, TransferReport> {
        self.read(None, move |_, engine, leash| transfer::export(engine, sink, leash)).boxed()
    }

    fn import(
        &self,
        source: Box<dyn BufRead + Send>,
        mode: ImportMode,
    ) -> Answer<'_, TransferReport> {
        self.write(None, move |shared, engine, leash| {
            let (report, changed) = transfer::import(engine, &shared.options, source, mode, leash)?;
            if changed {
                shared.advance();
            }
            Ok(report)
        })
        .boxed()
    }

    fn stats(&self, deadline: Deadline) -> Answer<'_, GraphStats> {
        let end = deadline.at_most(self.shared.options.query_timeout());
        self.read(Some(end), |shared, engine, _| {
            Ok(GraphStats { generation: shared.generation(), ..engine.stats()? })
        })
        .boxed()
    }

    fn ensure_index(&self, index: IndexSpec, deadline: Deadline) -> Answer<'_, bool> {
        async move {
            property::check_label(&index.label, "label")?;
            property::check_identifier(&index.property, "property")?;
            let end = deadline.at_most(self.shared.options.write_timeout());
            self.write(Some(end), move |_, engine, _| engine.ensure_index(&index)).await
        }
        .boxed()
    }

    fn health(&self) -> BoxFuture<'_, GraphHealth> {
        async move {
            let end = Deadline::after(HEALTH_TIMEOUT);
            let shared = Arc::clone(&self.shared);
            let late = |_| GraphError::Unavailable("it does not answer".to_owned());
            let probe = self.probe.run(Some(end), late, false, move |_| shared.engine()?.probe());
            let problem = probe.await.err().map(|error| error.to_string());
            let load = self.load();
            GraphHealth {
                engine: "marsdb 0.10 (embedded)".to_owned(),
                serving: problem.is_none(),
                problem: problem.or_else(|| {
                    let stuck = load.stuck;
                    (stuck > 0).then(|| format!("{stuck} queries ignore their end"))
                }),
                running: load.running,
                waiting: load.waiting,
                stuck: load.stuck,
                panics: load.panics,
                generation: self.shared.generation(),
            }
        }
        .boxed()
    }

    fn generation(&self) -> u64 {
        self.shared.generation()
    }
}
