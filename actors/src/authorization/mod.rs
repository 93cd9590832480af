//! Authorization: who holds which roles, what roles grant, which tokens are void.
//!
//! Decisions are made from [`Snapshot`]s ([`AuthorizationHandle::snapshot`], no hop); changes go through
//! one supervised actor that makes them durable first and publishes them second. Called by the face:
//! authentication, admission, administration. Refuses whatever is not granted.

mod actor;
mod error;
mod options;
mod permission;
mod policy;
mod policy_text;
mod registry;
mod sharded;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;

use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwap;

use self::actor::{AuthorizationActor, Change, RolesOf, Setup};
use self::registry::Registry;
use crate::deadline::Deadline;
use crate::ids::CallerId;
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

pub(crate) use self::snapshot::ChangedRoles;

pub use self::error::AuthorizationError;
pub use self::options::AuthorizationOptions;
pub use self::permission::{Permission, Permissions};
pub use self::policy::{CellCaps, Combine, DEFAULT_POLICY, Limits, Policy, PolicyProblem, Role};
pub use self::registry::{ROLES_PER_USER_MAX, TOKEN_ID_BYTES_MAX};
pub use self::snapshot::Snapshot;
pub use self::store::Assignment;

/// The way to authorization. Cheap to clone.
#[derive(Clone)]
pub struct AuthorizationHandle {
    child: ChildRef<AuthorizationActor>,
    published: Arc<ArcSwap<Snapshot>>,
}

/// Forgets a user while no server runs; see [`AuthorizationHandle::erase_user`].
///
/// # Errors
/// [`AuthorizationError::LastAdministrator`] under `combine = "stored"`; store not writable.
pub fn erase_user_offline(
    path: &Path,
    policy: Policy,
    user: &CallerId,
    until: i64,
) -> Result<bool, AuthorizationError> {
    let mut registry = Registry::open(path, Arc::new(policy), AuthorizationOptions::default())?;
    registry.erase(user, chrono::Utc::now().timestamp(), until)
}

impl AuthorizationHandle {
    /// Opens (or creates) the store at `path` with mode 0600 and starts the actor as `authorization`.
    /// The first snapshot is there when this returns.
    ///
    /// # Errors
    /// When the store cannot be opened or the actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        path: &Path,
        policy: Policy,
        options: AuthorizationOptions,
    ) -> Result<Self, AuthorizationError> {
        let mut file = std::fs::OpenOptions::new();
        file.create(true).append(true).mode(0o600).open(path).map_err(AuthorizationError::open)?;
        let registry = Registry::open(path, Arc::new(policy), options.clone())?;
        let published = Arc::new(ArcSwap::from_pointee(registry.snapshot()));
        drop(registry);
        let mailbox = options.mailbox;
        let setup = Setup { path: path.to_owned(), options, published: published.clone() };
        let spec = ChildSpec::new("authorization", mailbox, move || {
            AuthorizationActor::new(setup.clone())
        });
        let child = supervisor.spawn(spec).await;
        let child = child.map_err(|error| AuthorizationError::Spawn(Arc::new(error)))?;
        Ok(Self { child, published })
    }

    /// What holds now; no hop, no wait.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.published.load_full()
    }

    /// Stores a role of the policy for a user; returns whether it is new. Durable and in force when
    /// this returns.
    ///
    /// # Errors
    /// Unknown role, too many roles or users, store not writable, actor not available.
    pub async fn assign_role(
        &self,
        user: &CallerId,
        role: &str,
        granted_by: &CallerId,
        deadline: Deadline,
    ) -> Result<bool, AuthorizationError> {
        let (user, granted_by) = (user.clone(), granted_by.clone());
        self.change(Change::Assign { user, role: role.to_owned(), granted_by }, deadline).await
    }

    /// Removes a stored role; returns whether the user had it. A user whose last role is removed stays
    /// known, so that under `combine = "both"` nothing is granted (and not everything its token says).
    ///
    /// # Errors
    /// [`AuthorizationError::LastAdministrator`] under `combine = "stored"`; store not writable, actor
    /// not available.
    pub async fn remove_role(
        &self,
        user: &CallerId,
        role: &str,
        deadline: Deadline,
    ) -> Result<bool, AuthorizationError> {
        let change = Change::Remove { user: user.clone(), role: role.to_owned() };
        self.change(change, deadline).await
    }

    /// The stored roles of a user with their origin; `None` when the store never knew the user.
    ///
    /// # Errors
    /// Store not readable, actor not available.
    pub async fn roles_of(
        &self,
        user: &CallerId,
        deadline: Deadline,
    ) -> Result<Option<Vec<Assignment>>, AuthorizationError> {
        self.child.ask(RolesOf(user.clone()), deadline).await?
    }

    /// Voids one token until it expires (`expires_at`, seconds since the epoch); returns whether it was
    /// not void before: of two who exchange the same token, one is first.
    ///
    /// # Errors
    /// Token id out of bounds, too many revoked tokens, store not writable, actor not available.
    pub async fn revoke_token(
        &self,
        jti: &str,
        expires_at: i64,
        deadline: Deadline,
    ) -> Result<bool, AuthorizationError> {
        let change = Change::RevokeToken { jti: jti.to_owned(), expires_at };
        self.change(change, deadline).await
    }

    /// Voids every token of the user issued at or before `issued_before` (seconds since the epoch).
    ///
    /// # Errors
    /// Too many users, store not writable, actor not available.
    pub async fn revoke_user(
        &self,
        user: &CallerId,
        issued_before: i64,
        deadline: Deadline,
    ) -> Result<(), AuthorizationError> {
        let change = Change::RevokeUser { user: user.clone(), issued_before };
        self.change(change, deadline).await.map(drop)
    }

    /// Forgets a user: stored roles, revocations, and as whom others got their roles from. Tokens issued
    /// until now stay void, recognised by a hash of the name until `until` (seconds since the epoch),
    /// when the last of them has expired. Returns whether the store knew the user.
    ///
    /// # Errors
    /// [`AuthorizationError::LastAdministrator`] under `combine = "stored"`; store not writable, actor
    /// not available.
    pub async fn erase_user(
        &self,
        user: &CallerId,
        until: i64,
        deadline: Deadline,
    ) -> Result<bool, AuthorizationError> {
        self.change(Change::Erase { user: user.clone(), until }, deadline).await
    }

    /// Puts another policy in force, at once and for every later decision.
    ///
    /// # Errors
    /// Actor not available.
    pub async fn replace_policy(
        &self,
        policy: Policy,
        deadline: Deadline,
    ) -> Result<(), AuthorizationError> {
        self.change(Change::ReplacePolicy(Arc::new(policy)), deadline).await.map(drop)
    }

    async fn change(&self, change: Change, deadline: Deadline) -> Result<bool, AuthorizationError> {
        self.child.ask(change, deadline).await?
    }
}
