//! Authorization: who holds which roles, what roles grant, which tokens are void, who is banned.
//!
//! Decisions are made from [`Snapshot`]s ([`AuthorizationHandle::snapshot`], no hop); changes go through
//! one supervised actor that makes them durable first and publishes them second. Called by the face:
//! authentication, admission, administration. Refuses whatever is not granted.

mod actor;
mod bans;
#[cfg(test)]
mod contract;
mod entry;
mod erasure;
mod error;
mod options;
mod permission;
mod policy;
mod policy_text;
mod registry;
mod sharded;
mod sharing;
mod snapshot;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use self::actor::{AuthorizationActor, Change, Changed, RolesOf, Setup};
use self::registry::Registry;
use self::sharing::Sharing;
use crate::deadline::Deadline;
use crate::ids::CallerId;
use crate::node::NodeId;
use crate::redis::RedisClient;
use crate::sqlite::create_private;
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

pub(crate) use self::snapshot::ChangedRoles;

pub use self::bans::{Ban, BanSubject, REASON_BYTES_MAX};
pub use self::error::AuthorizationError;
pub use self::options::AuthorizationOptions;
pub use self::permission::{Permission, Permissions};
pub use self::policy::{CellCaps, Combine, DEFAULT_POLICY, Limits, Policy, PolicyProblem, Role};
pub use self::registry::{ROLES_PER_USER_MAX, TOKEN_ID_BYTES_MAX};
pub use self::sharing::SharingStanding;
pub use self::snapshot::Snapshot;
pub use self::store::Assignment;

/// The way to authorization. Cheap to clone.
#[derive(Clone)]
pub struct AuthorizationHandle {
    child: ChildRef<AuthorizationActor>,
    published: Arc<ArcSwap<Snapshot>>,
    sharing: Option<Sharing>,
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
    let mut registry = {
        let (policy, options) = (Arc::new(policy), AuthorizationOptions::default());
        // Any node: what is made here is an erasure, which does not name one.
        Registry::open(path, policy, options, NodeId::random())?
    };
    registry.erase(user, chrono::Utc::now().timestamp(), until)
}

impl AuthorizationHandle {
    /// Opens (or creates) the store at `path` with mode 0600 and starts the actor as `authorization`.
    /// The first snapshot is there when this returns. With Redis, what changes here is told to other
    /// nodes and what they change holds here; an absent Redis keeps nobody waiting.
    ///
    /// # Errors
    /// When the store cannot be opened or the actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        path: &Path,
        policy: Policy,
        options: AuthorizationOptions,
        node: NodeId,
        redis: Option<RedisClient>,
    ) -> Result<Self, AuthorizationError> {
        create_private(path).map_err(AuthorizationError::open)?;
        let registry = Registry::open(path, Arc::new(policy), options.clone(), node.clone())?;
        let published = Arc::new(ArcSwap::from_pointee(registry.snapshot()));
        drop(registry);
        let mailbox = options.mailbox;
        let setup = Setup { path: path.to_owned(), options, node, published: published.clone() };
        let spec = ChildSpec::new("authorization", mailbox, move || {
            AuthorizationActor::new(setup.clone())
        });
        let child = supervisor.spawn(spec).await;
        let child = child.map_err(|error| AuthorizationError::Spawn(Arc::new(error)))?;
        let sharing = match redis {
            Some(redis) => Some(Sharing::start(supervisor, redis, child.clone()).await?),
            None => None,
        };
        Ok(Self { child, published, sharing })
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
        let change = Change::Assign { user, role: role.to_owned(), granted_by };
        Ok(self.change(change, deadline).await?.count > 0)
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
        Ok(self.change(change, deadline).await?.count > 0)
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
    /// not void before: of two who exchange the same token, one is first, also when they ask different
    /// nodes, as long as Redis answers.
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
        Ok(self.change(change, deadline).await?.count > 0)
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

    /// Bans a user or a network until `expires_at` (seconds since the epoch) or until it is lifted.
    ///
    /// # Errors
    /// A reason that is too long, an end in the past, too many bans; store not writable, actor not
    /// available.
    pub async fn ban(
        &self,
        subject: BanSubject,
        reason: String,
        by: &CallerId,
        expires_at: Option<i64>,
        deadline: Deadline,
    ) -> Result<Ban, AuthorizationError> {
        let change = Change::Ban { subject, reason, by: by.clone(), expires_at };
        let changed = self.change(change, deadline).await?;
        Ok(changed.ban.expect("a change that bans returns the ban"))
    }

    /// Lifts every ban on exactly this user or network; returns how many held.
    ///
    /// # Errors
    /// Store not writable, actor not available.
    pub async fn lift(
        &self,
        subject: BanSubject,
        by: &CallerId,
        deadline: Deadline,
    ) -> Result<usize, AuthorizationError> {
        Ok(self.change(Change::Lift { subject, by: by.clone() }, deadline).await?.count)
    }

    /// Whether other nodes hear of changes and this one of theirs; `None` when there is no Redis.
    pub fn sharing(&self) -> Option<SharingStanding> {
        self.sharing.as_ref().map(Sharing::standing)
    }

    /// Waits until this node knows what the others know, for so long at most; says whether it does.
    pub async fn settled(&self, within: Duration) -> bool {
        match &self.sharing {
            Some(sharing) => sharing.settled(within).await,
            None => true,
        }
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
        Ok(self.change(Change::Erase { user: user.clone(), until }, deadline).await?.count > 0)
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

    /// Durable and in force here when this returns, and told to the others if they can be reached in
    /// moments. What another node did first does not count as changed.
    async fn change(
        &self,
        change: Change,
        deadline: Deadline,
    ) -> Result<Changed, AuthorizationError> {
        let mut changed = self.child.ask(change, deadline).await??;
        let Some(sharing) = self.sharing.as_ref().filter(|_| !changed.news.is_empty()) else {
            return Ok(changed);
        };
        let holds = sharing.tell(std::mem::take(&mut changed.news)).await;
        if holds.is_some_and(|holds| holds.iter().all(|holds| !holds)) {
            changed.count = 0;
        }
        Ok(changed)
    }
}
