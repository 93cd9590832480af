//! The configuration in force, and every change of it while the server runs.
//!
//! A change is planned (read every source again, check all, compare) and then committed (apply, keep the
//! one before for a rollback). Called by SIGHUP and the file watch ([`watch`]) and by the routes of
//! `/api/v1/config`. Refuses what does not check, and a plan made for a configuration that is no longer in
//! force. Whatever fails, the configuration in force stays.

mod error;
mod policy;
mod standing;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::Map;
use tokio::sync::Mutex;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::engine::Engine;

use crate::config::{
    AdmissionOptions, Change, Config, ConfigError, Loaded, Overlay, PolicyText, is_live,
};
use crate::telemetry::LogControl;

pub use error::{ApplyError, Refusal};
pub use policy::PolicyStanding;
pub use standing::{LastChange, Standing};
pub use watch::watch;

/// Longest wait for an actor that is to take new values.
const APPLY_MAX: Duration = Duration::from_secs(5);

/// Where changed values take effect.
#[derive(Clone)]
pub struct Parts {
    /// Dependencies, supervision, the version that other nodes see.
    pub engine: Engine,
    /// Limits of admission.
    pub admission: Arc<ArcSwap<AdmissionOptions>>,
    /// The log filter.
    pub log: LogControl,
}

/// The configuration in force. Cheap to clone; clones share everything.
#[derive(Clone)]
pub struct Reload(Arc<Inner>);

struct Inner {
    parts: Parts,
    standing: ArcSwap<Standing>,
    /// One change at a time.
    turn: Mutex<()>,
}

/// A change that was checked and not made yet.
pub struct Plan {
    /// What it changes at once.
    pub changes: Vec<Change>,
    /// What differs in the files and waits for a restart.
    pub waiting: Vec<Change>,
    /// The version it leads to.
    pub version: String,
    next: Loaded,
    policy: PolicyStanding,
    sequence: u64,
}

impl Reload {
    /// Starts with the configuration the server was started with, under this policy.
    pub fn new(loaded: Loaded, policy: PolicyText, parts: Parts) -> Self {
        let standing = ArcSwap::from_pointee(Standing::first(loaded, policy));
        Self(Arc::new(Inner { parts, standing, turn: Mutex::new(()) }))
    }

    /// What is in force, since when, and what is wrong with the sources.
    pub fn standing(&self) -> Arc<Standing> {
        self.0.standing.load_full()
    }

    /// The sources as they are now, with what was set at run time. Reads files.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn plan_files(&self) -> Result<Plan, ConfigError> {
        let standing = self.standing();
        let next = standing.current.again(standing.current.overlay().clone())?;
        plan(&standing, next, PolicyStanding::again)
    }

    /// The sources with this patch on top: nested or dotted keys, `null` gives a key back to the files.
    /// Reads files.
    ///
    /// # Errors
    /// Values that do not check, and keys that need a restart.
    pub fn plan_patch(&self, patch: &Map<String, serde_json::Value>) -> Result<Plan, Refusal> {
        let standing = self.standing();
        let overlay = standing.current.overlay().patched(patch);
        let next = standing.current.again(overlay)?;
        let fixed: Vec<String> =
            Overlay::keys_of(patch).into_iter().filter(|key| !is_live(key)).collect();
        match fixed.is_empty() {
            true => Ok(plan(&standing, next, PolicyStanding::again)?),
            false => Err(Refusal::NeedsRestart(fixed)),
        }
    }

    /// What was in force before the last change. Reads files.
    ///
    /// # Errors
    /// There was no change, or what it did cannot be undone from here.
    pub fn plan_rollback(&self) -> Result<Plan, Refusal> {
        let standing = self.standing();
        let (previous, policy) = standing.previous.as_ref().ok_or(Refusal::NothingBefore)?;
        let (next, stuck) = previous.restored()?;
        match stuck.is_empty() {
            true => Ok(plan(&standing, next, |_, config| policy.restored(config))?),
            false => Err(Refusal::InFiles(stuck)),
        }
    }

    /// Puts a plan in force; `by` is a caller's name, "signal" or "file".
    ///
    /// # Errors
    /// Another change came between, or a part did not take it; then what was in force is in force again.
    pub async fn commit(&self, plan: Plan, by: &str) -> Result<(), Refusal> {
        let inner = &*self.0;
        let _turn = inner.turn.lock().await;
        let standing = self.standing();
        if standing.sequence != plan.sequence {
            return Err(Refusal::Overtaken);
        }
        if let Err(error) = inner.parts.apply(&plan.next.config, &plan.policy).await {
            if let Err(again) = inner.parts.apply(&standing.current.config, &standing.policy).await
            {
                tracing::error!(error = &again as &dyn std::error::Error, "config.rollback_failed");
            }
            return Err(Refusal::NotApplied(error));
        }
        inner.parts.engine.nodes.set_config_version(&plan.version);
        let (version, changed) = (plan.version.clone(), plan.changes.len());
        inner.standing.store(Arc::new(standing.after(plan, by)));
        tracing::info!(by, version, changed, "config.changed");
        Ok(())
    }

    /// Notes that the sources cannot be used; what is in force stays.
    pub async fn note_problem(&self, problem: &ConfigError) {
        let _turn = self.0.turn.lock().await;
        let lines = problem.mistakes.iter().map(ToString::to_string).collect();
        self.0.standing.store(Arc::new(self.standing().with_problem(lines)));
    }
}

/// What leads from what is in force to these values and to the policy that counts then.
fn plan(
    standing: &Standing,
    next: Loaded,
    policy: impl FnOnce(&PolicyStanding, &Config) -> Result<PolicyStanding, ConfigError>,
) -> Result<Plan, ConfigError> {
    let changes = standing.current.changes_to(&next);
    let (mut changes, waiting): (Vec<_>, Vec<_>) =
        changes.into_iter().partition(|change| is_live(&change.key));
    let next = next.keeping(&standing.current, &waiting)?;
    let policy = policy(&standing.policy, &next.config)?;
    changes.extend(standing.policy.change_to(&policy));
    let version = next.version_under(&policy.current.text);
    Ok(Plan { changes, waiting, version, next, policy, sequence: standing.sequence })
}

impl Parts {
    async fn apply(&self, config: &Config, policy: &PolicyStanding) -> Result<(), ApplyError> {
        self.log.set_filter(&config.telemetry.log_filter)?;
        self.admission.store(Arc::new(config.admission));
        self.engine.reconfigure(&config.redis, &config.neo4j, &config.supervision).await?;
        // Last: decisions of the new policy are made under the new limits.
        let policy = policy.current.policy.clone();
        self.engine.authorization.replace_policy(policy, Deadline::after(APPLY_MAX)).await?;
        Ok(())
    }
}
