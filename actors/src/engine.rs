//! The tree: every actor, started in the order of its dependencies, drained in reverse.
//!
//! ```text
//! root (one_for_one; gives up by ending the process)
//! ├─ audit            everything depends on it
//! ├─ authorization    publishes a snapshot of policy, roles and revocations
//! ├─ cache            optional: the engine serves without it
//! ├─ graph            embedded store
//! ├─ sessions-N       shards
//! ├─ execution        queue and link to the launcher of the cell
//! └─ jobs             optional: works the queue; the queue itself is its store
//! ```
//! Called by the face's `serve`. Refuses to start without its stores: a server that cannot record must
//! not answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{AuditError, AuditHandle, AuditKey, AuditOptions};
use crate::authorization::{AuthorizationError, AuthorizationHandle, AuthorizationOptions, Policy};
use crate::cache::{CacheHandle, CacheOptions, Sharing};
use crate::deadline::Deadline;
use crate::execution::{ExecutionError, ExecutionHandle, ExecutionOptions};
use crate::graph::{GraphError, GraphHandle, GraphOptions};
use crate::jobs::{
    JobStore, JobsEngine, JobsError, JobsHandle, JobsOptions, RedisJobs, Sealer, SqliteJobs,
};
use crate::redis::{RedisClient, RedisError, RedisOptions};
use crate::resilience::Transition;
use crate::sessions::{SessionsError, SessionsHandle, SessionsOptions};
use crate::supervision::{
    DrainReport, ExitSignal, Observer, SpawnError, SupervisionOptions, Supervisor, TreeHandle,
};

/// The audit, below the data directory.
pub const AUDIT_FILE: &str = "audit.db";
/// Roles and revocations, below the data directory.
pub const STATE_FILE: &str = "state.db";
/// The graph, below the data directory.
pub const GRAPH_FILE: &str = "graph.mars";

/// The jobs of one process, below the data directory.
pub const JOBS_FILE: &str = "jobs.db";
/// Kept of a drain's time for the actors, after the jobs.
const ACTORS_DRAIN: Duration = Duration::from_secs(3);

/// Everything the engine is made of; sections of the configuration.
pub struct EngineOptions {
    /// Where state is kept; exists.
    pub data_dir: PathBuf,
    /// The key of the audit's chain.
    pub audit_key: AuditKey,
    /// Roles, permissions, limits.
    pub policy: Policy,
    /// `[supervision]`.
    pub supervision: SupervisionOptions,
    /// `[audit]`.
    pub audit: AuditOptions,
    /// `[authorization]`.
    pub authorization: AuthorizationOptions,
    /// `[cache]`.
    pub cache: CacheOptions,
    /// `[graph]`.
    pub graph: GraphOptions,
    /// `[sessions]`.
    pub sessions: SessionsOptions,
    /// `[redis]`; without URLs there is none.
    pub redis: RedisOptions,
    /// `[cell]`.
    pub cell: ExecutionOptions,
    /// `[jobs]`.
    pub jobs: JobsOptions,
    /// The keys that seal jobs.
    pub jobs_sealer: Sealer,
}

/// Why the engine did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tree itself.
    #[error("the supervision tree did not start: {0}")]
    Tree(#[from] SpawnError),
    /// The audit.
    #[error("the audit did not start: {0}")]
    Audit(#[from] AuditError),
    /// Roles and revocations.
    #[error("authorization did not start: {0}")]
    Authorization(#[from] AuthorizationError),
    /// The graph.
    #[error("the graph did not start: {0}")]
    Graph(#[from] GraphError),
    /// Sessions.
    #[error("sessions did not start: {0}")]
    Sessions(#[from] SessionsError),
    /// The shared Redis: options no server could satisfy, never an absent server.
    #[error("the shared Redis cannot be used: {0}")]
    Redis(#[from] RedisError),
    /// The cell.
    #[error("the cell did not start: {0}")]
    Execution(#[from] ExecutionError),
    /// The job queue.
    #[error("the job queue did not start: {0}")]
    Jobs(#[from] JobsError),
}

/// The running engine: one handle per actor. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    /// Who did what.
    pub audit: AuditHandle,
    /// Who may do what.
    pub authorization: AuthorizationHandle,
    /// Results worth keeping.
    pub cache: CacheHandle,
    /// The knowledge graph.
    pub graph: GraphHandle,
    /// Legacy MCP sessions.
    pub sessions: SessionsHandle,
    /// The cell.
    pub execution: ExecutionHandle,
    /// Everything asynchronous.
    pub jobs: JobsHandle,
    /// What the nodes share; `None` = this node keeps everything to itself.
    pub redis: Option<RedisClient>,
    /// The tree, for operators.
    pub tree: TreeHandle,
    root: Supervisor,
}

impl Engine {
    /// Starts every actor. The signal resolves when the tree has ended, by drain or by failure.
    ///
    /// # Errors
    /// The first part that cannot start; nothing is left running then but what the process takes with it.
    pub async fn start(
        options: EngineOptions,
        observer: Observer,
    ) -> Result<(Self, ExitSignal), StartError> {
        let redis = match options.redis.is_configured() {
            true => Some(RedisClient::new(options.redis, Arc::new(log_transition))?),
            false => None,
        };
        let (root, exit) = Supervisor::root("root", options.supervision.policy("root"), observer)?;
        let data = &options.data_dir;
        let audit =
            AuditHandle::start(&root, &data.join(AUDIT_FILE), options.audit_key, options.audit)
                .await?;
        let authorization = AuthorizationHandle::start(
            &root,
            &data.join(STATE_FILE),
            options.policy,
            options.authorization,
        )
        .await?;
        let cache = {
            // The embedded graph is each node's own.
            let sharing = redis.clone().map(|redis| Sharing { redis, graph: false });
            CacheHandle::start(&root, options.cache, sharing).await?
        };
        let graph = GraphHandle::start(&root, &data.join(GRAPH_FILE), options.graph).await?;
        let sessions = SessionsHandle::start(&root, options.sessions).await?;
        let execution = ExecutionHandle::start(&root, options.cell).await?;
        let store: Arc<dyn JobStore> = match (options.jobs.engine, &redis) {
            (JobsEngine::Sqlite, _) => {
                Arc::new(SqliteJobs::open(&data.join(JOBS_FILE), options.jobs.rules())?)
            }
            (JobsEngine::Redis, Some(redis)) => {
                Arc::new(RedisJobs::new(redis.clone(), options.jobs.rules(), options.jobs.lease()))
            }
            (JobsEngine::Redis, None) => return Err(JobsError::NoRedis.into()),
        };
        let jobs = JobsHandle::start(&root, store, options.jobs_sealer, options.jobs).await?;
        let tree = root.tree();
        Ok((
            Self {
                audit,
                authorization,
                cache,
                graph,
                sessions,
                execution,
                jobs,
                redis,
                tree,
                root,
            },
            exit,
        ))
    }

    /// Lets every actor answer what it accepted, last started first, and ends the tree.
    pub async fn drain(&self, deadline: Deadline) -> DrainReport {
        self.jobs.retire(Deadline::after(deadline.remaining().saturating_sub(ACTORS_DRAIN))).await;
        self.root.drain(deadline).await
    }
}

/// Every change of a breaker is worth a line: it says who is not asked any more, and when again.
fn log_transition(dependency: &str, transition: Transition) {
    tracing::warn!(dependency, from = ?transition.from, to = ?transition.to, "breaker");
}
