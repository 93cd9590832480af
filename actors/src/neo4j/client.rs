//! One way to a Neo4j server for everybody: lazy, pooled, bounded in time, back by itself.
//!
//! Called by the graph's store, the shipping of the audit, the roles. Refuses nothing but wrong
//! options; while the server is away every call says so within microseconds.
//!
//! Around the driver, because of what it does not do: its time limit for replies is also that for
//! connecting, its TLS and Bolt handshakes have none, it can neither open an explicit transaction in
//! read mode nor give one a time limit, and it leaves an abandoned transaction open on an idle pooled
//! connection. So: every call has a limit of ours, reads are auto-commit statements in read mode with a
//! limit on the server, and what is abandoned costs its connection, which ends it on the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use neo4rs::{ConfigBuilder, Graph, Query};
use tokio::sync::{Notify, watch};

use super::error::{Neo4jError, Stage};
use super::health::{self, Neo4jHealth, State};
use super::options::Neo4jOptions;
use super::pool::{Lease, Pool};
use super::runtime::Tied;
use super::statement::{Limits, Params, Rows, Statement, record, weight};
use super::transaction::{InOrder, Job, TIDY_TIMEOUT, transact};
use crate::deadline::Deadline;
use crate::resilience::schedule::{Schedule, ScheduleOptions};
use crate::resilience::{BreakerObserver, CallError, Dependency, Repeat};

/// Between the attempts of a transaction that others got in the way of.
const CONFLICT_PAUSES: ScheduleOptions = ScheduleOptions {
    initial: Duration::from_millis(10),
    max: Duration::from_millis(500),
    multiplier: 2.0,
    jitter: 0.8,
};
/// Attempts of a transaction that others got in the way of.
const CONFLICT_ATTEMPTS: u32 = 12;
/// Rows fetched at once: what a stream holds in memory.
const FETCH_ROWS: usize = 200;
/// The server ends a statement this much before we stop waiting, so that it says why.
const SERVER_MARGIN: Duration = Duration::from_millis(20);

/// The way to Neo4j. Cheap to clone; the last clone takes the background task with it.
#[derive(Clone)]
pub struct Neo4jClient {
    inner: Arc<Inner>,
    dependency: Dependency,
    _watcher: Arc<Tied<()>>,
}

pub(super) struct Inner {
    pub(super) options: Neo4jOptions,
    pool: Pool,
    pub(super) state: watch::Sender<State>,
    /// Asks the watcher to look now.
    pub(super) doubt: Notify,
    /// The last time anything came back from the server.
    pub(super) answered: std::sync::Mutex<Option<Instant>>,
    running: AtomicUsize,
}

impl Neo4jClient {
    /// Starts connecting in the background; needs no server.
    ///
    /// # Errors
    /// [`Neo4jError::Config`] for options that can never work.
    pub fn new(options: Neo4jOptions, observer: BreakerObserver) -> Result<Self, Neo4jError> {
        if let Some(mistake) = options.mistakes().into_iter().next() {
            return Err(Neo4jError::Config(format!("{}: {}", mistake.key, mistake.message)));
        }
        if !options.is_set() {
            return Err(Neo4jError::Config("uri: names no server".to_owned()));
        }
        if let Some(file) = &options.ca_file {
            let text = std::fs::read_to_string(file);
            if !text.is_ok_and(|text| text.contains("BEGIN CERTIFICATE")) {
                let problem = format!("ca_file: {} holds no PEM certificate", file.display());
                return Err(Neo4jError::Config(problem));
            }
        }
        password(&options)?;
        // The driver takes the process's provider of cryptography; a second call changes nothing.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dependency = Dependency::new("neo4j", options.guard(), observer);
        let inner = Arc::new(Inner {
            pool: Pool::new(options.pool_max),
            options,
            state: watch::Sender::new(State::Connecting),
            doubt: Notify::new(),
            answered: std::sync::Mutex::new(None),
            running: AtomicUsize::new(0),
        });
        let watcher = Tied::spawn(health::watch(Arc::downgrade(&inner), dependency.clone()))?;
        Ok(Self { inner, dependency, _watcher: Arc::new(watcher) })
    }

    /// The options it was made with.
    pub fn options(&self) -> &Neo4jOptions {
        &self.inner.options
    }

    /// Runs one reading statement in read mode.
    ///
    /// # Errors
    /// As [`Neo4jError`]; nothing has effects, so every failure may be repeated.
    pub async fn read(
        &self,
        cypher: &str,
        params: Params,
        limits: Limits,
        deadline: Deadline,
    ) -> Result<Rows, Neo4jError> {
        let deadline = deadline.at_most(self.inner.options.query_timeout());
        let statement = Arc::new(Statement::new(cypher.to_owned()).with(params));
        self.guarded(deadline, Repeat::Reads, || {
            let (inner, statement) = (Arc::clone(&self.inner), Arc::clone(&statement));
            async move { inner.read(&statement, limits, deadline).await }
        })
        .await
    }

    /// Runs statements in one transaction, all or nothing. `repeatable`: may all of it be sent again
    /// when it is unknown whether it was committed?
    ///
    /// # Errors
    /// As [`Neo4jError`]; [`Neo4jError::is_without_effect`] says whether it may have been committed.
    pub async fn write(
        &self,
        statements: Vec<Statement>,
        deadline: Deadline,
        repeatable: bool,
    ) -> Result<Vec<Rows>, Neo4jError> {
        self.transaction(deadline, repeatable, InOrder(statements)).await
    }

    /// Runs a job in one transaction, which its verdict ends. It may be run again from the start, in a
    /// new transaction, when others got in its way.
    ///
    /// # Errors
    /// As [`Neo4jClient::write`].
    pub async fn transaction<J: Job>(
        &self,
        deadline: Deadline,
        repeatable: bool,
        job: J,
    ) -> Result<J::Answer, Neo4jError> {
        let deadline = deadline.at_most(self.inner.options.query_timeout());
        let job = Arc::new(job);
        self.guarded(deadline, repeatable.into(), || {
            let (inner, job) = (Arc::clone(&self.inner), Arc::clone(&job));
            async move { inner.transaction(&*job, deadline).await }
        })
        .await
    }

    /// Runs `operation` on the client's own threads, behind breaker and bulkhead. A conflict with
    /// other transactions is tried again here: it says nothing about the server.
    async fn guarded<T, F>(
        &self,
        deadline: Deadline,
        repeat: Repeat,
        operation: impl Fn() -> F,
    ) -> Result<T, Neo4jError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Neo4jError>> + Send + 'static,
    {
        // The operation ends itself at the deadline and knows more about why.
        let outer = Deadline::after(deadline.remaining() + TIDY_TIMEOUT);
        let mut pauses = Schedule::new(CONFLICT_PAUSES);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let attempt = || async {
                match Tied::spawn(operation())?.join().await? {
                    Err(conflict) if conflict.is_conflict() => Ok(Err(conflict)),
                    outcome => outcome.map(Ok),
                }
            };
            let conflict = match self.dependency.call_as(outer, repeat, attempt).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(conflict)) => conflict,
                Err(failed) => return Err(refused(failed, deadline)),
            };
            let pause = pauses.next_delay();
            if attempts == CONFLICT_ATTEMPTS || pause >= deadline.remaining() {
                return Err(conflict);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Other limits of attempts, retries and breaker while it runs; see [`Dependency::reconfigure`].
    pub fn reconfigure(&self, options: &Neo4jOptions) {
        self.dependency.reconfigure(options.guard());
    }

    /// The guard in front of it, for operators.
    pub fn dependency(&self) -> &Dependency {
        &self.dependency
    }

    /// How it is, without asking the server again.
    pub fn state(&self) -> State {
        self.inner.state.borrow().clone()
    }

    /// How it is; waits for the first attempt to connect, no longer than `connect_timeout_ms`.
    pub async fn health(&self) -> Neo4jHealth {
        let mut state = self.inner.state.subscribe();
        let limit = self.inner.options.connect_timeout();
        let known = state.wait_for(|state| !matches!(state, State::Connecting));
        let _ = tokio::time::timeout(limit, known).await;
        let state = self.state();
        Neo4jHealth {
            serving: matches!(state, State::Serving { .. }),
            problem: state.problem(),
            server: state.server(),
            address: self.inner.options.address(),
            running: self.inner.running.load(Ordering::Relaxed),
            pool_max: self.inner.options.pool_max,
        }
    }
}

fn refused(failed: CallError<Neo4jError>, deadline: Deadline) -> Neo4jError {
    match failed {
        CallError::Failed(error) => error,
        CallError::Open { retry_after, .. } => Neo4jError::Open { retry_after },
        CallError::Full { .. } => Neo4jError::Busy,
        CallError::Deadline { attempts: 0, .. } => Neo4jError::Busy,
        CallError::Deadline { .. } => {
            let limit_ms = u64::try_from(deadline.remaining().as_millis()).unwrap_or(u64::MAX);
            Neo4jError::TimedOut { limit_ms, committing: true, alive: false }
        }
    }
}

/// Counts a call while it lives.
struct Running<'a>(&'a AtomicUsize);

impl<'a> Running<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    /// Closes every connection there is.
    pub(super) fn discard_all(&self) {
        self.pool.discard_all();
    }

    /// A connection of its own, once it is this call's turn.
    async fn lend(&self) -> Result<Lease<'_>, Neo4jError> {
        self.pool.lend(|| self.connect(self.reply_limit())).await
    }

    fn reply_limit(&self) -> Duration {
        self.options.query_timeout() + Duration::from_secs(5)
    }

    /// A connection; opened when it is first used.
    pub(super) fn connect(&self, reply: Duration) -> Result<Graph, Neo4jError> {
        let options = &self.options;
        let mut config = ConfigBuilder::default()
            .uri(options.uri.as_str())
            .user(options.user.as_str())
            .password(password(options)?)
            .max_connections(1)
            .fetch_size(FETCH_ROWS)
            .connection_timeout(reply)
            // Misnamed in the driver: the limit of the check before a connection is used again.
            .idle_timeout(options.connect_timeout());
        if !options.database.is_empty() {
            config = config.db(options.database.as_str());
        }
        if let Some(file) = &options.ca_file {
            config = config.with_client_certificate(file);
        }
        let graph = config.build().and_then(Graph::connect);
        graph.map_err(|error| Neo4jError::from_driver(error, Stage::Opening))
    }

    /// Waits until the first attempt to connect is over; then says at once when it is away.
    async fn present(&self, deadline: Deadline) -> Result<(), Neo4jError> {
        let mut state = self.state.subscribe();
        let known = state.wait_for(|state| !matches!(state, State::Connecting));
        match tokio::time::timeout_at(deadline.instant(), known).await {
            Ok(Ok(state)) => match &*state {
                State::Away { reason } => Err(Neo4jError::Away { reason: reason.clone() }),
                _ => Ok(()),
            },
            _ => Err(Neo4jError::Away { reason: "not connected yet".to_owned() }),
        }
    }

    /// The server answered something just now.
    pub(super) fn heard(&self) {
        let mut answered = self.answered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *answered = Some(Instant::now());
    }

    fn is_alive(&self, span: Duration) -> bool {
        let answered = *self.answered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let span = span.min(Duration::from_millis(self.options.health_interval_ms) * 2);
        answered.is_some_and(|answered| answered.elapsed() < span)
    }

    /// Looks at an outcome: an answer proves life, a broken connection raises doubt.
    fn learn<T>(&self, outcome: Result<T, Neo4jError>) -> Result<T, Neo4jError> {
        match &outcome {
            Err(
                Neo4jError::Away { .. }
                | Neo4jError::Interrupted { .. }
                | Neo4jError::TimedOut { .. },
            ) => self.doubt.notify_one(),
            _ => self.heard(),
        }
        outcome
    }

    async fn read(
        &self,
        statement: &Statement,
        limits: Limits,
        deadline: Deadline,
    ) -> Result<Rows, Neo4jError> {
        self.present(deadline).await?;
        let _running = Running::begin(&self.running);
        let began = Instant::now();
        let limit = deadline.remaining();
        let work = async {
            let mut lease = self.lend().await?;
            let server_ms = limit.saturating_sub(SERVER_MARGIN).as_millis().max(1);
            let query = Query::new(statement.cypher.clone().into_owned())
                .with_params(statement.params.0.clone())
                .extra("tx_timeout", i64::try_from(server_ms).unwrap_or(i64::MAX));
            let outcome = fetch(lease.graph()?, query, limits).await;
            // Nothing is left open by an answer, also one that refuses.
            lease.set_tidy(match &outcome {
                Ok((_, finished)) => *finished,
                Err(error) => error.code().is_some(),
            });
            outcome.map(|(rows, _)| rows)
        };
        let outcome = match tokio::time::timeout_at(deadline.instant(), work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.late(limit, began, false)),
        };
        self.learn(outcome)
    }

    fn late(&self, limit: Duration, began: Instant, committing: bool) -> Neo4jError {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let alive = self.is_alive(began.elapsed().max(Duration::from_secs(1)));
        Neo4jError::TimedOut { limit_ms, committing, alive }
    }

    async fn transaction<J: Job>(
        &self,
        job: &J,
        deadline: Deadline,
    ) -> Result<J::Answer, Neo4jError> {
        self.present(deadline).await?;
        let _running = Running::begin(&self.running);
        let began = Instant::now();
        let limit = deadline.remaining();
        let committing = AtomicBool::new(false);
        let whole = async {
            let mut lease = self.lend().await?;
            let tidy = AtomicBool::new(false);
            let outcome = transact(lease.graph()?, job, &committing, &tidy).await;
            lease.set_tidy(tidy.into_inner());
            outcome
        };
        let outcome = match tokio::time::timeout_at(deadline.instant(), whole).await {
            Ok(outcome) => outcome,
            Err(_) => Err(self.late(limit, began, committing.load(Ordering::Relaxed))),
        };
        self.learn(outcome)
    }
}

/// Runs a reading statement and fetches what the limits allow; also says whether its stream ended in good
/// order.
async fn fetch(graph: &Graph, query: Query, limits: Limits) -> Result<(Rows, bool), Neo4jError> {
    let opened = graph.execute_read(query).await;
    let mut stream = opened.map_err(|error| Neo4jError::from_driver(error, Stage::Opening))?;
    let running = |error| Neo4jError::from_driver(error, Stage::Running);
    let (mut rows, mut bytes) = (Rows::default(), 0);
    while let Some(row) = stream.next().await.map_err(running)? {
        if rows.records.len() == limits.rows_max || bytes > limits.bytes_max {
            rows.truncated = true;
            break;
        }
        let record = record(&row)?;
        bytes += record.0.values().map(weight).sum::<usize>();
        rows.records.push(record);
    }
    // What is not fetched is given up in good order; the server need not wait for its limit.
    let finished = tokio::time::timeout(TIDY_TIMEOUT, stream.finish()).await;
    let Ok(Ok(summary)) = finished else { return Ok((rows, false)) };
    rows.count(&summary);
    Ok((rows, true))
}

/// The password as it stands now.
fn password(options: &Neo4jOptions) -> Result<String, Neo4jError> {
    let Some(file) = &options.password_file else { return Ok(options.password.clone()) };
    let read = std::fs::read_to_string(file);
    read.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()).map_err(|error| {
        let file = file.display();
        Neo4jError::Config(format!("password_file: {file} cannot be read: {}", error.kind()))
    })
}
