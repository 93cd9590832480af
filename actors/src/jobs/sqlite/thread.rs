//! The thread that owns the connection: group commit.
//!
//! Called by [`super::SqliteJobs`]. Each request runs in a savepoint of its own, so one that fails takes
//! nothing of its neighbours with it. Refuses when the queue of requests is full.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::faults;
use crate::jobs::error::JobsError;

/// Requests that may wait for the thread.
const WAITING_MAX: usize = 4096;
/// Requests in one transaction.
const BATCH_MAX: usize = 256;
/// When a full queue has room again.
const BUSY_RETRY: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Thread {
    requests: SyncSender<Box<dyn Request>>,
}

/// One request, its answer forgotten.
trait Request: Send {
    /// Does the work; false when it failed and must be undone.
    fn work(&mut self, connection: &Connection) -> bool;
    /// Answers, once the transaction's fate is known.
    fn answer(self: Box<Self>, committed: Result<(), JobsError>);
}

struct Call<F, T> {
    work: Option<F>,
    result: Option<Result<T, JobsError>>,
    reply: oneshot::Sender<Result<T, JobsError>>,
}

impl<F, T> Request for Call<F, T>
where
    F: FnOnce(&Connection) -> Result<T, JobsError> + Send,
    T: Send,
{
    fn work(&mut self, connection: &Connection) -> bool {
        let Some(work) = self.work.take() else { return true };
        let result = work(connection);
        let well = result.is_ok();
        self.result = Some(result);
        well
    }

    fn answer(self: Box<Self>, committed: Result<(), JobsError>) {
        let result = self.result.unwrap_or(Err(JobsError::Unanswered));
        // Whoever left does not need the answer.
        let _ = self.reply.send(result.and_then(|value| committed.map(|()| value)));
    }
}

impl Thread {
    pub(super) fn start(connection: Connection) -> Result<Self, JobsError> {
        let (requests, incoming) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new().name("jobs-store".to_owned());
        let spawned = thread.spawn(move || serve(&connection, &incoming));
        spawned.map_err(|error| JobsError::Start(error.to_string().into()))?;
        Ok(Self { requests })
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, JobsError> + Send + 'static,
    ) -> Result<T, JobsError> {
        let (reply, answer) = oneshot::channel();
        let call = Call { work: Some(work), result: None, reply };
        self.requests.try_send(Box::new(call)).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => {
                JobsError::Away { retry_after: BUSY_RETRY }
            }
        })?;
        answer.await.unwrap_or(Err(JobsError::Unanswered))
    }
}

/// Ends when the last handle is gone.
fn serve(connection: &Connection, incoming: &Receiver<Box<dyn Request>>) {
    while let Ok(first) = incoming.recv() {
        let more = incoming.try_iter().take(BATCH_MAX - 1);
        let mut batch: Vec<_> = std::iter::once(first).chain(more).collect();
        let committed = transact(connection, &mut batch).map_err(JobsError::from);
        if let Err(error) = &committed {
            tracing::error!(error = error as &dyn std::error::Error, "jobs could not be stored");
            // A transaction that could not commit must not hold up the next one.
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
        }
        for request in batch {
            request.answer(committed.clone());
        }
    }
}

fn transact(connection: &Connection, batch: &mut [Box<dyn Request>]) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
    for request in batch {
        connection.prepare_cached("SAVEPOINT request")?.execute([])?;
        if !request.work(connection) {
            connection.prepare_cached("ROLLBACK TO request")?.execute([])?;
        }
        connection.prepare_cached("RELEASE request")?.execute([])?;
    }
    if faults::passes_with_error("jobs.before_commit") {
        return Err(faults::disk_is_full());
    }
    connection.prepare_cached("COMMIT")?.execute([])?;
    let _ = faults::passes_with_error("jobs.after_commit");
    Ok(())
}
