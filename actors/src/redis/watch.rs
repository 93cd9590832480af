//! Is Redis there? Asked in the background, so that its coming and going is logged once each and
//! nobody has to wait for the answer.

use std::sync::Weak;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::watch;

use super::Inner;
use super::error::RedisError;
use super::options::RedisMode;
use crate::resilience::DependencySnapshot;
use crate::resilience::schedule::{Schedule, ScheduleOptions};

/// How often it is asked while it answers.
pub(super) const ASK_EVERY: Duration = Duration::from_secs(1);

/// What is known without asking.
#[derive(Clone, Debug, Serialize)]
pub struct RedisHealth {
    /// How the servers belong together.
    pub mode: RedisMode,
    /// Whether it answered last time; `None` before the first answer.
    pub up: Option<bool>,
    /// Why not.
    pub reason: Option<String>,
    /// For how long it has been so.
    pub for_seconds: f64,
    /// What stands between it and its callers.
    pub dependency: DependencySnapshot,
}

/// Since when it is there or not.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    pub(super) up: Option<bool>,
    pub(super) reason: Option<String>,
    pub(super) since: Instant,
}

impl Standing {
    pub(super) fn unknown() -> Self {
        Self { up: None, reason: None, since: Instant::now() }
    }
}

/// Asks until the last handle of the client is gone.
pub(super) async fn watch(client: Weak<Inner>, standing: watch::Sender<Standing>) {
    let mut delays = Schedule::new(ScheduleOptions {
        initial: Duration::from_millis(100),
        max: Duration::from_secs(1),
        multiplier: 2.0,
        jitter: 0.2,
    });
    loop {
        let Some(inner) = client.upgrade() else { return };
        let trouble = inner.clone();
        let answer = inner.probe().await;
        let patience = Duration::from_millis(inner.options.patience_ms);
        let prompt = answer.as_ref().is_ok_and(|took| *took <= patience);
        inner.prompt.store(prompt, Ordering::Relaxed);
        drop(inner);
        let pause = match prompt {
            true => {
                delays.reset();
                ASK_EVERY
            }
            false => delays.next_delay(),
        };
        note(&standing, answer.err());
        // A command that found the connection broken wakes this up.
        let told = trouble.trouble.notified();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = told => tokio::time::sleep(delays.next_delay()).await,
        }
    }
}

fn note(standing: &watch::Sender<Standing>, error: Option<RedisError>) {
    let up = error.is_none();
    let before = standing.borrow().clone();
    if before.up == Some(up) {
        return;
    }
    let reason = error.as_ref().map(explain);
    match &reason {
        Some(reason) => tracing::warn!(
            reason,
            "redis is away; this node goes on with its own cache and limits and tries again"
        ),
        None if before.up.is_none() => tracing::info!("redis answers"),
        None => {
            let away_seconds = before.since.elapsed().as_secs_f64();
            tracing::info!(away_seconds, "redis is back");
        }
    }
    standing.send_replace(Standing { up: Some(up), reason, since: Instant::now() });
}

/// The error and its causes in one line.
fn explain(error: &RedisError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
