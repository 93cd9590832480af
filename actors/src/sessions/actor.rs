//! One shard of the sessions.
//!
//! Owns: the sessions whose ids hash to it, in memory.
//! Mailbox: `SessionsOptions::mailbox` messages (1024); when full, callers hear `Overloaded` at once.
//! Dies when: a handler panics.
//! Restarted: by its supervisor, empty: its clients read 404 and initialize anew, as the specification
//! has them do (MCP 2025-06-18, Transports, Session Management).

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, MessageResult, Supervised};
use tokio::time::Instant;

use super::census::Place;
use super::options::SessionsOptions;
use super::table::{Session, Table};
use crate::ids::{CallerId, SessionId};

pub(super) struct SessionShard {
    options: SessionsOptions,
    table: Table,
}

#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Insert {
    pub session: Arc<Session>,
    pub place: Place,
}

#[derive(Message)]
#[rtype(result = "Option<Arc<Session>>")]
pub(super) struct Get {
    pub id: SessionId,
    pub owner: CallerId,
}

#[derive(Message)]
#[rtype(result = "bool")]
pub(super) struct Remove {
    pub id: SessionId,
    pub owner: CallerId,
}

impl SessionShard {
    pub(super) fn new(options: SessionsOptions) -> Self {
        let idle = Duration::from_secs(options.idle_seconds);
        let lifetime = Duration::from_secs(options.lifetime_seconds);
        Self { table: Table::new(idle, lifetime), options }
    }
}

impl Actor for SessionShard {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let period = Duration::from_secs(self.options.sweep_period_seconds.max(1));
        context.run_interval(period, |shard, _| {
            shard.table.sweep(Instant::now());
        });
    }
}

impl Supervised for SessionShard {
    fn restarting(&mut self, _: &mut Context<Self>) {
        *self = Self::new(self.options.clone());
    }
}

impl Handler<Insert> for SessionShard {
    type Result = ();

    fn handle(&mut self, Insert { session, place }: Insert, _: &mut Context<Self>) {
        self.table.insert(session, place, Instant::now());
    }
}

impl Handler<Get> for SessionShard {
    type Result = MessageResult<Get>;

    fn handle(&mut self, get: Get, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.table.get(&get.id, &get.owner, Instant::now()))
    }
}

impl Handler<Remove> for SessionShard {
    type Result = bool;

    fn handle(&mut self, remove: Remove, _: &mut Context<Self>) -> bool {
        self.table.remove(&remove.id, &remove.owner, Instant::now())
    }
}

/// Makes the shard panic, to test its restart.
#[cfg(test)]
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Crash;

#[cfg(test)]
impl Handler<Crash> for SessionShard {
    type Result = ();

    fn handle(&mut self, _: Crash, _: &mut Context<Self>) {
        panic!("crashed on purpose");
    }
}
