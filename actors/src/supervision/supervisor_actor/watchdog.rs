//! The watchdog: finds threads that are blocked and moves their children away.
//!
//! Owns: nothing but its rhythm. Runs on the supervisors' thread, where no child runs. A handler that
//! blocks cannot be killed in Rust: its thread is left behind and counted, its child goes on elsewhere.

use std::sync::Arc;
use std::time::Duration;

use actix::prelude::*;

use super::{Child, SupervisorActor};
use crate::supervision::control::{Control, Stall};
use crate::supervision::node::ChildState;
use crate::supervision::observer::EventKind;
use crate::supervision::policy::{ChildId, Down};

/// The watchdog looks this many times per `stall_after`, but not more often than `LOOK_EVERY_MIN`.
const LOOKS_PER_STALL: u32 = 4;
const LOOK_EVERY_MIN: Duration = Duration::from_millis(25);

impl SupervisorActor {
    pub(super) fn watch(&mut self, context: &mut Context<Self>) {
        let state = self.node.state();
        if state.is_final() {
            return;
        }
        let stall_after = self.policy.options().stall_after();
        let every = (stall_after / LOOKS_PER_STALL).max(LOOK_EVERY_MIN);
        context.run_later(every, Self::watch);
        // Late ourselves: the whole process was stopped. Give the children a round to move again.
        let late = self.last_look.elapsed() > every * 2;
        self.last_look = std::time::Instant::now();
        if late || state == ChildState::Suspended {
            return;
        }
        let look = |child: &Child| {
            let stall = child.control.look(stall_after)?;
            Some((child.id, Arc::clone(&child.control), stall))
        };
        let stalled: Vec<_> = self.children.iter().filter_map(look).collect();
        for (id, control, stall) in stalled {
            self.on_stall(id, &control, stall, context);
        }
    }

    fn on_stall(
        &mut self,
        id: ChildId,
        control: &Arc<dyn Control>,
        stall: Stall,
        context: &mut Context<Self>,
    ) {
        let node = control.node();
        let text = match stall {
            Stall::Blocking => "a handler blocks its thread",
            Stall::Starved => "its thread is blocked by another child",
        };
        tracing::error!(child = %node.name, "supervision.stalled: {text}");
        node.note_failure(text);
        self.tell(&node.name, EventKind::Stalled, text);
        control.disown();
        if node.state() == ChildState::Draining {
            control.end(ChildState::Failed);
        } else if stall == Stall::Starved {
            // Not its fault: it moves at once and no restart is counted against it.
            self.restart(id, Duration::ZERO);
        } else {
            self.decide(id, Down::Stalled, context);
        }
    }
}
