//! The tree: every actor, started in the order of its dependencies, drained in reverse.
//!
//! ```text
//! root (one_for_one; gives up by ending the process)
//! ├─ audit            everything depends on it
//! ├─ authorization    publishes a snapshot of policy, roles, revocations and bans
//! ├─ shipping         optional: copies the trail and the roles to Neo4j, when one is named
//! ├─ authorization-sharing, nodes   with Redis only; the engine serves without them
//! ├─ cache            optional: the engine serves without it
//! ├─ graph            embedded store, or Neo4j
//! ├─ sessions-N       shards
//! ├─ idempotency      optional: keys of calls that must be run once; absent where Redis keeps them
//! ├─ execution        queue and link to the launcher of the cell
//! ├─ sandboxes        interpreters that stay between calls, on that launcher
//! └─ jobs             optional: works the queue; the queue itself is its store
//! ```
//! Called by the face's `serve`. Refuses to start without its stores: a server that cannot record must
//! not answer.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{AuditError, AuditHandle, AuditKey, AuditOptions};
use crate::authorization::{AuthorizationError, AuthorizationHandle, AuthorizationOptions, Policy};
use crate::cache::{CacheHandle, CacheOptions, Sharing};
use crate::deadline::Deadline;
use crate::execution::{ExecutionError, ExecutionHandle, ExecutionOptions};
use crate::graph::{GraphEngine, GraphError, GraphHandle, GraphOptions, Neo4jGraph};
use crate::idempotency::{IdempotencyError, IdempotencyHandle, IdempotencyOptions};
use crate::jobs::{
    JobStore, JobsEngine, JobsError, JobsHandle, JobsOptions, RedisJobs, Sealer, SqliteJobs,
};
use crate::neo4j::{Neo4jClient, Neo4jError, Neo4jOptions};
use crate::node::{NodeIdentity, NodesHandle};
use crate::redis::{RedisClient, RedisError, RedisOptions};
use crate::resilience::{Breaker, BreakerObserver, Dependency, DependencySnapshot};
use crate::sandboxes::{SandboxesError, SandboxesHandle, SandboxesOptions};
use crate::sessions::{SessionsError, SessionsHandle, SessionsOptions};
use crate::shipping::ShippingHandle;
use crate::supervision::{
    DrainReport, ExitSignal, Observer, ReconfigureError, RestartError, SpawnError,
    SupervisionOptions, Supervisor, TreeHandle,
};

/// The audit, below the data directory.
pub const AUDIT_FILE: &str = "audit.db";
/// Roles and revocations, below the data directory.
pub const STATE_FILE: &str = "state.db";
/// Idempotency keys and their answers, below the data directory.
pub const IDEMPOTENCY_FILE: &str = "idempotency.db";
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
    /// `[neo4j]`.
    pub neo4j: Neo4jOptions,
    /// `[sessions]`.
    pub sessions: SessionsOptions,
    /// `[idempotency]`.
    pub idempotency: IdempotencyOptions,
    /// `[redis]`; without URLs there is none.
    pub redis: RedisOptions,
    /// Who this node is.
    pub node: NodeIdentity,
    /// `[cell]`.
    pub cell: ExecutionOptions,
    /// `[sandboxes]`.
    pub sandboxes: SandboxesOptions,
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
    /// Idempotency keys.
    #[error("idempotency keys did not start: {0}")]
    Idempotency(#[from] IdempotencyError),
    /// Neo4j: options no server could satisfy, never an absent server.
    #[error("Neo4j cannot be used: {0}")]
    Neo4j(#[from] Neo4jError),
    /// The shared Redis: options no server could satisfy, never an absent server.
    #[error("the shared Redis cannot be used: {0}")]
    Redis(#[from] RedisError),
    /// The cell.
    #[error("the cell did not start: {0}")]
    Execution(#[from] ExecutionError),
    /// Sandboxes that stay.
    #[error("sandboxes did not start: {0}")]
    Sandboxes(#[from] SandboxesError),
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
    /// Sandboxes that stay.
    pub sandboxes: SandboxesHandle,
    /// This node and the others.
    pub nodes: NodesHandle,
    /// Calls that must be run once.
    pub idempotency: IdempotencyHandle,
    /// The Neo4j of section `neo4j`; `None` = none is named.
    pub neo4j: Option<Neo4jClient>,
    /// Everything asynchronous.
    pub jobs: JobsHandle,
    /// What the nodes share; `None` = this node keeps everything to itself.
    pub redis: Option<RedisClient>,
    /// The way of the trail to Neo4j; `None` = it stays here.
    pub shipping: Option<ShippingHandle>,
    /// The tree, for operators.
    pub tree: TreeHandle,
    root: Supervisor,
}

impl Engine {
    /// Starts every actor; `breakers` hears of every change of a breaker. The signal resolves when the tree has ended, by drain or by failure.
    ///
    /// # Errors
    /// The first part that cannot start; nothing is left running then but what the process takes with it.
    pub async fn start(
        options: EngineOptions,
        observer: Observer,
        breakers: BreakerObserver,
    ) -> Result<(Self, ExitSignal), StartError> {
        let (redis, neo4j) = clients(options.redis, options.neo4j, breakers)?;
        let (root, exit) = Supervisor::root("root", options.supervision.policy("root"), observer)?;
        let data = &options.data_dir;
        let ships = neo4j.clone().filter(|_| options.audit.shipping.enabled);
        let mut trail = options.audit;
        trail.copied_elsewhere = ships.is_some();
        let (shipping, retention_days) = (trail.shipping.clone(), trail.retention_days);
        let audit =
            AuditHandle::start(&root, &data.join(AUDIT_FILE), options.audit_key, trail).await?;
        let (state, roles) = (data.join(STATE_FILE), options.authorization);
        let (here, shared) = (options.node.id.clone(), redis.clone());
        let authorization =
            AuthorizationHandle::start(&root, &state, options.policy, roles, here.clone(), shared)
                .await?;
        let shipping = match ships {
            Some(client) => {
                let (trail, roles, node) = (audit.clone(), authorization.clone(), here.to_string());
                let days = retention_days;
                Some(
                    ShippingHandle::start(&root, trail, roles, client, shipping, days, node)
                        .await?,
                )
            }
            None => None,
        };
        let nodes = NodesHandle::start(&root, options.node, redis.clone()).await?;
        let cache = {
            // The embedded graph is each node's own.
            let graph = options.graph.engine == GraphEngine::Neo4j;
            let sharing = redis.clone().map(|redis| Sharing { redis, graph });
            CacheHandle::start(&root, options.cache, sharing).await?
        };
        let graph = start_graph(&root, data, options.graph, neo4j.as_ref()).await?;
        let sessions = SessionsHandle::start(&root, options.sessions, redis.clone()).await?;
        let keys = data.join(IDEMPOTENCY_FILE);
        let idempotency =
            IdempotencyHandle::start(&root, &keys, options.idempotency, redis.clone()).await?;
        let cell = ExecutionOptions { sandboxes_max: options.sandboxes.total_max, ..options.cell };
        let execution = ExecutionHandle::start(&root, cell).await?;
        let on_cell = execution.clone();
        let sandboxes = SandboxesHandle::start(&root, options.sandboxes, here, on_cell).await?;
        let queue = job_store(data, &options.jobs, redis.as_ref())?;
        let jobs = JobsHandle::start(&root, queue, options.jobs_sealer, options.jobs).await?;
        let tree = root.tree();
        let engine = Self {
            audit,
            authorization,
            cache,
            graph,
            sessions,
            execution,
            idempotency,
            neo4j,
            nodes,
            redis,
            shipping,
            sandboxes,
            jobs,
            tree,
            root,
        };
        Ok((engine, exit))
    }

    /// Puts other thresholds and policies in force while the engine runs: those of Redis and Neo4j, and
    /// the policy of the tree.
    ///
    /// # Errors
    /// A policy out of range, or a tree that has ended; the dependencies have theirs by then.
    pub async fn reconfigure(
        &self,
        redis: &RedisOptions,
        neo4j: &Neo4jOptions,
        supervision: &SupervisionOptions,
    ) -> Result<(), ReconfigureError> {
        if let Some(client) = &self.redis {
            client.reconfigure(redis);
        }
        if let Some(client) = &self.neo4j {
            client.reconfigure(neo4j);
        }
        let policy = supervision.policy("root");
        match self.tree.snapshot().policy == Some(policy) {
            true => Ok(()),
            false => self.root.reconfigure(policy).await,
        }
    }

    /// What lives outside the process and is guarded by a breaker, as it is now. Waits for nobody.
    pub fn dependencies(&self) -> Vec<DependencySnapshot> {
        self.guards().map(Dependency::snapshot).collect()
    }

    /// The breaker of the dependency of that name; `None` when none is named so.
    pub fn breaker(&self, name: &str) -> Option<Breaker> {
        let found = self.guards().find(|dependency| dependency.name() == name)?;
        Some(found.breaker().clone())
    }

    fn guards(&self) -> impl Iterator<Item = &Dependency> {
        let neo4j = self.neo4j.iter().map(Neo4jClient::dependency);
        neo4j.chain(self.redis.iter().map(RedisClient::dependency))
    }

    /// Restarts an actor by an operator's hand; see [`Supervisor::restart`].
    ///
    /// # Errors
    /// See [`RestartError`].
    pub async fn restart(&self, path: Vec<String>) -> Result<(), RestartError> {
        self.root.restart(path).await
    }

    /// Lets every actor answer what it accepted, last started first, and ends the tree.
    pub async fn drain(&self, deadline: Deadline) -> DrainReport {
        self.jobs.retire(Deadline::after(deadline.remaining().saturating_sub(ACTORS_DRAIN))).await;
        self.root.drain(deadline).await
    }
}

/// Clients of the servers that are named; they connect by themselves.
fn clients(
    redis: RedisOptions,
    neo4j: Neo4jOptions,
    observer: BreakerObserver,
) -> Result<(Option<RedisClient>, Option<Neo4jClient>), StartError> {
    let redis = match redis.is_configured() {
        true => Some(RedisClient::new(redis, Arc::clone(&observer))?),
        false => None,
    };
    let neo4j = match neo4j.is_set() {
        true => Some(Neo4jClient::new(neo4j, observer)?),
        false => None,
    };
    Ok((redis, neo4j))
}

/// The graph on the engine that was asked for, never on another.
async fn start_graph(
    root: &Supervisor,
    data: &Path,
    options: GraphOptions,
    neo4j: Option<&Neo4jClient>,
) -> Result<GraphHandle, StartError> {
    match (options.engine, neo4j) {
        (GraphEngine::Embedded, _) => {
            Ok(GraphHandle::start(root, &data.join(GRAPH_FILE), options).await?)
        }
        (GraphEngine::Neo4j, Some(client)) => {
            let mailbox = options.mailbox;
            let store = Neo4jGraph::new(client.clone(), options)?;
            Ok(GraphHandle::start_on(root, Arc::new(store), mailbox).await?)
        }
        (GraphEngine::Neo4j, None) => {
            let problem = "uri: graph.engine is \"neo4j\", and no server is named";
            Err(Neo4jError::Config(problem.to_owned()).into())
        }
    }
}

/// Where jobs are kept.
fn job_store(
    data: &Path,
    options: &JobsOptions,
    redis: Option<&RedisClient>,
) -> Result<Arc<dyn JobStore>, JobsError> {
    match (options.engine, redis) {
        (JobsEngine::Sqlite, _) => {
            Ok(Arc::new(SqliteJobs::open(&data.join(JOBS_FILE), options.rules())?))
        }
        (JobsEngine::Redis, Some(redis)) => {
            Ok(Arc::new(RedisJobs::new(redis.clone(), options.rules(), options.lease())))
        }
        (JobsEngine::Redis, None) => Err(JobsError::NoRedis),
    }
}
