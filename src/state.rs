//! What every request works on: the engine's handles and the face's own decisions. No business state.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use actix_web::web::Data;
use serde::Serialize;
use ultimate_mcp_actors::audit::{EventType, NewEvent};
use ultimate_mcp_actors::authorization::{Ban, Policy};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::engine::Engine;
use ultimate_mcp_actors::graph::GraphEngine;
use ultimate_mcp_actors::node::NodeId;
use ultimate_mcp_actors::resilience::{BreakerState, DependencySnapshot};
use ultimate_mcp_actors::supervision::ChildState;

use crate::admission::Admission;
use crate::auth::{Authenticator, Caller, bearer};
use crate::breaker_trail::BreakerTrail;
use crate::config::Config;
use crate::error::{ApiError, Code};
use crate::forward::{self, Forwarder, Received};
use crate::instruments::Instruments;
use crate::mcp::{Hub, InvalidTool, ToolList};
use crate::origin::Origin;
use crate::record::described;
use crate::reload::Reload;
use crate::tools::artifacts::ArtifactStore;
use crate::tools::prompts::Prompts;
use crate::tools::{Registry, Tool, ToolDescriptor};

type ToolLists = HashMap<Arc<[String]>, Arc<ToolList>>;

/// Role sets whose tool lists are kept; beyond that they are built anew.
const ROLE_SETS_MAX: usize = 64;

/// Everything a handler needs. One per process, shared by all workers.
pub struct AppState {
    /// The actors' handles.
    pub engine: Engine,
    /// The tools.
    pub registry: Registry,
    /// Tokens.
    pub authenticator: Authenticator,
    /// Permissions and rates.
    pub admission: Admission,
    /// Files that runs left.
    pub artifacts: ArtifactStore,
    /// Instructions for models.
    pub prompts: Arc<Prompts>,
    /// Counters and histograms of tools.
    pub metrics: Instruments,
    /// The way to other nodes.
    pub forwarder: Forwarder,
    /// The configuration in force.
    pub reload: Reload,
    /// What happened to breakers.
    pub breakers: BreakerTrail,
    /// Where changes are told to open streams.
    pub hub: Arc<Hub>,
    /// Limits that are read once, at start.
    pub ceilings: Ceilings,
    /// Set once, when the process was told to stop: load balancers are to look away.
    leaving: AtomicBool,
    call_max: Duration,
    data_dir: PathBuf,
    graph_is_shared: bool,
    token_ttl_seconds_max: u64,
    all_tools: ToolList,
    /// Versions of tools under their plain names: name, version, a list of that one.
    editions: Vec<(&'static str, u16, ToolList)>,
    /// Tool lists by role set, under the policy they were made by.
    lists: Mutex<(Arc<Policy>, ToolLists)>,
}

/// What an [`AppState`] is put together from; the fields are explained there.
#[allow(missing_docs, reason = "documented at AppState")]
pub struct StateParts {
    pub engine: Engine,
    pub registry: Registry,
    pub authenticator: Authenticator,
    pub admission: Admission,
    pub artifacts: ArtifactStore,
    pub prompts: Arc<Prompts>,
    pub metrics: Instruments,
    pub forwarder: Forwarder,
    pub reload: Reload,
    pub breakers: BreakerTrail,
}

/// Limits of parts that do not show their own; most at once on this node.
#[allow(
    missing_docs,
    reason = "the configuration explains them, in sections `cell` and `sessions`"
)]
pub struct Ceilings {
    pub runs_max: usize,
    pub runs_per_caller_max: usize,
    pub queue_max: usize,
    pub queued_per_caller_max: usize,
    pub sessions_max: usize,
    pub sessions_per_caller_max: usize,
}

impl Ceilings {
    fn of(config: &Config) -> Self {
        let (cell, sessions) = (&config.cell, &config.sessions);
        Self {
            runs_max: cell.places(),
            runs_per_caller_max: cell.places_per_caller(),
            queue_max: cell.queue_max,
            queued_per_caller_max: cell.queued_per_caller_max,
            sessions_max: sessions.total_max,
            sessions_per_caller_max: sessions.per_owner_max,
        }
    }
}

/// Whether the engine can serve, and what its parts say.
#[derive(Serialize)]
pub struct Readiness {
    /// Which node this is.
    pub node: NodeId,
    /// `ready`, `degraded` or `unavailable`.
    pub status: &'static str,
    /// Each part: its state, and why when it is not well.
    pub dependencies: Vec<Dependency>,
}

/// One part of the engine.
#[derive(Serialize)]
pub struct Dependency {
    /// Its name in the supervision tree.
    pub name: String,
    /// `ready`, `degraded` or `unavailable`.
    pub status: &'static str,
    /// What is missing, and the remedy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub detail: Vec<String>,
}

impl Readiness {
    /// Whether the engine itself can serve.
    pub fn can_serve(&self) -> bool {
        self.status != "unavailable"
    }
}

impl AppState {
    /// Puts the parts together.
    ///
    /// # Errors
    /// A tool that no client could call.
    pub fn new(parts: StateParts, config: &Config) -> Result<Self, InvalidTool> {
        let StateParts {
            engine,
            registry,
            authenticator,
            admission,
            artifacts,
            prompts,
            metrics,
            forwarder,
            reload,
            breakers,
        } = parts;
        let lists = Mutex::new((engine.authorization.snapshot().shared_policy(), ToolLists::new()));
        Ok(Self {
            all_tools: ToolList::new(registry.descriptors())?,
            editions: editions(&registry)?,
            engine,
            registry,
            authenticator,
            admission,
            artifacts,
            prompts,
            metrics,
            forwarder,
            reload,
            breakers,
            hub: Arc::new(Hub::new(&config.mcp)),
            ceilings: Ceilings::of(config),
            leaving: AtomicBool::new(false),
            call_max: Duration::from_secs(config.http.request_timeout_seconds),
            data_dir: config.data_dir.clone(),
            graph_is_shared: config.graph.engine == GraphEngine::Neo4j,
            token_ttl_seconds_max: config.auth.token_ttl_seconds_max,
            lists,
        })
    }

    /// The state of the app that serves this request.
    ///
    /// # Errors
    /// A route was mounted without state: a mistake of ours.
    pub fn of(request: &HttpRequest) -> Result<Arc<Self>, ApiError> {
        let data = request.app_data::<Data<Self>>();
        data.map(|data| Arc::clone(data)).ok_or_else(|| ApiError::new(Code::Internal, "no state"))
    }

    /// From the request's headers to a caller. A failure is recorded, with the precise reason, but not
    /// waited for: whoever has no token must not be able to make others wait.
    ///
    /// # Errors
    /// 401, or 400 for a malformed header.
    pub fn authenticate(&self, headers: &HeaderMap, origin: &Origin) -> Result<Caller, ApiError> {
        let standing = self.engine.authorization.snapshot();
        let now = chrono::Utc::now().timestamp();
        if let Some(ban) = origin.ip.and_then(|ip| standing.ban_of_address(ip, now)) {
            return Err(self.refuse_banned(origin, None, ban));
        }
        let verified =
            bearer(headers).and_then(|token| self.authenticator.verify(token, &*standing));
        let caller = verified.map_err(|error| {
            let mut event = described(origin, "authenticate", EventType::AuthFailure);
            event.success = Some(false);
            event.error_message = Some(error.to_string());
            event.details.insert("reason".into(), error.reason().into());
            self.metrics.auth_failed(error.reason());
            self.note(&event);
            ApiError::from(error)
        })?;
        match standing.ban_of_user(caller.id(), now) {
            Some(ban) => Err(self.refuse_banned(origin, Some(&caller), ban)),
            None => Ok(caller),
        }
    }

    /// Recorded like a failure to authenticate: whoever is banned cannot make others wait.
    pub fn refuse_banned(&self, origin: &Origin, caller: Option<&Caller>, ban: &Ban) -> ApiError {
        let end = ban.expires_at.and_then(|at| chrono::DateTime::from_timestamp(at, 0));
        let until = end.map_or(String::new(), |end| format!(" until {}", end.to_rfc3339()));
        let why = if ban.reason.is_empty() { "" } else { ": " };
        let whom = if caller.is_some() { "you are" } else { "your network is" };
        let refusal =
            ApiError::new(Code::Banned, format!("{whom} banned{until}{why}{}", ban.reason));
        let mut event = described(origin, "authenticate", EventType::AuthzDenied);
        event.user_id = caller.map(|caller| caller.id().clone());
        event.resource = Some(ban.subject.to_string().into());
        event.success = Some(false);
        event.error_message = Some(refusal.public.clone());
        event.details.insert("code".into(), refusal.code.slug().into());
        event.details.insert("ban".into(), ban.id.to_string().into());
        self.metrics.auth_failed("banned");
        self.note(&event);
        refusal
    }

    /// What another node vouches for, when it sent this request on.
    ///
    /// # Errors
    /// 401 for a request that claims to come from a node and does not prove it; recorded.
    pub fn received(
        &self,
        request: &HttpRequest,
        origin: &Origin,
    ) -> Result<Option<Received>, ApiError> {
        forward::received(request, self.engine.nodes.seals()).map_err(|error| {
            let mut event = described(origin, "authenticate", EventType::SecurityViolation);
            event.success = Some(false);
            event.error_message = Some(error.to_string());
            self.metrics.auth_failed("bad_seal");
            self.note(&event);
            ApiError::new(Code::Unauthenticated, "the seal of the sending node is not valid here")
                .caused_by(error)
        })
    }

    /// Records an event that nobody waits for.
    pub fn note(&self, event: &NewEvent) {
        if let Err(error) = self.engine.audit.record(event) {
            tracing::error!(error = &error as &dyn std::error::Error, "an event was not recorded");
        }
    }

    /// The deadline of a call that begins now.
    pub fn call_deadline(&self) -> Deadline {
        Deadline::after(self.call_max)
    }

    /// Where state is kept.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Whether every node works on the same graph.
    pub fn graph_is_shared(&self) -> bool {
        self.graph_is_shared
    }

    /// `auth.token_ttl_seconds_max`: no token that is accepted lives longer.
    pub fn token_ttl_seconds_max(&self) -> u64 {
        self.token_ttl_seconds_max
    }

    /// The tools this caller may use.
    pub fn tools_of(&self, caller: &Caller) -> Arc<ToolList> {
        let policy = self.engine.authorization.snapshot().shared_policy();
        let mut kept = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        let (under, lists) = &mut *kept;
        if !Arc::ptr_eq(under, &policy) {
            (*under, *lists) = (policy, ToolLists::new());
        }
        if let Some(list) = lists.get(caller.roles()) {
            return Arc::clone(list);
        }
        let may = |permission| self.admission.admit_permission(caller, permission).is_ok();
        let visible = |name: &str| {
            self.registry.get(name).is_some_and(|tool| may(tool.descriptor().permission))
        };
        let mut list = self.all_tools.filter(visible);
        for (name, version, edition) in &self.editions {
            if under.version_of(caller.roles(), name) == Some(*version) {
                list = list.with(edition);
            }
        }
        let list = Arc::new(list);
        // Role sets come from tokens; the policy knows few, their combinations may be many.
        if lists.len() >= ROLE_SETS_MAX {
            lists.clear();
        }
        lists.insert(caller.roles().into(), Arc::clone(&list));
        list
    }

    /// The tool that this name means to this caller: the policy may pin a version of it.
    pub fn tool_for(&self, caller: &Caller, name: &str) -> Option<&dyn Tool> {
        let authorization = &self.engine.authorization;
        let pinned = || authorization.snapshot().policy().version_of(caller.roles(), name);
        self.registry.meant(name, pinned)
    }

    /// The tools this caller may use, each under the name by which it is called.
    pub fn descriptors_for(&self, caller: &Caller) -> Vec<(&'static str, &ToolDescriptor)> {
        let visible = self.tools_of(caller);
        let meant = |name| Some((name, self.tool_for(caller, name)?.descriptor()));
        visible.names().filter_map(meant).collect()
    }

    /// From now on `/ready` says `unavailable`, while requests that still come are served.
    pub fn leave(&self) {
        self.leaving.store(true, Ordering::Relaxed);
        self.engine.nodes.leave();
    }

    /// Asks nobody: reads the tree and what the cell found when it started.
    pub fn readiness(&self) -> Readiness {
        let tree = self.engine.tree.snapshot();
        let mut dependencies: Vec<Dependency> = tree
            .walk()
            .into_iter()
            .filter(|node| node.mailbox.is_some())
            .map(|node| {
                let (status, why) = match node.state {
                    ChildState::Running => ("ready", None),
                    _ if node.critical => ("unavailable", node.last_failure.as_ref()),
                    _ => ("degraded", node.last_failure.as_ref()),
                };
                let detail = why.map(|failure| failure.text.to_string()).into_iter().collect();
                Dependency { name: node.name.to_string(), status, detail }
            })
            .collect();
        dependencies.push(self.cell());
        dependencies.extend(self.neo4j());
        dependencies.extend(self.redis());
        dependencies.extend(self.shipping());
        dependencies.extend(self.sharing());
        dependencies.extend(self.configuration());
        dependencies.extend(self.issuers());
        if let Some(jobs) =
            dependencies.iter_mut().find(|d| d.name == "jobs" && d.status == "ready")
            && !self.engine.jobs.stats().store_up
        {
            jobs.status = "degraded";
            jobs.detail = vec!["the store of the job queue does not answer".to_owned()];
        }
        let worst = |status| dependencies.iter().any(|d| d.status == status);
        let can_serve = tree.can_serve() && !self.leaving.load(Ordering::Relaxed);
        let status = match (can_serve, worst("unavailable") || worst("degraded")) {
            (false, _) => "unavailable",
            (true, true) => "degraded",
            (true, false) => "ready",
        };
        Readiness { node: self.engine.nodes.own().id.clone(), status, dependencies }
    }

    /// What is kept there answers 503 until it is back; everything else is served.
    fn neo4j(&self) -> Option<Dependency> {
        let client = self.engine.neo4j.as_ref()?;
        let mut detail = Vec::from_iter(client.state().problem());
        detail.extend(held_open(&client.dependency().snapshot()));
        let status = if detail.is_empty() { "ready" } else { "degraded" };
        Some(Dependency { name: "neo4j".into(), status, detail })
    }

    /// The node serves without it, from what is its own.
    fn redis(&self) -> Option<Dependency> {
        let health = self.engine.redis.as_ref()?.health();
        let held = held_open(&health.dependency);
        let well = health.up == Some(true) && held.is_none();
        let status = if well { "ready" } else { "degraded" };
        let detail = health.reason.into_iter().chain(held).collect();
        Some(Dependency { name: "redis".into(), status, detail })
    }

    /// Nothing is lost while it waits; the copy in Neo4j is behind.
    fn shipping(&self) -> Option<Dependency> {
        let status = self.engine.shipping.as_ref()?.status();
        let behind = || {
            let (events, seconds) = (status.lag_events, status.lag_seconds);
            format!("{events} events wait for Neo4j, the oldest for {seconds:.0} s")
        };
        let mut detail = Vec::from_iter(status.problem.clone());
        detail.extend(status.lagging.then(behind));
        let word = if detail.is_empty() { "ready" } else { "degraded" };
        Some(Dependency { name: "audit shipping".into(), status: word, detail })
    }

    /// Whether this node and the others know the same, and know each other.
    fn sharing(&self) -> Option<Dependency> {
        let standing = self.engine.authorization.sharing()?;
        let nodes = self.engine.nodes.list();
        let mut detail: Vec<String> = standing
            .reason
            .map(|why| format!("roles, revocations and bans: {why}"))
            .into_iter()
            .collect();
        if nodes.id_taken {
            detail.push("another process uses this node's id: set node.id".to_owned());
        }
        let well = standing.in_step && !nodes.id_taken;
        let status = if well { "ready" } else { "degraded" };
        Some(Dependency { name: "sharing".into(), status, detail })
    }

    /// Other issuers: callers with their tokens are served by the keys known, as long as these hold.
    fn issuers(&self) -> impl Iterator<Item = Dependency> + '_ {
        self.authenticator.issuers().iter().map(|issuer| {
            let detail = Vec::from_iter(issuer.problem());
            let status = if detail.is_empty() { "ready" } else { "degraded" };
            Dependency { name: format!("issuer {}", issuer.name()), status, detail }
        })
    }

    /// Shown only while the files cannot be used: the server runs on with what it has.
    fn configuration(&self) -> Option<Dependency> {
        let detail = self.reload.standing().problem.clone();
        let unwell = !detail.is_empty();
        unwell.then(|| Dependency { name: "configuration".into(), status: "degraded", detail })
    }

    fn cell(&self) -> Dependency {
        let cell = self.engine.execution.capabilities();
        let (status, detail) = match cell.obstacle() {
            Some(obstacle) => ("unavailable", vec![obstacle]),
            None if cell.hard_limits => ("ready", Vec::new()),
            None => ("degraded", cell.isolation.degraded.clone()),
        };
        Dependency { name: "cell".into(), status, detail }
    }
}

/// Every version that can be pinned, as it is listed then.
fn editions(registry: &Registry) -> Result<Vec<(&'static str, u16, ToolList)>, InvalidTool> {
    let listed = |(name, version, tool): (&'static str, u16, &ToolDescriptor)| {
        let tool = ToolDescriptor { name, ..tool.clone() };
        Ok((name, version, ToolList::new([&tool])?))
    };
    // The plain name stands for itself in the full list.
    let others = registry.editions().filter(|(name, _, tool)| *name != tool.name);
    others.map(listed).collect()
}

/// The server may be well and still not be asked.
fn held_open(dependency: &DependencySnapshot) -> Option<String> {
    let held = dependency.breaker.state == BreakerState::ForcedOpen;
    held.then(|| {
        let name = &dependency.name;
        format!("an operator holds its breaker open: POST /api/v1/breakers/{name}/reset ends it")
    })
}
