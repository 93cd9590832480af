//! The one writer of roles and revocations.
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

use super::error::AuthorizationError;
use super::options::AuthorizationOptions;
use super::policy::Policy;
use super::registry::Registry;
use super::snapshot::Snapshot;
use super::store::Assignment;
use crate::ids::CallerId;

/// Everything a fresh actor is made from. The policy is read from the published snapshot, so that a
/// replaced policy survives a restart.
#[derive(Clone)]
pub(super) struct Setup {
    pub path: PathBuf,
    pub options: AuthorizationOptions,
    pub published: Arc<ArcSwap<Snapshot>>,
}

/// A change of what is stored.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<bool, AuthorizationError>")]
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
    Erase {
        user: CallerId,
        until: i64,
    },
    ReplacePolicy(Arc<Policy>),
    #[cfg(test)]
    Crash,
}

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
        let Setup { path, options, published } = &self.setup;
        match &mut self.registry {
            Some(registry) => Ok(registry),
            empty @ None => {
                let policy = published.load().policy.clone();
                Ok(empty.insert(Registry::open(path, policy, options.clone())?))
            }
        }
    }

    fn change(&mut self, change: Change) -> Result<bool, AuthorizationError> {
        let now = chrono::Utc::now().timestamp();
        let registry = self.registry()?;
        let changed = match change {
            Change::Assign { user, role, granted_by } => {
                registry.assign(&user, &role, &granted_by, now)?
            }
            Change::Remove { user, role } => registry.remove(&user, &role)?,
            Change::RevokeToken { jti, expires_at } => {
                registry.revoke_token(&jti, expires_at, now)?
            }
            Change::RevokeUser { user, issued_before } => {
                registry.revoke_user(&user, issued_before)?;
                true
            }
            Change::Erase { user, until } => registry.erase(&user, now, until)?,
            Change::ReplacePolicy(policy) => {
                registry.replace_policy(policy);
                true
            }
            #[cfg(test)]
            Change::Crash => panic!("crashed on purpose"),
        };
        self.publish();
        Ok(changed)
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
        *self = Self::new(self.setup.clone());
    }
}

impl Handler<Change> for AuthorizationActor {
    type Result = Result<bool, AuthorizationError>;

    fn handle(&mut self, change: Change, _: &mut Context<Self>) -> Self::Result {
        let changed = self.change(change);
        if let Err(error @ (AuthorizationError::Write(_) | AuthorizationError::Open(_))) = &changed
        {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "a change of roles or revocations could not be stored"
            );
            self.registry = None;
        }
        changed
    }
}

impl Handler<RolesOf> for AuthorizationActor {
    type Result = Result<Option<Vec<Assignment>>, AuthorizationError>;

    fn handle(&mut self, RolesOf(user): RolesOf, _: &mut Context<Self>) -> Self::Result {
        self.registry()?.roles_of(&user)
    }
}
