//! The tree as operators see it. Reads atomics only: a stuck child cannot hold it up.

use std::sync::Arc;

use serde::Serialize;

use super::node::{Body, ChildState, Failure, Node, lock};
use super::options::PolicyOptions;

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// Has children.
    Supervisor,
    /// Has a mailbox.
    Actor,
}

/// The mailbox of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct MailboxSnapshot {
    /// Places.
    pub capacity: usize,
    /// Messages accepted and not yet answered.
    pub in_flight: usize,
    /// Messages accepted and never answered, since the child was first started.
    pub lost: u64,
}

/// One node and what is below it.
#[derive(Clone, Debug, Serialize)]
pub struct NodeSnapshot {
    /// Its name, unique among its siblings.
    pub name: Arc<str>,
    /// Supervisor or actor.
    pub kind: NodeKind,
    /// Where it is in its life.
    pub state: ChildState,
    /// Whether the engine cannot serve without it.
    pub critical: bool,
    /// Restarts since the start, those with siblings or a parent included.
    pub restarts: u64,
    /// Panics since the start.
    pub panics: u64,
    /// Times it was moved off a blocked thread.
    pub stalls: u64,
    /// Threads it left behind that are blocked to this moment.
    pub stuck_threads: u32,
    /// Which life it is in; 0 is the first.
    pub generation: u32,
    /// Of an actor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mailbox: Option<MailboxSnapshot>,
    /// How long the handler running now has kept its thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub busy_for_ms: Option<u64>,
    /// The last thing that went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Failure>,
    /// Of a supervisor: the policy in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyOptions>,
    /// Of a supervisor: its children in start order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<NodeSnapshot>,
}

impl NodeSnapshot {
    /// The node of that name here or below, first in start order.
    pub fn find(&self, name: &str) -> Option<&NodeSnapshot> {
        if &*self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// Whether every critical node runs: the engine can serve.
    pub fn can_serve(&self) -> bool {
        let here = !self.critical || self.state == ChildState::Running;
        here && (!self.critical || self.children.iter().all(NodeSnapshot::can_serve))
    }

    /// This node and all below it, parents first.
    pub fn walk(&self) -> Vec<&NodeSnapshot> {
        let mut nodes = vec![self];
        nodes.extend(self.children.iter().flat_map(NodeSnapshot::walk));
        nodes
    }
}

/// Reads a tree. Cheap to clone; waits for nobody.
#[derive(Clone)]
pub struct TreeHandle {
    pub(super) node: Arc<Node>,
}

impl TreeHandle {
    /// The tree at this moment. Takes microseconds and never waits for a child, so it has no deadline.
    pub fn snapshot(&self) -> NodeSnapshot {
        snapshot(&self.node)
    }
}

fn snapshot(node: &Node) -> NodeSnapshot {
    let mut shown = NodeSnapshot {
        name: Arc::clone(&node.name),
        kind: NodeKind::Actor,
        state: node.state(),
        critical: node.critical,
        restarts: node.restarts(),
        panics: node.panics(),
        stalls: node.stalls(),
        stuck_threads: node.stuck_threads(),
        generation: node.generation(),
        mailbox: None,
        busy_for_ms: None,
        last_failure: node.last_failure(),
        policy: None,
        children: Vec::new(),
    };
    match &node.body {
        Body::Actor { gate, stay } => {
            shown.mailbox = Some(MailboxSnapshot {
                capacity: gate.capacity(),
                in_flight: gate.in_flight(),
                lost: gate.lost(),
            });
            shown.busy_for_ms = stay
                .load()
                .busy_for()
                .map(|busy| u64::try_from(busy.as_millis()).unwrap_or(u64::MAX));
        }
        Body::Supervisor { policy, children } => {
            shown.kind = NodeKind::Supervisor;
            shown.policy = Some(*lock(policy));
            let children = lock(children).clone();
            shown.children = children.iter().map(|child| snapshot(child)).collect();
        }
    }
    shown
}
