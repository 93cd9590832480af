//! Queries beside the writer: a few connections, each used by one blocking thread at a time.
//!
//! Called by [`super::AuditHandle::query`]. Refuses when too many queries wait, and interrupts the one
//! that outlives its deadline.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{Semaphore, TryAcquireError};

use super::error::AuditError;
use super::query::{self, Filter, Page};
use super::schema;
use crate::deadline::Deadline;

/// Steps of SQLite's machine between two looks at the clock: tens of microseconds.
const STEPS_PER_CHECK: i32 = 10_000;

/// The pool; a clone shares it.
#[derive(Clone)]
pub(crate) struct Readers(Arc<Pool>);

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    running: Arc<Semaphore>,
    waiting: Semaphore,
}

impl Readers {
    pub(crate) fn new(path: &Path, readers: usize, waiting_max: usize) -> Self {
        Self(Arc::new(Pool {
            path: path.to_owned(),
            idle: Mutex::new(Vec::with_capacity(readers)),
            running: Arc::new(Semaphore::new(readers)),
            waiting: Semaphore::new(waiting_max),
        }))
    }

    /// The page that `filter` describes.
    pub(crate) async fn page(
        &self,
        filter: Filter,
        deadline: Deadline,
    ) -> Result<Page, AuditError> {
        self.run(deadline, move |connection| query::page(connection, &filter)).await
    }

    /// Runs `read` on a free connection.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        deadline: Deadline,
        read: impl FnOnce(&Connection) -> Result<T, AuditError> + Send + 'static,
    ) -> Result<T, AuditError> {
        let permit = match self.0.running.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(TryAcquireError::Closed) => return Err(AuditError::ReadersBusy),
            Err(TryAcquireError::NoPermits) => {
                let _place = self.0.waiting.try_acquire().map_err(|_| AuditError::ReadersBusy)?;
                let turn = self.0.running.clone().acquire_owned();
                let turn = tokio::time::timeout_at(deadline.instant(), turn).await;
                turn.map_err(|_| AuditError::TooSlow)?.map_err(|_| AuditError::ReadersBusy)?
            }
        };
        let pool = self.0.clone();
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            pool.run(read, deadline)
        });
        work.await.map_err(|_| AuditError::ReaderCrashed)?
    }
}

impl Pool {
    fn run<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, AuditError>,
        deadline: Deadline,
    ) -> Result<T, AuditError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => schema::open_reader(&self.path).map_err(AuditError::read)?,
        };
        let late = move || deadline.is_past();
        connection.progress_handler(STEPS_PER_CHECK, Some(late)).map_err(AuditError::read)?;
        let answer = read(&connection);
        // A connection that failed (or panicked, and so never comes here) is not used again.
        if answer.is_ok() {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
        answer
    }
}
