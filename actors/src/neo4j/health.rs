//! Whether Neo4j serves: asked in the background, on a connection of its own, told in one log line per
//! change.
//!
//! Called by the client, which starts it and trusts its word: while it says "away", calls are refused
//! without a connection being tried.

use std::sync::{Arc, Weak};
use std::time::Duration;

use neo4rs::{Graph, Query};
use serde::Serialize;

use super::client::Inner;
use super::error::{Neo4jError, Stage};
use crate::resilience::schedule::{Schedule, ScheduleOptions};

/// First pause between two attempts.
const RECONNECT_FIRST: Duration = Duration::from_millis(200);

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
pub(super) async fn watch(inner: Weak<Inner>) {
    let Some(first) = inner.upgrade() else { return };
    let mut pauses = Schedule::new(ScheduleOptions {
        initial: RECONNECT_FIRST,
        max: Duration::from_millis(first.options.reconnect_max_ms).max(RECONNECT_FIRST),
        multiplier: 2.0,
        jitter: 0.2,
    });
    drop(first);
    let mut own: Option<Graph> = None;
    loop {
        let Some(client) = inner.upgrade() else { return };
        let limit = client.options.connect_timeout();
        let outcome = match tokio::time::timeout(limit, probe(&client, &mut own)).await {
            Ok(outcome) => outcome,
            Err(_) => {
                Err(Neo4jError::Away { reason: format!("it does not answer within {limit:?}") })
            }
        };
        let pause = match outcome {
            Ok(server) => {
                client.heard();
                pauses.reset();
                tell(&client, State::Serving { server });
                Duration::from_millis(client.options.health_interval_ms)
            }
            Err(error) => {
                own = None;
                client.discard_all();
                let reason = match error {
                    Neo4jError::Away { reason } => reason,
                    other => other.to_string(),
                };
                tell(&client, State::Away { reason });
                pauses.next_delay()
            }
        };
        let away = matches!(*client.state.borrow(), State::Away { .. });
        if away {
            drop(client);
            tokio::time::sleep(pause).await;
        } else {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = client.doubt.notified() => {}
            }
        }
    }
}

async fn probe(client: &Arc<Inner>, own: &mut Option<Graph>) -> Result<String, Neo4jError> {
    let opening = |error| Neo4jError::from_driver(error, Stage::Opening);
    let graph = match own.take() {
        Some(graph) => graph,
        None => client.connect(1, client.options.connect_timeout())?,
    };
    let text = "CALL dbms.components() YIELD versions, edition \
                RETURN versions[0] + ' ' + edition AS server LIMIT 1";
    let mut stream = graph.execute_read(Query::new(text.to_owned())).await.map_err(opening)?;
    let row = stream.next().await.map_err(opening)?;
    let server = row.and_then(|row| row.get::<String>("server").ok());
    let _ = stream.finish().await;
    *own = Some(graph);
    Ok(server.unwrap_or_else(|| "unknown".to_owned()))
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
