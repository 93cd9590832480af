//! From events to nodes and relationships: what a batch says to Neo4j.
//!
//! Pure. Every event becomes an `AuditEvent`; the outcome of a tool call becomes an `Execution` with its
//! person, session, trace, artifacts and data. Values Neo4j has no type for go as JSON text.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use super::statements as cypher;
use crate::audit::{Phase, Spooled};
use crate::neo4j::{BoltList, BoltMap, BoltType, Params, Statement};

/// Names of artifacts and data that one call may link to; its tool bounded them already.
const LINKS_MAX: usize = 256;

/// Whether what is sent may be there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It cannot: half the work for the server.
    New,
    /// It may: everything is looked for first.
    Perhaps,
}

/// The statements of a batch; run in one transaction, in this order.
pub(super) fn statements(events: &[Spooled], node_id: &str, known: Known) -> Vec<Statement> {
    let text = match known {
        Known::New => cypher::NEW_EVENTS,
        Known::Perhaps => cypher::EVENTS,
    };
    let mut batch = vec![unwind(text, events.iter().map(|e| event(e, node_id)))];
    batch.extend(links(events, node_id, known));
    batch
}

/// The executions of a batch and everything they are linked to.
pub(super) fn links(events: &[Spooled], node_id: &str, known: Known) -> Vec<Statement> {
    let calls: Vec<Call<'_>> = events.iter().filter_map(Call::of).collect();
    let mut batch = Vec::new();
    let mut add = |text: &'static str, rows: Vec<BoltType>| {
        if !rows.is_empty() {
            batch.push(unwind(text, rows.into_iter()));
        }
    };
    let (users, sessions, traces) = (
        links_by(&calls, Call::user),
        links_by(&calls, Call::session),
        links_by(&calls, Call::trace),
    );
    let artifacts: Vec<_> = calls.iter().flat_map(Call::artifacts).collect();
    let touched: BTreeSet<_> = calls.iter().flat_map(Call::touched).collect();
    add(cypher::USERS, names(&users));
    add(cypher::SESSIONS, names(&sessions));
    add(cypher::TRACES, names(&traces));
    add(cypher::ARTIFACTS, artifacts.iter().map(|(_, artifact)| artifact.node()).collect());
    add(cypher::DATA, names(&touched));
    match known {
        Known::New => {
            add(cypher::NEW_EXECUTIONS, calls.iter().map(|call| call.linked(node_id)).collect());
        }
        Known::Perhaps => {
            let produced = artifacts.iter().map(|(call, artifact)| (*call, artifact.id)).collect();
            let executions = calls.iter().map(|call| execution(call.of, call.id, node_id));
            add(cypher::EXECUTIONS, executions.collect());
            add(cypher::RAN, pairs(&users));
            add(cypher::IN_SESSION, pairs(&sessions));
            add(cypher::IN_TRACE, pairs(&traces));
            add(cypher::PRODUCED, pairs(&produced));
            add(cypher::TOUCHED, pairs(&touched));
        }
    }
    batch
}

/// Calls and what each is linked to.
type Links<'a> = BTreeSet<(&'a str, &'a str)>;

fn links_by<'a>(calls: &[Call<'a>], to: fn(&Call<'a>) -> Option<&'a str>) -> Links<'a> {
    calls.iter().filter_map(|call| Some((call.id, to(call)?))).collect()
}

/// What is linked to, each once, in an order that is the same for everybody: locks are taken in it.
fn names(links: &Links<'_>) -> Vec<BoltType> {
    let names: BTreeSet<&str> = links.iter().map(|(_, name)| *name).collect();
    names.into_iter().map(BoltType::from).collect()
}

fn pairs(links: &Links<'_>) -> Vec<BoltType> {
    links.iter().map(|(call, to)| link(call, to)).collect()
}

/// An event's properties as a row, for replacing the one that is there.
pub(super) fn replacement(events: &[Spooled], node_id: &str) -> Vec<Statement> {
    let calls = events.iter().filter_map(Call::of).map(|call| BoltType::from(call.id));
    let calls: Vec<_> = calls.collect();
    let mut batch = vec![unwind(cypher::REPLACE_EVENTS, events.iter().map(|e| event(e, node_id)))];
    if !calls.is_empty() {
        batch.push(unwind(cypher::UNLINK_DATA, calls.into_iter()));
    }
    batch.extend(links(events, node_id, Known::Perhaps));
    batch
}

/// A statement over rows.
pub(super) fn unwind(
    text: impl Into<Cow<'static, str>>,
    rows: impl Iterator<Item = BoltType>,
) -> Statement {
    let rows = BoltList { value: rows.collect() };
    Statement::new(text).with(Params::new().set("rows", BoltType::List(rows)))
}

/// The outcome of a tool call.
struct Call<'a> {
    of: &'a Spooled,
    id: &'a str,
}

/// A file that a call left.
struct Artifact<'a> {
    id: &'a str,
    sha256: Option<&'a str>,
    size: Option<i64>,
}

impl<'a> Call<'a> {
    fn of(of: &'a Spooled) -> Option<Self> {
        let event = &of.event;
        let id = event.call_id.as_deref()?;
        (event.phase == Phase::Outcome && event.tool.is_some()).then_some(Self { of, id })
    }

    fn user(&self) -> Option<&'a str> {
        self.of.event.user_id.as_deref()
    }

    fn session(&self) -> Option<&'a str> {
        self.of.event.body.session_id.as_deref()
    }

    fn trace(&self) -> Option<&'a str> {
        self.of.event.body.trace_id.as_deref()
    }

    /// The call with everything it is linked to.
    fn linked(&self, node_id: &str) -> BoltType {
        let produced: BTreeSet<_> = self.artifacts().map(|(_, artifact)| artifact.id).collect();
        let touched: BTreeSet<_> = self.touched().map(|(_, key)| key).collect();
        let list = |names: BTreeSet<&str>| {
            let value = names.into_iter().map(BoltType::from).collect();
            BoltType::List(BoltList { value })
        };
        let mut row = Row::default();
        row.value("call", execution(self.of, self.id, node_id))
            .text("user", self.user())
            .text("session", self.session())
            .text("trace", self.trace())
            .value("produced", list(produced))
            .value("touched", list(touched));
        row.finish()
    }

    fn list(&self, name: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
        let list = self.of.event.body.details.get(name).and_then(Value::as_array);
        list.into_iter().flatten().take(LINKS_MAX)
    }

    fn artifacts(&self) -> impl Iterator<Item = (&'a str, Artifact<'a>)> {
        let id = self.id;
        self.list("produced").filter_map(move |artifact| {
            let text = |name: &str| artifact.get(name).and_then(Value::as_str);
            let size = artifact.get("size").and_then(Value::as_i64);
            Some((id, Artifact { id: text("id")?, sha256: text("sha256"), size }))
        })
    }

    fn touched(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let id = self.id;
        self.list("touched").filter_map(move |key| Some((id, key.as_str()?)))
    }
}

impl Artifact<'_> {
    fn node(&self) -> BoltType {
        let mut row = Row::default();
        row.text("id", Some(self.id)).text("sha256", self.sha256).int("size", self.size);
        row.finish()
    }
}

fn link(call: &str, to: &str) -> BoltType {
    let mut row = Row::default();
    row.text("call", Some(call)).text("to", Some(to));
    row.finish()
}

fn execution(call: &Spooled, call_id: &str, node_id: &str) -> BoltType {
    let event = &call.event;
    let mut row = Row::default();
    row.text("call_id", Some(call_id))
        .text("tool", event.tool.as_deref())
        .text("event_type", Some(event.event_type.as_str()))
        .text("timestamp", Some(&event.timestamp))
        .int("ts", Some(call.ts_us))
        .text("node_id", Some(node_id))
        .truth("success", event.success)
        .float("duration_ms", event.body.duration_ms);
    row.finish()
}

fn event(spooled: &Spooled, node_id: &str) -> BoltType {
    let event = &spooled.event;
    let body = &event.body;
    let details = (!body.details.is_empty())
        .then(|| serde_json::to_string(&body.details).unwrap_or_default());
    let mut row = Row::default();
    row.text("event_id", Some(&event.event_id))
        .text("node_id", Some(node_id))
        .int("seq", Some(event.seq))
        .int("ts", Some(spooled.ts_us))
        .text("timestamp", Some(&event.timestamp))
        .text("event_type", Some(event.event_type.as_str()))
        .text("phase", Some(event.phase.as_str()))
        .text("call_id", event.call_id.as_deref())
        .text("user_id", event.user_id.as_deref())
        .text("tool", event.tool.as_deref())
        .truth("success", event.success)
        .text("action", Some(&body.action))
        .text("resource", body.resource.as_deref())
        .text("ip_address", body.ip_address.as_deref())
        .text("user_agent", body.user_agent.as_deref())
        .text("request_id", body.request_id.as_deref())
        .text("session_id", body.session_id.as_deref())
        .float("duration_ms", body.duration_ms)
        .text("error_message", body.error_message.as_deref())
        .text("trace_id", body.trace_id.as_deref())
        .text("details", details.as_deref())
        .text("hash", Some(&event.hash))
        .truth("erased", event.erased.then_some(true));
    row.finish()
}

/// A map in the making; what is absent is left out.
#[derive(Default)]
pub(super) struct Row(BoltMap);

impl Row {
    fn put(&mut self, name: &str, value: Option<BoltType>) -> &mut Self {
        if let Some(value) = value {
            self.0.put(name.into(), value);
        }
        self
    }

    pub(super) fn text(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        self.put(name, text.map(BoltType::from))
    }

    pub(super) fn value(&mut self, name: &str, value: BoltType) -> &mut Self {
        self.put(name, Some(value))
    }

    fn int(&mut self, name: &str, int: Option<i64>) -> &mut Self {
        self.put(name, int.map(BoltType::from))
    }

    fn float(&mut self, name: &str, float: Option<f64>) -> &mut Self {
        self.put(name, float.map(BoltType::from))
    }

    fn truth(&mut self, name: &str, truth: Option<bool>) -> &mut Self {
        self.put(name, truth.map(BoltType::from))
    }

    pub(super) fn finish(self) -> BoltType {
        BoltType::Map(self.0)
    }
}
