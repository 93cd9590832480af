//! Supervision: actors that come back, and callers who know what happened.
//!
//! actix 0.13 restarts contexts that stopped; a panic drops actor and mailbox, `send` ignores the
//! mailbox bound, and a caller cannot tell a crash from an end. Here every child runs in a *cell* that
//! polls its context under `catch_unwind`; its queue lies outside of it and outlives panics, restarts
//! and stuck threads; its *gate* bounds what is accepted; its supervisor decides by a pure *policy*.
//!
//! ```text
//! ChildRef ──place──▶ Gate
//!    │ letter                       Supervisor ──policy──▶ decision
//!    ▼                                  │ orders  ▲ reports
//!  Inbox ──────pump──▶ Cell(ContextFut(Actor))────┘
//! ```
//!
//! Read `docs/supervision.md` for what is promised; start here with [`ChildRef::ask`],
//! [`Supervisor::spawn`] and [`TreeHandle::snapshot`].
//!
//! A message that crashes its actor is dropped, never handled again: a poisonous message harms once.

mod cell;
mod child;
mod control;
mod drain;
mod error;
mod gate;
mod hand;
mod inbox;
mod letter;
mod messages;
mod nested;
mod node;
mod observer;
mod options;
mod panics;
pub mod policy;
#[cfg(test)]
mod policy_model;
mod snapshot;
mod stay;
mod supervisor;
mod supervisor_actor;

pub use child::{ChildRef, ChildSpec, Placement};
pub use drain::{DrainReport, Lost};
pub use error::{AskError, ReconfigureError, RestartError, SpawnError};
pub use node::{ChildState, Failure};
pub use observer::{Event, EventKind, Observer, unobserved};
pub use options::{InvalidOption, PolicyOptions, PolicyOverride, SupervisionOptions};
pub use panics::install_panic_hook;
pub use policy::{Restart, Strategy};
pub use snapshot::{MailboxSnapshot, NodeKind, NodeSnapshot, TreeHandle};
pub use supervisor::{Exit, ExitSignal, Supervisor, SupervisorSpec};
