//! The one writer of roles, revocations and bans.
//!
//! Owns: the store `state.db`; publishes a [`Snapshot`] after every change.
//! Mailbox: `AuthorizationOptions::mailbox` changes (256); when full, callers hear `Overloaded` at once.
//! Dies when: a handler panics; a failed write is no death but an error to its caller.
//! Restarted: by its supervisor; it reads the store anew. Decisions go on with the last snapshot.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, Supervised};
use arc_swap::ArcSwap;

use super::bans::{Ban, BanSubject};
use super::entry::Entry;
use super::error::AuthorizationError;
use super::options::AuthorizationOptions;
use super::policy::Policy;
use super::registry::Registry;
use super::snapshot::Snapshot;
use super::store::Assignment;
use crate::ids::CallerId;
use crate::node::NodeId;

/// Everything a fresh actor is made from. The policy is read from the published snapshot, so that a
/// replaced policy survives a restart.
#[derive(Clone)]
pub(super) struct Setup {
    pub path: PathBuf,
    pub options: AuthorizationOptions,
    pub node: NodeId,
    pub published: Arc<ArcSwap<Snapshot>>,
}

/// A change of what is stored.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Changed, AuthorizationError>")]
pub(super) enum Change {
    Assign {
        user: CallerId,
        role: String,
        granted_by: CallerId,
    },
    Remove {
        user: CallerId,
        role: String,
    },
    RevokeToken {
        jti: String,
        expires_at: i64,
    },
    RevokeUser {
        user: CallerId,
        issued_before: i64,
    },
    Ban {
        subject: BanSubject,
        reason: String,
        by: CallerId,
        expires_at: Option<i64>,
    },
    Lift {
        subject: BanSubject,
        by: CallerId,
    },
    Erase {
        user: CallerId,
        until: i64,
    },
    ReplacePolicy(Arc<Policy>),
    #[cfg(test)]
    Crash,
}

/// What a change did.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// How much was different before.
    pub count: usize,
    /// The ban that was made.
    pub ban: Option<Ban>,
    /// What other nodes are to hear.
    pub news: Vec<Entry>,
}

/// Facts of other nodes.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<(), AuthorizationError>")]
pub(super) struct Merge(pub Vec<Entry>);

/// Every fact: field, rank and body.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Vec<(String, String, String)>, AuthorizationError>")]
pub(super) struct Export;

/// The stored roles of a user, with their origin.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Option<Vec<Assignment>>, AuthorizationError>")]
pub(super) struct RolesOf(pub CallerId);

pub(super) struct AuthorizationActor {
    setup: Setup,
    /// `None` until the first message and after a failed write: the next reads the file anew.
    registry: Option<Registry>,
}

impl AuthorizationActor {
    pub(super) fn new(setup: Setup) -> Self {
        Self { setup, registry: None }
    }

    fn registry(&mut self) -> Result<&mut Registry, AuthorizationError> {
        let Setup { path, options, node, published } = &self.setup;
        match &mut self.registry {
            Some(registry) => Ok(registry),
            empty @ None => {
                let policy = published.load().policy.clone();
                Ok(empty.insert(Registry::open(path, policy, options.clone(), node.clone())?))
            }
        }
    }

    fn change(&mut self, change: Change) -> Result<Changed, AuthorizationError> {
        let now = chrono::Utc::now().timestamp();
        let registry = self.registry()?;
        let mut ban = None;
        let count = match change {
            Change::Assign { user, role, granted_by } => {
                registry.assign(&user, &role, &granted_by, now)?.into()
            }
            Change::Remove { user, role } => registry.remove(&user, &role)?.into(),
            Change::RevokeToken { jti, expires_at } => {
                registry.revoke_token(&jti, expires_at, now)?.into()
            }
            Change::RevokeUser { user, issued_before } => {
                registry.revoke_user(&user, issued_before)?;
                1
            }
            Change::Ban { subject, reason, by, expires_at } => {
                ban = Some(registry.ban(subject, reason, &by, expires_at, now)?);
                1
            }
            Change::Lift { subject, by } => registry.lift(&subject, &by, now)?,
            Change::Erase { user, until } => registry.erase(&user, now, until)?.into(),
            Change::ReplacePolicy(policy) => {
                registry.replace_policy(policy);
                1
            }
            #[cfg(test)]
            Change::Crash => panic!("crashed on purpose"),
        };
        let news = registry.take_news();
        self.publish();
        Ok(Changed { count, ban, news })
    }

    /// Hands the result on; after a failed write the file is read anew.
    fn kept<T>(&mut self, result: Result<T, AuthorizationError>) -> Result<T, AuthorizationError> {
        if let Err(error @ (AuthorizationError::Write(_) | AuthorizationError::Open(_))) = &result {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "a change of roles, revocations or bans could not be stored"
            );
            self.registry = None;
        }
        result
    }

    fn publish(&self) {
        if let Some(registry) = &self.registry {
            self.setup.published.store(Arc::new(registry.snapshot()));
        }
    }

    fn purge(&mut self) {
        let now = chrono::Utc::now().timestamp();
        match self.registry().and_then(|registry| registry.purge(now)) {
            Ok(0) => {}
            Ok(_) => self.publish(),
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "expired revocations could not be dropped"
                );
                self.registry = None;
            }
        }
    }
}

impl Actor for AuthorizationActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let period = Duration::from_secs(self.setup.options.purge_period_seconds.max(1));
        context.run_interval(period, |actor, _| actor.purge());
    }
}

impl Supervised for AuthorizationActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        let fresh = Self::new(self.setup.clone());
        if let Some(registry) = std::mem::replace(self, fresh).registry {
            // Closing the file may wait for the disk; callers wait for this actor.
            tokio::task::spawn_blocking(move || drop(registry));
        }
    }
}

impl Handler<Change> for AuthorizationActor {
    type Result = Result<Changed, AuthorizationError>;

    fn handle(&mut self, change: Change, _: &mut Context<Self>) -> Self::Result {
        let changed = self.change(change);
        self.kept(changed)
    }
}

impl Handler<Merge> for AuthorizationActor {
    type Result = Result<(), AuthorizationError>;

    fn handle(&mut self, Merge(entries): Merge, _: &mut Context<Self>) -> Self::Result {
        let merged = self.registry().and_then(|registry| registry.merge(entries));
        if merged.as_ref().is_ok_and(|taken| !taken.is_empty()) {
            self.publish();
        }
        self.kept(merged).map(drop)
    }
}

impl Handler<Export> for AuthorizationActor {
    type Result = Result<Vec<(String, String, String)>, AuthorizationError>;

    fn handle(&mut self, _: Export, _: &mut Context<Self>) -> Self::Result {
        self.registry()?.ledger()
    }
}

impl Handler<RolesOf> for AuthorizationActor {
    type Result = Result<Option<Vec<Assignment>>, AuthorizationError>;

    fn handle(&mut self, RolesOf(user): RolesOf, _: &mut Context<Self>) -> Self::Result {
        self.registry()?.roles_of(&user)
    }
}
