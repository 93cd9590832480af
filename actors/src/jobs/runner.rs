//! The seam to the face: who actually runs a job.
//!
//! The engine knows leases, attempts and outcomes; the face knows callers, tools and the one path of a
//! call. It hands a [`Runner`] in at start.

use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use super::job::{Identity, Job, JobFault};
use crate::deadline::Deadline;
use crate::fault::Retry;

/// One attempt to run.
#[derive(Clone, Debug)]
pub struct Order {
    /// The job.
    pub job: Job,
    /// Its arguments, a JSON object.
    pub arguments: String,
    /// Which attempt this is.
    pub attempt: u32,
    /// When the run is over at the latest.
    pub deadline: Deadline,
}

/// How an attempt ended.
#[derive(Clone, Debug)]
pub enum RunEnd {
    /// The tool answered.
    Done {
        /// Its structured result, JSON.
        result: String,
        /// It ran and reports a failure.
        is_error: bool,
    },
    /// It was turned away before anything happened: a rate, a full queue, a part that is down.
    TurnedAway {
        /// Why.
        fault: JobFault,
        /// When to come back.
        after: Duration,
    },
    /// The caller may not (or no longer) do this.
    Forbidden {
        /// Why.
        fault: JobFault,
    },
    /// It failed.
    Failed {
        /// Why.
        fault: JobFault,
        /// Whether it may be tried again.
        retry: Retry,
        /// The caller's mistake: nothing an operator could mend.
        callers_fault: bool,
    },
}

/// Runs jobs. One that is dropped is killed.
pub trait Runner: Send + Sync + 'static {
    /// Runs one attempt to its end.
    fn run(&self, order: Order) -> LocalBoxFuture<'static, RunEnd>;

    /// Whether the caller's token still stands; a schedule whose caller's does not is switched off.
    fn stands(&self, identity: &Identity) -> bool;
}
