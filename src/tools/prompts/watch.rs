//! Applies changes of the operator's prompts: when files changed and then stayed the same for one look.
//!
//! Compares names, sizes and times once a second, as [`crate::reload`] does with the configuration's files.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::MissedTickBehavior;
use ultimate_mcp_actors::audit::{AuditHandle, EventType, NewEvent, Phase};

use super::Prompts;
use crate::mcp::{Hub, ListChanged};

/// Between two looks at the folder. A change is applied one to two of these after the last write.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Name, size and time of each file, sorted; empty when the folder cannot be read.
type Look = Vec<(std::ffi::OsString, u64, Option<SystemTime>)>;

/// Watches until it is dropped; ends at once when there is no folder.
pub async fn watch(prompts: Arc<Prompts>, audit: AuditHandle, hub: Arc<Hub>) {
    let Some(folder) = prompts.folder.clone() else { return };
    let mut looks = tokio::time::interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut applied: Option<Look> = None;
    let mut last = Look::new();
    loop {
        looks.tick().await;
        let there = folder.clone();
        let now = tokio::task::spawn_blocking(move || look(&there)).await.unwrap_or_default();
        let settled = now == last;
        last = now;
        // The first look may come after a change since the start, so it is applied too.
        if settled && applied.as_ref() != Some(&last) {
            let first = applied.replace(last.clone()).is_none();
            if apply(&prompts, &audit, &folder, first).await {
                hub.list_changed(ListChanged::Prompts);
            }
        }
    }
}

fn look(folder: &Path) -> Look {
    let Ok(listing) = std::fs::read_dir(folder) else { return Look::new() };
    let mut seen: Look = listing
        .filter_map(Result::ok)
        .filter(|entry| entry.path().extension().is_some_and(|ending| ending == "md"))
        .map(|entry| {
            // Follows links, as Kubernetes mounts files.
            let about = std::fs::metadata(entry.path()).ok();
            let size = about.as_ref().map_or(0, std::fs::Metadata::len);
            (entry.file_name(), size, about.and_then(|about| about.modified().ok()))
        })
        .collect();
    seen.sort();
    seen
}

/// Reads the folder and records what came of it; `quiet` for what is not a change. Whether there are other
/// prompts now.
async fn apply(prompts: &Arc<Prompts>, audit: &AuditHandle, folder: &Path, quiet: bool) -> bool {
    let reading = Arc::clone(prompts);
    let Ok(read) = tokio::task::spawn_blocking(move || reading.reload()).await else {
        return false;
    };
    match &read {
        Ok(()) if quiet => return false,
        Ok(()) => tracing::info!(folder = %folder.display(), "prompts.changed"),
        Err(error) => {
            let problem = error.to_string();
            tracing::error!(problem, "prompts.refused: what was in force stays");
        }
    }
    let mut event = NewEvent::new(EventType::ConfigChange, Phase::Single, "prompts/reload");
    event.resource = Some("prompts".into());
    let changed = read.is_ok();
    event.success = Some(changed);
    event.error_message = read.err().map(|error| error.to_string());
    if let Err(error) = audit.record(&event) {
        tracing::error!(error = &error as &dyn std::error::Error, "an event was not recorded");
    }
    changed
}
