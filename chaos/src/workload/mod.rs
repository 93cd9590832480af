//! Clients that make checked calls: every call has an id of its own and an answer known beforehand, and
//! every answer, error and silence is written down.
//!
//! One loop per kind of call, so that a kind that hangs does not thin out the others.

mod calls;
mod judge;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::record::{Kind, Outcome, Record};

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
}

/// The clients of one scenario.
pub struct Workload {
    http: reqwest::Client,
    url: String,
    tokens: Tokens,
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
    pub method: reqwest::Method,
    pub path: &'a str,
    pub token: Option<&'a str>,
    pub headers: &'a [(&'a str, &'a str)],
    pub body: Option<Value>,
}

impl Workload {
    /// Clients of the server at `url`.
    ///
    /// # Errors
    /// When no HTTP client can be built.
    pub fn new(url: String, tokens: Tokens, prefix: String) -> Result<Arc<Self>> {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build()?;
        Ok(Arc::new(Self {
            http,
            url,
            tokens,
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
    pub fn tokens(&self) -> &Tokens {
        &self.tokens
    }

    /// Begins every id of this scenario.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// All that was done until now.
    pub fn records(&self) -> Vec<Record> {
        held(&self.records).clone()
    }

    /// Starts the loops; they end after [`Self::end`].
    pub fn start(self: &Arc<Self>) -> JoinSet<()> {
        self.ends.store(false, Ordering::SeqCst);
        let mut loops = JoinSet::new();
        for kind in Kind::ALL {
            let client = Arc::clone(self);
            loops.spawn(async move {
                while !client.ends.load(Ordering::SeqCst) {
                    let subject = client.id(kind.name());
                    held(&client.in_hand).insert(subject.clone());
                    client.one(kind, &subject).await;
                    held(&client.in_hand).remove(&subject);
                    tokio::time::sleep(PACE).await;
                }
            });
        }
        loops
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
            let call = calls::Call { kind, request_id: &request_id, subject };
            let (outcome, made) = self.call(&call).await;
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
            self.note(Record { request_id, kind, began, ended, outcome, subject, made });
            if !again {
                return;
            }
            tokio::time::sleep(AGAIN).await;
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
        let url = format!("{}{}", self.url, request.path);
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

    /// Reads an administrator's page.
    pub(crate) async fn read(&self, path: &str) -> Answer {
        let token = Some(self.tokens.admin.as_str());
        self.send(Request { method: reqwest::Method::GET, path, token, headers: &[], body: None })
            .await
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The innermost cause: "connection refused" rather than "error sending request".
fn reason(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
