//! What a supervisor's actor is told.

use std::time::Duration;

use actix::prelude::*;
use tokio::time::Instant;

use super::cell::Report;
use super::child::{ChildRef, ChildSpec};
use super::drain::DrainReport;
use super::error::{ReconfigureError, RestartError, SpawnError};
use super::node::ChildState;
use super::options::PolicyOptions;
use super::policy::ChildId;
use super::supervisor::{Supervisor, SupervisorSpec};

pub(super) struct AddChild<A>(pub(super) ChildSpec<A>);

impl<A: Actor> Message for AddChild<A> {
    type Result = Result<ChildRef<A>, SpawnError>;
}

#[derive(Message)]
#[rtype(result = "Result<Supervisor, SpawnError>")]
pub(super) struct AddSupervisor(pub(super) SupervisorSpec);

#[derive(Message)]
#[rtype(result = "Result<(), ReconfigureError>")]
pub(super) struct Reconfigure(pub(super) PolicyOptions);

#[derive(Message)]
#[rtype(result = "DrainReport")]
pub(super) struct DrainAll(pub(super) Instant);

/// An operator's order: the first name is a child of the addressee, each further one a child below.
#[derive(Message)]
#[rtype(result = "Result<(), RestartError>")]
pub(super) struct RestartChild(pub(super) Vec<String>);

/// A child of the addressee went down.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct ChildDown {
    pub(super) id: ChildId,
    pub(super) report: Report,
}

/// A parent's decision over a supervisor and all below it.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) enum Subtree {
    Restart(Duration),
    Suspend,
    End(ChildState),
}
