//! Puts configuration, files and engine together. Decides nothing.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use ultimate_mcp_actors::audit::{AuditHandle, EventType, NewEvent, Phase};
use ultimate_mcp_actors::engine::{Engine, EngineOptions};
use ultimate_mcp_actors::node::NodeIdentity;
use ultimate_mcp_actors::supervision::{Event, Observer};

use super::{DataFiles, ServeError};
use crate::admission::Admission;
use crate::auth::Authenticator;
use crate::breaker_trail::BreakerTrail;
use crate::config::{AdmissionOptions, Config};
use crate::forward::Forwarder;
use crate::instruments::Instruments;
use crate::jobs::JobRunner;
use crate::mcp::Identity;
use crate::reload::Reload;
use crate::state::{AppState, StateParts};
use crate::telemetry;
use crate::tools::artifacts::ArtifactStore;
use crate::tools::prompts::Prompts;
use crate::tools::{Registry, ToolParts};
use crate::workflow::EngineSteps;

/// Instructions that `server/discover` and `initialize` give to models.
const INSTRUCTIONS: &str = "Runs Python, JavaScript and Bash in an isolated cell without network \
(execute_code, run_tests; sandbox_create and sandbox_execute keep variables between calls), lints and generates code, and keeps a knowledge graph (graph_upsert, \
graph_query in read-only Cypher, graph_delete). Files left in out/ come back as artifacts. \
A result with isError says what to change.";

/// Supervision events on their way to the audit, once there is one.
#[derive(Clone, Default)]
pub(super) struct SupervisionTrail {
    audit: Arc<OnceLock<AuditHandle>>,
}

impl SupervisionTrail {
    /// Logs and records every event. Runs on the supervisors' thread and never blocks it.
    pub(super) fn observer(&self) -> Observer {
        let audit = Arc::clone(&self.audit);
        Arc::new(move |event: &Event| {
            tracing::warn!(actor = %event.name, kind = ?event.kind, text = %event.text, "supervision");
            let Some(audit) = audit.get() else { return };
            if let Err(error) = audit.record(&entry(event)) {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "a supervision event was not recorded");
            }
        })
    }

    /// From now on events are recorded.
    pub(super) fn attach(&self, engine: &Engine) {
        let _ = self.audit.set(engine.audit.clone());
    }
}

fn entry(event: &Event) -> NewEvent {
    let mut entry = NewEvent::new(EventType::Supervision, Phase::Single, "supervise");
    entry.resource = Some(format!("actor:{}", event.name).into());
    entry.error_message = Some(event.text.to_string());
    entry.details.insert("kind".into(), serde_json::json!(event.kind));
    entry
}

pub(super) fn engine_options(
    config: &Config,
    files: &DataFiles,
    config_version: String,
) -> EngineOptions {
    EngineOptions {
        data_dir: files.dir.clone(),
        audit_key: files.audit_key.clone(),
        policy: files.policy.clone(),
        supervision: config.supervision.clone(),
        audit: config.audit.clone(),
        authorization: config.authorization.clone(),
        cache: config.cache.clone(),
        graph: config.graph.clone(),
        sessions: config.sessions.clone(),
        neo4j: config.neo4j.clone(),
        redis: config.redis.clone(),
        node: NodeIdentity {
            id: files.node.clone(),
            secret: files.cluster_secret.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            config_version,
            options: config.node.clone(),
        },
        idempotency: config.idempotency.clone(),
        cell: config.cell.clone(),
        sandboxes: config.sandboxes.clone(),
        jobs: config.jobs.clone(),
        jobs_sealer: files.jobs_sealer.clone(),
    }
}

pub(super) fn state(
    config: &Config,
    files: &DataFiles,
    engine: Engine,
    metrics: telemetry::Metrics,
    breakers: BreakerTrail,
    reloading: impl FnOnce(Arc<ArcSwap<AdmissionOptions>>) -> Reload,
) -> Result<Arc<AppState>, ServeError> {
    let instruments = Instruments::new(metrics);
    instruments.observe_tree(&engine.tree);
    instruments.observe_cell(&engine.execution);
    instruments.observe_cache(&engine.cache);
    if let Some(redis) = &engine.redis {
        instruments.observe_redis(redis);
    }
    if let Some(shipping) = &engine.shipping {
        instruments.observe_shipping(shipping);
    }
    if let Some(neo4j) = &engine.neo4j {
        instruments.observe_neo4j(neo4j);
    }
    instruments.observe_sandboxes(&engine.sandboxes);
    instruments.observe_jobs(&engine.jobs);
    let artifacts =
        ArtifactStore::open_in(&files.dir, files.node.clone(), config.tools.artifacts.clone())
            .map_err(|error| ServeError::Tools(error.to_string()))?;
    let prompts = Prompts::load(config.tools.prompts_dir.as_deref())
        .map_err(|error| ServeError::Tools(format!("prompt {error}")))?;
    let prompts = Arc::new(prompts);
    let steps = Arc::new(EngineSteps::default());
    let parts = ToolParts {
        execution: engine.execution.clone(),
        sandboxes: engine.sandboxes.clone(),
        graph: engine.graph.clone(),
        cache: engine.cache.clone(),
        jobs: engine.jobs.clone(),
        artifacts: artifacts.clone(),
        prompts: Arc::clone(&prompts),
        steps: steps.clone(),
        options: config.tools.clone(),
    };
    let registry = Registry::standard(parts).map_err(ServeError::Tools)?;
    let authenticator = Authenticator::new(config.auth.clone(), files.keys.clone());
    let admission = Admission::new(engine.authorization.clone(), config.admission)
        .shared_in(engine.redis.clone());
    let reload = reloading(admission.options());
    instruments.observe_config(&reload);
    let forwarder = Forwarder::new(engine.nodes.clone())
        .map_err(|error| ServeError::Tools(format!("other nodes cannot be called: {error}")))?;
    let parts = StateParts {
        engine,
        registry,
        authenticator,
        admission,
        artifacts,
        prompts,
        metrics: instruments,
        forwarder,
        reload,
        breakers,
    };
    let state =
        AppState::new(parts, config).map_err(|error| ServeError::Tools(error.to_string()))?;
    let state = Arc::new(state);
    steps.attach(&state);
    state.engine.jobs.attach(Arc::new(JobRunner::new(&state)));
    Ok(state)
}

pub(super) fn identity() -> Identity {
    Identity {
        name: "ultimate-mcp".to_owned(),
        title: "Ultimate MCP".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instructions: INSTRUCTIONS.to_owned(),
    }
}
