//! Whether Neo4j serves: asked in the background, on a connection of its own, told in one log line per
//! change.
//!
//! Called by the client, which starts it and trusts its word: while it says "away", calls are refused
//! without a connection being tried.

use std::pin::pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use neo4rs::{Graph, Query};
use serde::Serialize;

use super::client::Inner;
use super::error::{Neo4jError, Stage};
use crate::deadline::Deadline;
use crate::resilience::Dependency;
use crate::resilience::schedule::{Schedule, ScheduleOptions};

/// First pause between two attempts.
const RECONNECT_FIRST: Duration = Duration::from_millis(200);
/// Attempts under way at once while it is away.
const ATTEMPTS_MAX: u32 = 8;

/// What the watcher knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing yet.
    Connecting,
    /// It answers.
    Serving {
        /// Version and edition, for example `5.26.30 community`.
        server: String,
    },
    /// It does not.
    Away {
        /// Why, in words an operator can act on.
        reason: String,
    },
}

impl State {
    /// What is wrong, when something is.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Connecting => Some("not connected yet".to_owned()),
            Self::Serving { .. } => None,
            Self::Away { reason } => Some(reason.clone()),
        }
    }

    /// Which server answers, when one does.
    pub fn server(&self) -> Option<String> {
        match self {
            Self::Serving { server } => Some(server.clone()),
            _ => None,
        }
    }
}

/// Whether Neo4j serves, and how busy it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Neo4jHealth {
    /// Whether it answered when last asked.
    pub serving: bool,
    /// What is wrong, when something is.
    pub problem: Option<String>,
    /// Version and edition.
    pub server: Option<String>,
    /// Host and port.
    pub address: String,
    /// Calls in hand.
    pub running: usize,
    /// Most connections.
    pub pool_max: usize,
}

/// Asks for ever: at its interval while it serves, with growing pauses while it is away, at once when
/// a call met something odd.
pub(super) async fn watch(inner: Weak<Inner>, dependency: Dependency) {
    let mut own: Option<Graph> = None;
    loop {
        let Some(client) = inner.upgrade() else { return };
        let limit = client.options.connect_timeout();
        match attempt(client.clone(), own.take(), limit).await {
            Ok((server, graph)) => {
                own = Some(graph);
                serves(&client, server);
                let pause = Duration::from_millis(client.options.health_interval_ms);
                tokio::select! {
                    () = tokio::time::sleep(pause) => {}
                    () = client.doubt.notified() => {}
                }
            }
            Err(error) => {
                client.discard_all();
                tell(&client, State::Away { reason: reason(error) });
                drop(client);
                let Some(graph) = regain(&inner, &dependency).await else { return };
                own = Some(graph);
            }
        }
    }
}

/// Asks until it answers. An attempt that hangs is not waited for: the next begins beside it, so that the
/// end of an outage is seen within one pause, whatever the attempts before it met.
async fn regain(inner: &Weak<Inner>, dependency: &Dependency) -> Option<Graph> {
    let mut attempts = FuturesUnordered::new();
    let options = inner.upgrade()?.options.clone();
    let longest = Duration::from_millis(options.reconnect_max_ms);
    // A server that has just started takes seconds for its first answer, and an attempt that is cut off before
    // makes it begin again. No longer than so that after each pause one can begin.
    let patience = (longest * (ATTEMPTS_MAX - 1)).max(options.connect_timeout());
    let mut pauses = Schedule::new(ScheduleOptions {
        initial: RECONNECT_FIRST,
        max: longest.max(RECONNECT_FIRST),
        multiplier: 2.0,
        jitter: 0.2,
    });
    loop {
        let mut pause = pin!(tokio::time::sleep(pauses.next_delay()));
        loop {
            let answered = tokio::select! {
                () = &mut pause => break,
                Some(answered) = attempts.next() => answered,
            };
            let client = inner.upgrade()?;
            match answered {
                Ok((server, graph)) => {
                    client.discard_all();
                    serves(&client, server);
                    return Some(close_breaker(client, dependency, graph).await);
                }
                Err(error) => tell(&client, State::Away { reason: reason(error) }),
            }
        }
        if attempts.len() < ATTEMPTS_MAX as usize {
            attempts.push(attempt(inner.upgrade()?, None, patience));
        }
    }
}

async fn close_breaker(client: Arc<Inner>, dependency: &Dependency, graph: Graph) -> Graph {
    let deadline = Deadline::after(client.options.connect_timeout());
    let limit = client.options.connect_timeout();
    let probe = || attempt(client.clone(), Some(graph.clone()), limit);
    dependency.close_by(deadline, probe).await;
    graph
}

/// One bounded attempt, on this connection or a new one.
async fn attempt(
    client: Arc<Inner>,
    graph: Option<Graph>,
    limit: Duration,
) -> Result<(String, Graph), Neo4jError> {
    let asked = tokio::time::timeout(limit, probe(&client, graph, limit)).await;
    let late = || Neo4jError::Away { reason: format!("it does not answer within {limit:?}") };
    asked.unwrap_or_else(|_| Err(late()))
}

async fn probe(
    client: &Arc<Inner>,
    graph: Option<Graph>,
    limit: Duration,
) -> Result<(String, Graph), Neo4jError> {
    let opening = |error| Neo4jError::from_driver(error, Stage::Opening);
    let graph = match graph {
        Some(graph) => graph,
        None => client.connect(limit)?,
    };
    let text = "CALL dbms.components() YIELD versions, edition \
                RETURN versions[0] + ' ' + edition AS server LIMIT 1";
    let mut stream = graph.execute_read(Query::new(text.to_owned())).await.map_err(opening)?;
    let row = stream.next().await.map_err(opening)?;
    let server = row.and_then(|row| row.get::<String>("server").ok());
    let _ = stream.finish().await;
    Ok((server.unwrap_or_else(|| "unknown".to_owned()), graph))
}

fn reason(error: Neo4jError) -> String {
    match error {
        Neo4jError::Away { reason } => reason,
        other => other.to_string(),
    }
}

fn serves(client: &Inner, server: String) {
    client.heard();
    tell(client, State::Serving { server });
}

/// Sets the state; one log line when it changed.
fn tell(client: &Inner, next: State) {
    let changed = client.state.send_if_modified(|state| {
        let changed = *state != next;
        *state = next.clone();
        changed
    });
    if !changed {
        return;
    }
    let address = client.options.address();
    match &next {
        State::Away { reason } => tracing::error!(
            neo4j.address = %address,
            "Neo4j at {address} is away: {reason}; trying again in the background"
        ),
        State::Serving { server } => {
            tracing::info!(neo4j.address = %address, "Neo4j {server} at {address} serves");
        }
        State::Connecting => {}
    }
}
