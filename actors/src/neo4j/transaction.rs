//! Transactions: what runs in one, and how it ends.
//!
//! Called by the client. A transaction that is not ended here in good order is reported as such: the
//! client then closes its connections, which ends it on the server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use neo4rs::{Graph, Query};

use super::error::{Neo4jError, Stage};
use super::statement::{Rows, Statement, record};
use crate::faults;

/// Longest time to take a transaction back or to give up a stream in good order.
pub(super) const TIDY_TIMEOUT: Duration = Duration::from_secs(2);

/// What runs in one transaction. It may run more than once: whatever it changes outside of the
/// transaction must bear that.
pub trait Job: Send + Sync + 'static {
    /// What it answers.
    type Answer: Send + 'static;

    /// Runs the statements.
    fn run<'t>(&'t self, tx: &'t mut Tx) -> Work<'t, Self::Answer>;
}

/// Statements one after another.
pub(super) struct InOrder(pub(super) Vec<Statement>);

impl Job for InOrder {
    type Answer = Vec<Rows>;

    fn run<'t>(&'t self, tx: &'t mut Tx) -> Work<'t, Vec<Rows>> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(self.0.len());
            for statement in &self.0 {
                answers.push(tx.run(statement).await?);
            }
            Ok(Verdict::Commit(answers))
        })
    }
}

/// Opens a transaction, works, and ends it. Sets `tidy` when nothing is left open on the server.
pub(super) async fn transact<J: Job>(
    graph: &Graph,
    job: &J,
    committing: &AtomicBool,
    tidy: &AtomicBool,
) -> Result<J::Answer, Neo4jError> {
    let opened = graph.start_txn().await;
    let txn = opened.map_err(|error| Neo4jError::from_driver(error, Stage::Opening))?;
    let mut tx = Tx(txn);
    let verdict = job.run(&mut tx).await;
    if let Ok(Verdict::Commit(answer)) = verdict {
        committing.store(true, Ordering::Relaxed);
        if faults::passes_with_error_later("neo4j.before_commit").await {
            return Err(interrupted());
        }
        let committed = tx.0.commit().await;
        if faults::passes_with_error_later("neo4j.after_commit").await {
            return Err(interrupted());
        }
        let committed =
            committed.map_err(|error| Neo4jError::from_driver(error, Stage::Committing));
        let ended = committed.as_ref().map_or_else(|error| error.code().is_some(), |_| true);
        tidy.store(ended, Ordering::Relaxed);
        return committed.map(|_| answer);
    }
    let rolled_back = tokio::time::timeout(TIDY_TIMEOUT, tx.0.rollback()).await;
    // A failed statement has ended the transaction: the server then refuses the rollback.
    let failed = verdict.as_ref().is_err_and(|error| error.code().is_some());
    tidy.store(failed || matches!(rolled_back, Ok(Ok(()))), Ordering::Relaxed);
    match verdict? {
        Verdict::Commit(answer) | Verdict::Rollback(answer) => Ok(answer),
    }
}

/// What the work of a transaction is.
pub type Work<'a, T> = BoxFuture<'a, Result<Verdict<T>, Neo4jError>>;

/// How the work of a transaction ends it.
#[derive(Debug)]
pub enum Verdict<T> {
    /// Keep what was done.
    Commit(T),
    /// Take everything back; the answer is still given.
    Rollback(T),
}

/// An open transaction.
pub struct Tx(neo4rs::Txn);

impl Tx {
    /// Runs one statement and fetches its rows.
    ///
    /// # Errors
    /// As [`Neo4jError`]; the transaction can then only end.
    pub async fn run(&mut self, statement: &Statement) -> Result<Rows, Neo4jError> {
        let running = |error| Neo4jError::from_driver(error, Stage::Running);
        let query = Query::new(statement.cypher.clone().into_owned())
            .with_params(statement.params.0.clone());
        let mut stream = self.0.execute(query).await.map_err(running)?;
        let mut rows = Rows::default();
        while let Some(row) = stream.next(self.0.handle()).await.map_err(running)? {
            rows.records.push(record(&row)?);
        }
        let summary = stream.finish(self.0.handle()).await.map_err(running)?;
        rows.count(&summary);
        Ok(rows)
    }
}

/// The connection broke, and nobody knows whether before the commit took effect or after.
fn interrupted() -> Neo4jError {
    Neo4jError::Interrupted { committing: true, detail: "a fault point".to_owned() }
}
