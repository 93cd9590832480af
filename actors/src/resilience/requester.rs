//! On whose behalf work is done, and how urgent it is: what a bulkhead shares its places by.
//!
//! Set once where work begins (a tool call, a job, a background task) and read where it reaches a
//! dependency. It is bound to the task: what hands work to another task or actor hands this on, too, with
//! [`Requester::current`] and [`Requester::scope`].

use std::future::Future;

use serde::Serialize;

use crate::ids::CallerId;

tokio::task_local! {
    static CURRENT: Requester;
}

/// Who is served first when places are scarce.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Somebody waits for the answer.
    #[default]
    Interactive,
    /// Jobs, copies, imports: later is good enough.
    Background,
}

/// Who asks, and how urgently. By default the server itself, urgently.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requester {
    /// The caller; `None` for the server's own work, which no share limits.
    pub caller: Option<CallerId>,
    /// How urgently.
    pub priority: Priority,
}

impl Requester {
    /// Work for a caller.
    pub fn of(caller: CallerId, priority: Priority) -> Self {
        Self { caller: Some(caller), priority }
    }

    /// The server's own work that can wait.
    pub fn background() -> Self {
        Self { caller: None, priority: Priority::Background }
    }

    /// That of the task this is asked in; the default where none was set.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Does `work` on behalf of this requester.
    pub async fn scope<F: Future>(self, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }
}
