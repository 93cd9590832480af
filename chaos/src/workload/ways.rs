//! The client's own choice of a node: in turn among those whose `/ready` answered well last, as a load
//! balancer in front of them would choose.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Client;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Between two looks at a node.
const LOOK_EVERY: Duration = Duration::from_millis(150);
/// A node that does not say that it is well within this is left alone.
const PATIENCE: Duration = Duration::from_millis(500);

/// Between two looks at what was heard of a node.
const GONE_LOOK: Duration = Duration::from_millis(50);

/// The nodes, and which of them take calls. Looks at them until it is dropped.
pub(super) struct Ways {
    nodes: Arc<Vec<Node>>,
    turn: AtomicUsize,
    looks: Vec<JoinHandle<()>>,
}

struct Node {
    url: String,
    up: AtomicBool,
    /// It did not even answer: what it has in hand is not worth waiting for.
    silent: AtomicBool,
}

impl Ways {
    pub(super) fn new(runtime: &Handle, http: &Client, urls: Vec<String>) -> Self {
        let node = |url| Node { url, up: AtomicBool::new(true), silent: AtomicBool::new(false) };
        let nodes: Arc<Vec<Node>> = Arc::new(urls.into_iter().map(node).collect());
        // With one node there is nothing to choose.
        let looked_at = if nodes.len() > 1 { nodes.len() } else { 0 };
        let looks = (0..looked_at)
            .map(|index| {
                let (nodes, http) = (Arc::clone(&nodes), http.clone());
                runtime.spawn(async move {
                    loop {
                        let node = &nodes[index];
                        let asked =
                            http.get(format!("{}/ready", node.url)).timeout(PATIENCE).send();
                        let answer = asked.await;
                        node.silent.store(answer.is_err(), Ordering::SeqCst);
                        let up = answer.is_ok_and(|answer| answer.status().is_success());
                        node.up.store(up, Ordering::SeqCst);
                        tokio::time::sleep(LOOK_EVERY).await;
                    }
                })
            })
            .collect();
        Self { nodes, turn: AtomicUsize::new(0), looks }
    }

    pub(super) fn count(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn url(&self, node: usize) -> &str {
        &self.nodes[node].url
    }

    /// The next node that takes calls; any when none does.
    pub(super) fn next(&self) -> usize {
        let turn = self.turn.fetch_add(1, Ordering::SeqCst) % self.count();
        self.from(turn).unwrap_or(turn)
    }

    /// Another node, for a call that found nobody at this one.
    pub(super) fn instead_of(&self, node: usize) -> Option<usize> {
        if self.count() > 1 {
            self.nodes[node].up.store(false, Ordering::SeqCst);
        }
        self.from(node + 1)
    }

    /// Resolves when the node does not answer any more; never where there is no other.
    pub(super) async fn gone(&self, node: usize) {
        while !self.nodes[node].silent.load(Ordering::SeqCst) {
            tokio::time::sleep(GONE_LOOK).await;
        }
    }

    fn from(&self, first: usize) -> Option<usize> {
        let turns = (first..first + self.count()).map(|turn| turn % self.count());
        turns
            .into_iter()
            .find(|node| self.count() > 1 && self.nodes[*node].up.load(Ordering::SeqCst))
    }
}

impl Drop for Ways {
    fn drop(&mut self) {
        self.looks.iter().for_each(JoinHandle::abort);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_go_in_turn_to_nodes_that_are_up_and_a_single_node_gets_all() {
        let node = |up| Node {
            url: String::new(),
            up: AtomicBool::new(up),
            silent: AtomicBool::new(false),
        };
        let ways =
            |nodes| Ways { nodes: Arc::new(nodes), turn: AtomicUsize::new(0), looks: Vec::new() };
        let three = ways(vec![node(true), node(false), node(true)]);
        let chosen: Vec<usize> = (0..6).map(|_| three.next()).collect();
        assert_eq!(chosen, [0, 2, 2, 0, 2, 2]);
        assert_eq!(three.instead_of(2), Some(0));
        assert_eq!(three.instead_of(0), None);
        let one = ways(vec![node(true)]);
        assert_eq!((one.next(), one.instead_of(0), one.next()), (0, None, 0));
    }
}
