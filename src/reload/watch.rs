//! Applies changed files: on SIGHUP at once, and when their content changed and then stayed the same for
//! one look.
//!
//! Content is compared once a second instead of asking the kernel for events: the files are few and small,
//! and it works alike for files that are replaced, linked (as Kubernetes does) or on a network.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use ultimate_mcp_actors::audit::{EventType, NewEvent, Phase};
use ultimate_mcp_actors::hex;

use super::{Refusal, Reload};

/// Between two looks at the files. A change is applied one to two of these after the last write.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Watches until it is dropped.
///
/// # Errors
/// Signals cannot be waited for.
pub async fn watch(reload: Reload) -> std::io::Result<()> {
    let mut hangup = signal(SignalKind::hangup())?;
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let standing = reload.standing();
    let mut files = standing.current.files().to_vec();
    files.extend(standing.current.config.policy_file.clone());
    drop(standing);
    let mut applied = look(&files).await;
    let mut last = applied.clone();
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                last = look(&files).await;
                applied = last.clone();
                reload.read_again("signal").await;
            }
            _ = looks.tick(), if !files.is_empty() => {
                let now = look(&files).await;
                let settled = now == last;
                last = now;
                if settled && last != applied {
                    applied = last.clone();
                    reload.read_again("file").await;
                }
            }
        }
    }
}

/// The content of each file, as a hash; `None` for one that cannot be read.
async fn look(files: &[PathBuf]) -> Vec<Option<String>> {
    let files = files.to_vec();
    let read =
        move || files.iter().map(|file| Some(hex::sha256(&std::fs::read(file).ok()?))).collect();
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

impl Reload {
    /// Applies the files as they are, and records what came of it.
    async fn read_again(&self, by: &'static str) {
        let planning = self.clone();
        let planned = tokio::task::spawn_blocking(move || planning.plan_files()).await;
        let Ok(planned) = planned else { return };
        let mut event = NewEvent::new(EventType::ConfigChange, Phase::Single, "config/reload");
        event.resource = Some("config".into());
        event.details.insert("by".into(), by.into());
        let result = match planned {
            Err(error) => {
                self.note_problem(&error).await;
                Err(Refusal::Invalid(error))
            }
            Ok(plan) => {
                event.details.insert("version".into(), json!(plan.version));
                event.details.insert("changes".into(), json!(plan.changes));
                event.details.insert("waits_for_restart".into(), json!(plan.waiting));
                for change in &plan.waiting {
                    tracing::warn!(key = change.key, "config.waits_for_restart");
                }
                self.commit(plan, by).await
            }
        };
        event.success = Some(result.is_ok());
        if let Err(error) = result {
            let text = error.to_string().replace('\n', "; ");
            tracing::error!(by, problem = text, "config.refused: what was in force stays");
            event.error_message = Some(text);
        }
        if let Err(error) = self.0.parts.engine.audit.record(&event) {
            tracing::error!(error = &error as &dyn std::error::Error, "an event was not recorded");
        }
    }
}
