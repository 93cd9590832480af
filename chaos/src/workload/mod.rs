//! Clients that make checked calls: every call has an id of its own and an answer known beforehand, and
//! every answer, error and silence is written down.
//!
//! One loop per kind of call, so that a kind that hangs does not thin out the others.

mod calls;
mod judge;
mod ways;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::record::{Kind, Outcome, Record};
use ways::Ways;

/// Loops of the cheapest kind, so that a few seconds see thousands of calls.
const MANY: usize = 6;
/// Between two calls of one of these.
const MANY_PACE: Duration = Duration::from_millis(4);
/// Between two calls of one kind.
const PACE: Duration = Duration::from_millis(60);
/// Between two attempts of the same keyed call.
const AGAIN: Duration = Duration::from_millis(150);
/// A client that hears nothing for this long gives up.
const PATIENCE: Duration = Duration::from_secs(12);
/// A keyed call is sent this often at most.
const ATTEMPTS_MAX: usize = 60;

/// Who calls.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    /// May do everything.
    pub admin: String,
    /// May run code, may not write to the graph.
    pub developer: String,
    /// May only look.
    pub viewer: String,
    /// Its token says `developer`, the stored role only `viewer`.
    pub lowered: String,
    /// May do everything, and makes most of the calls: no caller may have too many at once.
    pub many: String,
}

/// The clients of one scenario.
pub struct Workload {
    runtime: Handle,
    http: reqwest::Client,
    ways: Ways,
    tokens: RwLock<Arc<Tokens>>,
    /// Begins every id; unique to the scenario.
    prefix: String,
    began: Instant,
    count: AtomicU64,
    ends: AtomicBool,
    records: Mutex<Vec<Record>>,
    nodes: Mutex<Vec<String>>,
    in_hand: Mutex<HashSet<String>>,
}

/// An answer: status and body.
pub(crate) type Answer = Result<(u16, Value), String>;

/// One HTTP request.
pub(crate) struct Request<'a> {
    /// To which node.
    pub node: usize,
    pub method: reqwest::Method,
    pub path: &'a str,
    pub token: Option<&'a str>,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: Option<Value>,
}

impl Workload {
    /// Clients of the nodes at `urls`, running on `runtime`.
    ///
    /// # Errors
    /// When no HTTP client can be built.
    pub fn new(
        runtime: &Handle,
        urls: Vec<String>,
        tokens: Tokens,
        prefix: String,
    ) -> Result<Arc<Self>> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Arc::new(Self {
            runtime: runtime.clone(),
            ways: Ways::new(runtime, &http, urls),
            http,
            tokens: RwLock::new(Arc::new(tokens)),
            prefix,
            began: Instant::now(),
            count: AtomicU64::new(0),
            ends: AtomicBool::new(false),
            records: Mutex::default(),
            nodes: Mutex::default(),
            in_hand: Mutex::default(),
        }))
    }

    /// Time since the scenario began.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Who calls.
    pub fn tokens(&self) -> Arc<Tokens> {
        Arc::clone(&self.tokens.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on calls are made with these.
    pub fn change_tokens(&self, tokens: Tokens) {
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.ways.count()
    }

    /// When the first call of this kind that was sent after `since` succeeded.
    pub fn first_done(&self, kind: Kind, since: Duration) -> Option<Duration> {
        let records = held(&self.records);
        // In the order of their ends: none that was sent after it ended before it.
        let recent = records.iter().rev().take_while(|record| record.ended >= since);
        let done = recent.filter(|r| r.kind == kind && r.began >= since && r.outcome.is_done());
        done.last().map(|record| record.ended)
    }

    /// Begins every id of this scenario.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// All that was done until now.
    pub fn records(&self) -> Vec<Record> {
        held(&self.records).clone()
    }

    /// Starts the loops, one for each kind and more for the cheapest; they end after [`Self::end`].
    pub fn start(self: &Arc<Self>) -> JoinSet<()> {
        let mut loops = self.start_few();
        for _ in 1..MANY {
            self.spawn(&mut loops, Kind::Prompts);
        }
        loops
    }

    /// Starts one loop for each kind.
    pub fn start_few(self: &Arc<Self>) -> JoinSet<()> {
        self.ends.store(false, Ordering::SeqCst);
        let mut loops = JoinSet::new();
        Kind::ALL.into_iter().for_each(|kind| self.spawn(&mut loops, kind));
        loops
    }

    fn spawn(self: &Arc<Self>, loops: &mut JoinSet<()>, kind: Kind) {
        let client = Arc::clone(self);
        let pace = if kind == Kind::Prompts { MANY_PACE } else { PACE };
        let repeat = async move {
            while !client.ends.load(Ordering::SeqCst) {
                let subject = client.id(kind.name());
                held(&client.in_hand).insert(subject.clone());
                client.one(kind, &subject).await;
                held(&client.in_hand).remove(&subject);
                tokio::time::sleep(pace).await;
            }
        };
        loops.spawn_on(repeat, &self.runtime);
    }

    /// Lets the loops end after the call in hand; keyed calls are sent until their outcome is definite.
    pub fn end(&self) {
        self.ends.store(true, Ordering::SeqCst);
    }

    /// Calls that have no definite outcome yet.
    pub fn in_hand(&self) -> Vec<String> {
        held(&self.in_hand).iter().cloned().collect()
    }

    /// A new id.
    pub(crate) fn id(&self, kind: &str) -> String {
        let number = self.count.fetch_add(1, Ordering::SeqCst);
        format!("{}-{kind}-{number}", self.prefix)
    }

    /// Writes a request down whose sender knows its outcome.
    pub fn note(&self, record: Record) {
        held(&self.records).push(record);
    }

    async fn one(&self, kind: Kind, subject: &str) {
        let attempts = if matches!(kind, Kind::Once | Kind::Job) { ATTEMPTS_MAX } else { 1 };
        for _ in 0..attempts {
            let request_id = self.id("rq");
            let began = self.now();
            let mut call =
                calls::Call { kind, node: self.ways.next(), request_id: &request_id, subject };
            let (mut outcome, mut made) = self.patiently(&call).await;
            // Nobody listened there, so nothing was sent: what any client of several nodes does.
            if matches!(&outcome, Outcome::Unknown(why) if why.starts_with(NOT_SENT))
                && let Some(other) = self.ways.instead_of(call.node)
            {
                call.node = other;
                (outcome, made) = self.patiently(&call).await;
            }
            let node = call.node;
            let done = outcome.is_done();
            let again = match &outcome {
                Outcome::Unknown(_) => true,
                // The server says that it does not know, or that another request has the key: definite.
                Outcome::Failed(409, code) => code == "call_in_progress",
                Outcome::Failed(..) => true,
                _ => false,
            };
            let ended = self.now();
            let subject = subject.to_owned();
            if done && kind == Kind::Upsert {
                held(&self.nodes).push(subject.clone());
            }
            self.note(Record { request_id, kind, node, began, ended, outcome, subject, made });
            if !again {
                return;
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Makes the call, and gives it up when its node does not answer anybody any more.
    async fn patiently(&self, call: &calls::Call<'_>) -> (Outcome, String) {
        tokio::select! {
            told = self.call(call) => told,
            () = self.ways.gone(call.node) => {
                (Outcome::Unknown("the node does not answer any more".to_owned()), String::new())
            }
        }
    }

    /// A node that was acknowledged, another one each time.
    pub(crate) fn known_node(&self) -> Option<String> {
        let nodes = held(&self.nodes);
        let number = usize::try_from(self.count.load(Ordering::SeqCst)).unwrap_or(0);
        (!nodes.is_empty()).then(|| nodes[number % nodes.len()].clone())
    }

    /// Sends one request and reads its answer as JSON (a string when it is none).
    pub(crate) async fn send(&self, request: Request<'_>) -> Answer {
        let url = format!("{}{}", self.ways.url(request.node), request.path);
        let mut built = self.http.request(request.method, url);
        if let Some(token) = request.token {
            built = built.bearer_auth(token);
        }
        for (name, value) in request.headers {
            built = built.header(*name, *value);
        }
        if let Some(body) = request.body {
            built = built.header("Content-Type", "application/json").body(body.to_string());
        }
        let answer = built.send().await.map_err(|error| reason(&error))?;
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.map_err(|error| reason(&error))?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok((status, body))
    }

    /// Reads an administrator's page of the first node.
    pub(crate) async fn read(&self, path: &str) -> Answer {
        self.read_at(0, path).await
    }

    /// Reads an administrator's page of a node.
    pub(crate) async fn read_at(&self, node: usize, path: &str) -> Answer {
        self.order(node, reqwest::Method::GET, path, None).await
    }

    /// An administrator's request to a node.
    pub(crate) async fn order(
        &self,
        node: usize,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        let tokens = self.tokens();
        let token = Some(tokens.admin.as_str());
        self.send(Request { node, method, path, token, headers: &[], body }).await
    }

    /// The same to the first node, from a thread that may wait.
    pub(crate) fn order_now(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<Value>,
    ) -> Answer {
        self.runtime.block_on(self.order(0, method, path, body))
    }

    /// Any request, from a thread that may wait.
    pub(crate) fn send_now(&self, request: Request<'_>) -> Answer {
        self.runtime.block_on(self.send(request))
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins the reason of a request that no server got.
const NOT_SENT: &str = "not sent: ";

/// The innermost cause: "connection refused" rather than "error sending request".
fn reason(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("{}{innermost}", if error.is_connect() { NOT_SENT } else { "" })
}
