//! What shipping promises, against a real server.

mod contract;
mod failures;
mod plans;

use std::collections::BTreeMap;
use std::time::Duration;

use tempfile::TempDir;
use ultimate_mcp_testkit::Neo4j;

use super::*;
use crate::audit::{AuditKey, AuditOptions, EventType, Lines, NewEvent, Phase};
use crate::authorization::{AuthorizationOptions, DEFAULT_POLICY, Policy};
use crate::ids::CallId;
use crate::neo4j::{Limits, Neo4jOptions, Params, Record, Statement};
use crate::node::NodeId;
use crate::testing::{caller, root, soon};

/// One node with its trail and its roles.
struct Node {
    dir: TempDir,
    root: Supervisor,
    audit: AuditHandle,
    authorization: AuthorizationHandle,
}

fn key() -> AuditKey {
    AuditKey::from_bytes(&[42; 32])
}

fn quick() -> ShippingOptions {
    ShippingOptions { poll_ms: 10, backoff_max_ms: 200, ..ShippingOptions::default() }
}

fn options(server: &Neo4j) -> Neo4jOptions {
    Neo4jOptions {
        uri: server.uri.clone(),
        password: server.password.clone(),
        reconnect_max_ms: 300,
        ..Neo4jOptions::default()
    }
}

fn client(options: Neo4jOptions) -> Neo4jClient {
    Neo4jClient::new(options, Arc::new(|_, _| {})).unwrap()
}

impl Node {
    async fn start() -> Self {
        Self::start_in(TempDir::new().unwrap()).await
    }

    async fn start_in(dir: TempDir) -> Self {
        let root = root();
        let options =
            AuditOptions { stdout: Lines::Off, copied_elsewhere: true, ..AuditOptions::default() };
        let path = dir.path().join("audit.db");
        let audit = AuditHandle::start(&root, &path, key(), options).await.unwrap();
        let policy = Policy::from_toml(DEFAULT_POLICY).unwrap();
        let path = dir.path().join("state.db");
        let (options, node) = (AuthorizationOptions::default(), NodeId::parse("n1").unwrap());
        let authorization = AuthorizationHandle::start(&root, &path, policy, options, node, None);
        let authorization = authorization.await.unwrap();
        Self { dir, root, audit, authorization }
    }

    async fn ship(&self, client: Neo4jClient, options: ShippingOptions) -> ShippingHandle {
        let (audit, authorization) = (self.audit.clone(), self.authorization.clone());
        ShippingHandle::start(&self.root, audit, authorization, client, options, 90, "n1".into())
            .await
            .unwrap()
    }

    fn trail(&self) -> std::path::PathBuf {
        self.dir.path().join("audit.db")
    }

    /// A call of `user`, with what its outcome says.
    async fn call(&self, user: &str, details: serde_json::Value) -> CallId {
        let call_id = CallId::new();
        let mut event = NewEvent::new(EventType::GraphUpsert, Phase::Intent, "tools/call");
        event.call_id = Some(call_id);
        event.user_id = Some(caller(user));
        event.tool = Some("graph_upsert".into());
        event.ip_address = Some([192, 0, 2, 1].into());
        event.session_id = crate::ids::SessionId::parse(&format!("session-of-{user}")).ok();
        event.trace_id = Some("4bf92f3577b34da6a3ce929d0e0e4736".into());
        self.audit.append(event.clone(), soon()).await.unwrap();
        event.phase = Phase::Outcome;
        event.success = Some(true);
        event.duration_ms = Some(1.5);
        event.details = details.as_object().unwrap().clone();
        self.audit.append(event, soon()).await.unwrap();
        call_id
    }

    /// What is in the file: seq → event id and hash.
    fn stored(&self) -> BTreeMap<i64, (String, String)> {
        let spool = self.audit.spool().open().unwrap();
        let events = spool.after(0, 1_000_000).unwrap().into_iter();
        events.map(|e| (e.event.seq, (e.event.event_id, e.event.hash))).collect()
    }
}

/// Waits until everything recorded is shipped.
async fn shipped(shipping: &ShippingHandle) {
    eventually("everything is shipped", || {
        let status = shipping.status();
        status.shipped_seq.is_some() && status.lag_events == 0
    })
    .await;
}

async fn eventually(what: &str, test: impl Fn() -> bool) {
    let deadline = crate::deadline::Deadline::after(Duration::from_secs(120));
    while !test() {
        assert!(!deadline.is_past(), "never happened: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ask(client: &Neo4jClient, cypher: &str, params: Params) -> Vec<Record> {
    client.read(cypher, params, Limits::default(), soon()).await.unwrap().records
}

async fn count(client: &Neo4jClient, pattern: &str) -> i64 {
    let rows = ask(client, &format!("MATCH {pattern} RETURN count(*) AS n"), Params::new()).await;
    rows[0].int("n").unwrap()
}

/// What is in Neo4j of the node: seq → event id and hash; fails when a seq is there twice.
async fn copied(client: &Neo4jClient) -> BTreeMap<i64, (String, String)> {
    let cypher = "MATCH (e:AuditEvent {node_id: 'n1'}) \
                  RETURN e.seq AS seq, e.event_id AS id, e.hash AS hash ORDER BY seq";
    let mut events = BTreeMap::new();
    for row in ask(client, cypher, Params::new()).await {
        let text = |name: &str| row.text(name).unwrap().to_owned();
        let twice = events.insert(row.int("seq").unwrap(), (text("id"), text("hash")));
        assert_eq!(twice, None, "an event is there twice");
    }
    events
}
