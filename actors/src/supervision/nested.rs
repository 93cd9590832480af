//! A supervisor as the child of another: orders become decisions over its subtree.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::control::{Control, LocalFuture};
use super::drain::Lost;
use super::messages::{DrainAll, Subtree};
use super::node::{ChildState, Node};
use super::supervisor::Supervisor;

pub(super) struct NestedSupervisor(pub(super) Supervisor);

impl Control for NestedSupervisor {
    fn node(&self) -> &Arc<Node> {
        &self.0.node
    }

    fn restart(self: Arc<Self>, delay: Duration) {
        self.0.address.do_send(Subtree::Restart(delay));
    }

    fn supervisor(&self) -> Option<Supervisor> {
        Some(self.0.clone())
    }

    fn suspend(&self) {
        self.0.address.do_send(Subtree::Suspend);
    }

    fn end(&self, state: ChildState) {
        self.0.address.do_send(Subtree::End(state));
    }

    fn drain(self: Arc<Self>, until: Instant) -> LocalFuture<Vec<Lost>> {
        Box::pin(async move {
            let report = self.0.address.send(DrainAll(until)).await.unwrap_or_default();
            report.lost
        })
    }
}
