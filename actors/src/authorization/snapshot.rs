//! What decisions are made from: policy, stored roles, revocations and bans as they were at one moment.
//!
//! Published whole by [`super::actor::AuthorizationActor`]; read without a hop.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;

use super::bans::{Ban, BanSet};
use super::permission::{Permission, Permissions};
use super::policy::{Combine, Limits, Policy};
use super::sharded::ShardedMap;
use crate::ids::CallerId;

/// Policy, stored roles and revocations at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) policy: Arc<Policy>,
    /// Roles of every user the store knows, sorted; possibly none.
    pub(super) roles: ShardedMap<Arc<[String]>>,
    /// Token id → when the token expires, in seconds since the epoch.
    pub(super) tokens: ShardedMap<i64>,
    /// User → tokens issued at or before this second are void.
    pub(super) users: ShardedMap<i64>,
    /// Who is refused whatever the token says.
    pub(super) bans: Arc<BanSet>,
    /// Hash of an erased user's name → tokens issued at or before this second are void.
    pub(super) erased: Arc<HashMap<NameHash, i64>>,
}

/// A user and the roles stored for the user now.
pub(crate) type ChangedRoles = (Arc<str>, Option<Arc<[String]>>);

/// SHA-256 of a user's name: recognises the tokens of an erased user without keeping the name.
pub(super) type NameHash = [u8; 32];

pub(super) fn name_hash(user: &str) -> NameHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, user.as_bytes()).as_ref());
    hash
}

impl Snapshot {
    pub(super) fn empty(policy: Arc<Policy>) -> Self {
        Self {
            policy,
            roles: ShardedMap::default(),
            tokens: ShardedMap::default(),
            users: ShardedMap::default(),
            bans: Arc::default(),
            erased: Arc::default(),
        }
    }

    /// The policy in force, shared: another one is another allocation.
    pub fn shared_policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy)
    }

    /// The policy in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The stored roles of this user, sorted; `None` when the store has never known the user, empty
    /// when the last of its roles was removed.
    pub fn stored_roles(&self, user: &CallerId) -> Option<&[String]> {
        self.roles.get(user.as_str()).map(|roles| &**roles)
    }

    /// Users whose stored roles are not what they were at an earlier moment, with the roles of now; `None`:
    /// the store no longer knows the user. Without an earlier moment: everybody.
    pub(crate) fn roles_since(&self, earlier: Option<&Self>) -> Vec<ChangedRoles> {
        let nobody = ShardedMap::default();
        let earlier = earlier.map_or(&nobody, |earlier| &earlier.roles);
        let changed = self.roles.changed_since(earlier).into_iter();
        changed.map(|user| (self.roles.get(&user).cloned(), user)).map(|(r, u)| (u, r)).collect()
    }

    /// The roles that are in force for a token of this user that carries `token_roles`: combined as
    /// the policy says, unknown ones left out, sorted.
    pub fn effective_roles(&self, user: &CallerId, token_roles: &[String]) -> Arc<[String]> {
        let stored = self.stored_roles(user);
        let holds = |roles: &[String], role: &String| roles.contains(role);
        let counts = |role: &String| {
            let in_token = holds(token_roles, role);
            let in_store = stored.map(|stored| holds(stored, role));
            match self.policy.combine {
                Combine::Both => in_token && in_store.unwrap_or(true),
                Combine::Token => in_token,
                Combine::Stored => in_store.unwrap_or(false),
                Combine::Union => in_token || in_store.unwrap_or(false),
            }
        };
        // The policy's own names: sorted, each once, and none that it does not know.
        self.policy.roles.keys().filter(|role| counts(role)).cloned().collect()
    }

    /// Whether one of these roles grants it; roles as [`Snapshot::effective_roles`] returns them.
    pub fn permits(&self, roles: &[String], permission: Permission) -> bool {
        self.policy.permits(roles, permission)
    }

    /// Everything these roles grant.
    pub fn permissions(&self, roles: &[String]) -> Permissions {
        self.policy.permissions(roles.iter().map(String::as_str))
    }

    /// The largest of each limit over these roles.
    pub fn limits(&self, roles: &[String]) -> Limits {
        self.policy.limits(roles)
    }

    /// The ban on this user that holds now (seconds since the epoch), if any.
    pub fn ban_of_user(&self, user: &CallerId, now: i64) -> Option<&Arc<Ban>> {
        self.bans.of_user(user, now)
    }

    /// The ban on a network of this address that holds now, if any.
    pub fn ban_of_address(&self, address: IpAddr, now: i64) -> Option<&Arc<Ban>> {
        self.bans.of_address(address, now)
    }

    /// Every ban that holds now, oldest first.
    pub fn bans(&self, now: i64) -> impl Iterator<Item = &Arc<Ban>> {
        self.bans.all().iter().filter(move |ban| ban.holds(now))
    }

    /// Whether this token was revoked, by itself or with all of its user's.
    ///
    /// `issued_at` in seconds since the epoch; a token that does not say counts as old. A token issued
    /// in the very second of the user's revocation is void: seconds are all it says.
    pub fn is_revoked(&self, jti: Option<&str>, user: &CallerId, issued_at: Option<i64>) -> bool {
        let by_id = jti.is_some_and(|jti| self.tokens.get(jti).is_some());
        let by_user = self.users.get(user.as_str()).copied();
        // Hashing is spared as long as nobody was erased lately.
        let erased = || self.erased.get(&name_hash(user.as_str())).copied();
        let by_erasure = if self.erased.is_empty() { None } else { erased() };
        let is_void = |before: i64| issued_at.is_none_or(|issued| issued <= before);
        by_id || by_user.is_some_and(is_void) || by_erasure.is_some_and(is_void)
    }
}
