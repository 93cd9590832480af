//! The rules of changing roles and revocations, and the snapshot that follows each change.
//!
//! Pure and synchronous; owned by [`super::actor::AuthorizationActor`]. Durable first, visible second.
//! Refuses roles the policy does not know, more than the bounds, the removal nobody could undo. *Who*
//! may change anything is the face's decision (`system:admin`).

use std::path::Path;
use std::sync::Arc;

use super::error::AuthorizationError;
use super::options::AuthorizationOptions;
use super::permission::Permission;
use super::policy::{Combine, Policy};
use super::snapshot::Snapshot;
use super::store::{Assignment, Store};
use crate::ids::{CallerId, ID_BYTES_MAX};

/// Most stored roles of one user.
pub const ROLES_PER_USER_MAX: usize = 32;
/// Longest token id (`jti`) that can be revoked, in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = ID_BYTES_MAX;

/// How long a revocation outlives its token: verifiers grant a leeway on the expiry.
const EXPIRY_GRACE_SECONDS: i64 = 3600;

pub(super) struct Registry {
    store: Store,
    snapshot: Snapshot,
    options: AuthorizationOptions,
}

impl Registry {
    pub(super) fn open(
        path: &Path,
        policy: Arc<Policy>,
        options: AuthorizationOptions,
    ) -> Result<Self, AuthorizationError> {
        let store = Store::open(path).map_err(AuthorizationError::open)?;
        let mut snapshot = Snapshot::empty(policy);
        store.load_into(&mut snapshot).map_err(AuthorizationError::open)?;
        Ok(Self { store, snapshot, options })
    }

    /// What holds now. Cheap: copies share everything.
    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshot.clone()
    }

    pub(super) fn replace_policy(&mut self, policy: Arc<Policy>) {
        self.snapshot.policy = policy;
    }

    /// Stores a role; returns whether the user did not have it yet.
    pub(super) fn assign(
        &mut self,
        user: &CallerId,
        role: &str,
        granted_by: &CallerId,
        now: i64,
    ) -> Result<bool, AuthorizationError> {
        if !self.snapshot.policy.roles.contains_key(role) {
            return Err(AuthorizationError::UnknownRole {
                given: role.chars().take(64).collect(),
                known: self.snapshot.policy.roles.keys().cloned().collect(),
            });
        }
        let stored = self.snapshot.stored_roles(user);
        if stored.is_none() && self.snapshot.roles.len() >= self.options.users_max {
            return Err(AuthorizationError::TooManyUsers(self.options.users_max));
        }
        let has_it = stored.is_some_and(|stored| stored.iter().any(|own| own == role));
        if !has_it && stored.map_or(0, <[String]>::len) >= ROLES_PER_USER_MAX {
            return Err(AuthorizationError::TooManyRoles(ROLES_PER_USER_MAX));
        }
        let assignment = Assignment {
            role: role.to_owned(),
            granted_by: granted_by.to_string(),
            granted_at: now,
        };
        let added =
            self.store.assign(user.as_str(), &assignment).map_err(AuthorizationError::write)?;
        self.refresh_roles(user)?;
        Ok(added)
    }

    /// Removes a stored role; returns whether the user had it. The user stays known.
    ///
    /// Where only stored roles count, the last administrator stays one: nobody could appoint another.
    /// In every other mode an administrator's token for a new user can be issued on the machine.
    pub(super) fn remove(
        &mut self,
        user: &CallerId,
        role: &str,
    ) -> Result<bool, AuthorizationError> {
        self.keeps_an_administrator(user, |own| own == role)?;
        let had = self.store.remove(user.as_str(), role).map_err(AuthorizationError::write)?;
        if had {
            self.refresh_roles(user)?;
        }
        Ok(had)
    }

    /// Refuses to take roles from the last who administers, where only stored roles count.
    fn keeps_an_administrator(
        &self,
        user: &CallerId,
        goes: impl Fn(&str) -> bool,
    ) -> Result<(), AuthorizationError> {
        let policy = &self.snapshot.policy;
        let administrates =
            |role: &str| policy.permissions([role]).contains(Permission::SystemAdmin);
        let stored = self.snapshot.stored_roles(user).unwrap_or_default();
        let loses = stored.iter().any(|own| administrates(own) && goes(own));
        if policy.combine != Combine::Stored || !loses {
            return Ok(());
        }
        let still = stored.iter().any(|own| !goes(own) && administrates(own));
        let roles: Vec<_> = policy.roles.keys().filter(|role| administrates(role)).collect();
        let others = self.store.others_have(user.as_str(), &roles);
        match still || others.map_err(AuthorizationError::write)? {
            true => Ok(()),
            false => Err(AuthorizationError::LastAdministrator),
        }
    }

    /// Forgets the user, roles and revocations; tokens issued until now are void until `until`, after
    /// which none can be about. Returns whether anything was stored.
    pub(super) fn erase(
        &mut self,
        user: &CallerId,
        now: i64,
        until: i64,
    ) -> Result<bool, AuthorizationError> {
        self.keeps_an_administrator(user, |_| true)?;
        let roles =
            self.store.erase(user.as_str(), now, until.saturating_add(EXPIRY_GRACE_SECONDS));
        let roles = roles.map_err(AuthorizationError::write)?;
        let known = self.snapshot.roles.get(user.as_str()).is_some();
        self.snapshot.roles.remove(user.as_str());
        self.snapshot.users.remove(user.as_str());
        self.refresh_erased()?;
        Ok(roles > 0 || known)
    }

    fn refresh_erased(&mut self) -> Result<(), AuthorizationError> {
        let erased = self.store.erased().map_err(AuthorizationError::open)?;
        self.snapshot.erased = Arc::new(erased);
        Ok(())
    }

    pub(super) fn roles_of(
        &self,
        user: &CallerId,
    ) -> Result<Option<Vec<Assignment>>, AuthorizationError> {
        self.store.roles_of(user.as_str()).map_err(AuthorizationError::open)
    }

    /// Voids one token until it expires by itself.
    pub(super) fn revoke_token(
        &mut self,
        jti: &str,
        expires_at: i64,
        now: i64,
    ) -> Result<bool, AuthorizationError> {
        let printable = !jti.chars().any(char::is_control);
        if !(1..=TOKEN_ID_BYTES_MAX).contains(&jti.len()) || !printable {
            return Err(AuthorizationError::BadTokenId(TOKEN_ID_BYTES_MAX));
        }
        let known = self.snapshot.tokens.get(jti).is_some();
        if !known && self.snapshot.tokens.len() >= self.options.revoked_tokens_max {
            self.purge(now)?;
            if self.snapshot.tokens.len() >= self.options.revoked_tokens_max {
                return Err(AuthorizationError::TooManyTokens(self.options.revoked_tokens_max));
            }
        }
        self.store.revoke_token(jti, expires_at).map_err(AuthorizationError::write)?;
        let until = self.snapshot.tokens.get(jti).map_or(expires_at, |old| expires_at.max(*old));
        self.snapshot.tokens.insert(jti, until);
        Ok(!known)
    }

    /// Voids every token of the user issued at or before `issued_before` (seconds since the epoch).
    /// An earlier revocation is never weakened.
    pub(super) fn revoke_user(
        &mut self,
        user: &CallerId,
        issued_before: i64,
    ) -> Result<(), AuthorizationError> {
        let old = self.snapshot.users.get(user.as_str()).copied();
        if old.is_none() && self.snapshot.users.len() >= self.options.users_max {
            return Err(AuthorizationError::TooManyUsers(self.options.users_max));
        }
        let stored = self.store.revoke_user(user.as_str(), issued_before);
        stored.map_err(AuthorizationError::write)?;
        let before = old.map_or(issued_before, |old| issued_before.max(old));
        self.snapshot.users.insert(user.as_str(), before);
        Ok(())
    }

    /// Forgets revocations of tokens that expired; returns how many.
    pub(super) fn purge(&mut self, now: i64) -> Result<usize, AuthorizationError> {
        let expired = now.saturating_sub(EXPIRY_GRACE_SECONDS);
        let purged = self.store.purge(expired).map_err(AuthorizationError::write)?;
        purged.iter().for_each(|jti| self.snapshot.tokens.remove(jti));
        let forgotten = self.store.purge_erased(now).map_err(AuthorizationError::write)?;
        if forgotten {
            self.refresh_erased()?;
        }
        Ok(purged.len() + usize::from(forgotten))
    }

    fn refresh_roles(&mut self, user: &CallerId) -> Result<(), AuthorizationError> {
        let stored = self.roles_of(user)?.unwrap_or_default();
        let roles: Vec<String> = stored.into_iter().map(|assignment| assignment.role).collect();
        self.snapshot.roles.insert(user.as_str(), roles.into());
        Ok(())
    }
}
