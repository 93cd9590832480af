//! The link to the launcher, kept alive: started, watched, started again after a growing pause.
//!
//! Owns: the published link and what the last launcher found out. The actor runs [`Links::keep`];
//! runs take the link from here without asking anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::time::Instant;
use ultimate_mcp_sandbox::probe::CellCapabilities;
use ultimate_mcp_sandbox::{LauncherOptions, Link};

use super::error::ExecutionError;
use crate::deadline::Deadline;
use crate::resilience::schedule::{Schedule, ScheduleOptions};

/// How long a run waits for a launcher that is being started again.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A launcher that lived this long did not die of its start: the next one comes without a pause.
const LIVED_LONG: Duration = Duration::from_secs(10);
/// Pauses between starts: first, and longest.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(10);

pub(super) struct Links {
    current: watch::Sender<Current>,
    capabilities: ArcSwap<CellCapabilities>,
    starts: AtomicU64,
    losses: AtomicU64,
}

enum Current {
    /// No attempt has ended yet.
    Starting,
    Up(Link),
    Down(Arc<str>),
}

impl Links {
    pub(super) fn new() -> Arc<Self> {
        let unknown = CellCapabilities::unknown("it is being started");
        Arc::new(Self {
            current: watch::channel(Current::Starting).0,
            capabilities: ArcSwap::from_pointee(unknown),
            starts: AtomicU64::new(0),
            losses: AtomicU64::new(0),
        })
    }

    /// What the last launcher found out about this host.
    pub(super) fn capabilities(&self) -> Arc<CellCapabilities> {
        self.capabilities.load_full()
    }

    /// Launchers started, and launchers lost.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.starts.load(Ordering::Relaxed), self.losses.load(Ordering::Relaxed))
    }

    /// The process id of the launcher that runs now.
    pub(super) fn launcher_pid(&self) -> Option<u32> {
        match &*self.current.borrow() {
            Current::Up(link) if !link.is_closed() => Some(link.launcher_pid()),
            _ => None,
        }
    }

    /// Resolves when the first attempt has ended, well or not.
    pub(super) async fn first_attempt(&self) {
        let mut changes = self.current.subscribe();
        // The sender is ours: it cannot be gone.
        let _ = changes.wait_for(|current| !matches!(current, Current::Starting)).await;
    }

    /// A living link; waits for one that is being started, but not long.
    pub(super) async fn alive(&self, deadline: Deadline) -> Result<Link, ExecutionError> {
        let mut changes = self.current.subscribe();
        let up = |current: &Current| matches!(current, Current::Up(link) if !link.is_closed());
        let until = deadline.at_most(WAIT_MAX).instant();
        let waited = tokio::time::timeout_at(until, changes.wait_for(up)).await;
        if let Ok(Ok(current)) = waited
            && let Current::Up(link) = &*current
        {
            return Ok(link.clone());
        }
        let why = match &*self.current.borrow() {
            Current::Down(why) => Arc::clone(why),
            Current::Starting | Current::Up(_) => "it is being started".into(),
        };
        Err(ExecutionError::LauncherDown(why))
    }

    /// Keeps one launcher running, for ever.
    pub(super) async fn keep(self: Arc<Self>, options: LauncherOptions) {
        let mut pauses = Schedule::new(ScheduleOptions {
            initial: PAUSE_FIRST,
            max: PAUSE_MAX,
            multiplier: 2.0,
            jitter: 0.2,
        });
        loop {
            let began = Instant::now();
            match Link::spawn(options.clone()).await {
                Ok(link) => self.serve(link).await,
                Err(error) => {
                    tracing::error!(error = %error, "cell.launcher_failed: it cannot be started");
                    let unknown = CellCapabilities::unknown(&error.to_string());
                    self.capabilities.store(Arc::new(unknown));
                    self.current.send_replace(Current::Down(error.to_string().into()));
                }
            }
            if began.elapsed() > LIVED_LONG {
                pauses.reset();
                continue;
            }
            tokio::time::sleep(pauses.next_delay()).await;
        }
    }

    async fn serve(&self, link: Link) {
        let pid = link.launcher_pid();
        self.capabilities.store(link.capabilities());
        self.starts.fetch_add(1, Ordering::Relaxed);
        self.current.send_replace(Current::Up(link.clone()));
        tracing::info!(pid, "cell.launcher_started");
        link.closed().await;
        self.losses.fetch_add(1, Ordering::Relaxed);
        self.current.send_replace(Current::Down("the last one died".into()));
        tracing::error!(pid, "cell.launcher_lost: its runs ended with it, another is started");
    }
}
