//! The rules of changing roles, revocations and bans, and the snapshot that follows each change.
//!
//! Pure and synchronous; owned by [`super::actor::AuthorizationActor`]. Durable first, visible second.
//! Refuses roles the policy does not know, more than the bounds, the removal nobody could undo. *Who*
//! may change anything is the face's decision (`system:admin`).

use std::path::Path;
use std::sync::Arc;

use super::bans::{Ban, BanSubject, REASON_BYTES_MAX};
use super::entry::{EXPIRY_GRACE_SECONDS, Entry, RoleEntry};
use super::erasure::hash_text;
use super::error::AuthorizationError;
use super::options::AuthorizationOptions;
use super::permission::Permission;
use super::policy::{Combine, Policy};
use super::snapshot::Snapshot;
use super::store::{Assignment, Store};
use crate::ids::{CallerId, ID_BYTES_MAX};
use crate::node::NodeId;

/// Most stored roles of one user.
pub const ROLES_PER_USER_MAX: usize = 32;
/// Longest token id (`jti`) that can be revoked, in bytes.
pub const TOKEN_ID_BYTES_MAX: usize = ID_BYTES_MAX;

pub(super) struct Registry {
    store: Store,
    snapshot: Snapshot,
    options: AuthorizationOptions,
    node: NodeId,
    /// Facts made here since they were last asked for, for other nodes.
    news: Vec<Entry>,
}

impl Registry {
    pub(super) fn open(
        path: &Path,
        policy: Arc<Policy>,
        options: AuthorizationOptions,
        node: NodeId,
    ) -> Result<Self, AuthorizationError> {
        let store = Store::open(path, &node).map_err(AuthorizationError::open)?;
        let mut snapshot = Snapshot::empty(policy);
        store.load_into(&mut snapshot).map_err(AuthorizationError::open)?;
        Ok(Self { store, snapshot, options, node, news: Vec::new() })
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
        if has_it {
            return Ok(false);
        }
        let entry = RoleEntry {
            user: user.to_string(),
            role: role.to_owned(),
            granted_by: granted_by.to_string(),
            granted_at: now,
            changed_ms: 0,
            node: self.node.clone(),
            removed: false,
        };
        self.change_role(entry)
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
        let assignments = self.roles_of(user)?.unwrap_or_default();
        let Some(held) = assignments.into_iter().find(|held| held.role == role) else {
            return Ok(false);
        };
        self.change_role(RoleEntry {
            user: user.to_string(),
            role: held.role,
            granted_by: held.granted_by,
            granted_at: held.granted_at,
            changed_ms: 0,
            node: self.node.clone(),
            removed: true,
        })
    }

    /// Stamps the change later than the last one known: the order of what happened in sequence does not
    /// depend on the clocks of the nodes where it happened.
    fn change_role(&mut self, mut entry: RoleEntry) -> Result<bool, AuthorizationError> {
        let field = Entry::Role(entry.clone()).field();
        let known = match self.store.held(&field).map_err(AuthorizationError::open)? {
            Some(Entry::Role(known)) => known.changed_ms,
            _ => 0,
        };
        let erased = self.store.erasures().map_err(AuthorizationError::open)?;
        let known = known.max(erased.of_user(&entry.user));
        entry.changed_ms = chrono::Utc::now().timestamp_millis().max(known.saturating_add(1));
        self.make(Entry::Role(entry))?;
        Ok(true)
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
        let known = self.snapshot.roles.get(user.as_str()).is_some();
        self.make(Entry::Erase {
            name_hash: hash_text(user.as_str()),
            issued_before: now,
            erased_ms: chrono::Utc::now().timestamp_millis().max(now.saturating_mul(1000)),
            until: until.saturating_add(EXPIRY_GRACE_SECONDS),
        })?;
        Ok(known)
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
        let claim = uuid::Uuid::new_v4();
        self.make(Entry::Token { jti: jti.to_owned(), expires_at, claim })?;
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
        self.make(Entry::User { user: user.to_string(), issued_before })
    }

    /// Bans a user or a network.
    pub(super) fn ban(
        &mut self,
        subject: BanSubject,
        reason: String,
        by: &CallerId,
        expires_at: Option<i64>,
        now: i64,
    ) -> Result<Ban, AuthorizationError> {
        if reason.len() > REASON_BYTES_MAX || reason.chars().any(char::is_control) {
            return Err(AuthorizationError::BadReason(REASON_BYTES_MAX));
        }
        if expires_at.is_some_and(|end| end <= now) {
            return Err(AuthorizationError::BanInThePast);
        }
        if self.snapshot.bans.all().len() >= self.options.bans_max {
            self.purge(now)?;
        }
        if self.snapshot.bans.all().len() >= self.options.bans_max {
            return Err(AuthorizationError::TooManyBans(self.options.bans_max));
        }
        let id = uuid::Uuid::now_v7();
        let ban = Ban { id, subject, reason, by: by.to_string(), created_at: now, expires_at };
        self.make(Entry::Ban(ban.clone()))?;
        Ok(ban)
    }

    /// Lifts every ban on exactly this user or network; returns how many held.
    pub(super) fn lift(
        &mut self,
        subject: &BanSubject,
        by: &CallerId,
        now: i64,
    ) -> Result<usize, AuthorizationError> {
        let bans = self.snapshot.bans.clone();
        let of_subject = bans.all().iter().filter(|ban| ban.subject == *subject);
        let mut lifted = 0;
        for ban in of_subject {
            let by = by.to_string();
            let expires_at = ban.expires_at;
            self.make(Entry::Lift { id: ban.id, by, lifted_at: now, expires_at })?;
            lifted += usize::from(ban.holds(now));
        }
        Ok(lifted)
    }

    /// A fact of this node: durable, visible, and news for others.
    fn make(&mut self, entry: Entry) -> Result<(), AuthorizationError> {
        let taken = self.merge(vec![entry])?;
        self.news.extend(taken);
        Ok(())
    }

    /// Facts of other nodes, or of this one: those that outrank what is held become durable and visible.
    /// Bounds are not looked at: a revocation or ban made elsewhere holds here, however many there are.
    pub(super) fn merge(&mut self, entries: Vec<Entry>) -> Result<Vec<Entry>, AuthorizationError> {
        let taken = self.store.take(entries).map_err(AuthorizationError::write)?;
        if taken.iter().any(|entry| matches!(entry, Entry::Erase { .. })) {
            return self.reload().map(|()| taken);
        }
        let mut bans_changed = false;
        for entry in &taken {
            match entry {
                Entry::Role(entry) => {
                    let Ok(user) = CallerId::parse(&entry.user) else { continue };
                    self.refresh_roles(&user)?;
                }
                Entry::Token { jti, expires_at, .. } => {
                    self.snapshot.tokens.insert(jti, *expires_at)
                }
                Entry::User { user, issued_before } => {
                    self.snapshot.users.insert(user, *issued_before);
                }
                Entry::Ban(_) | Entry::Lift { .. } => bans_changed = true,
                Entry::Erase { .. } => {}
            }
        }
        if bans_changed {
            self.refresh_bans()?;
        }
        Ok(taken)
    }

    /// After an erasure, which may touch anything.
    fn reload(&mut self) -> Result<(), AuthorizationError> {
        let mut snapshot = Snapshot::empty(self.snapshot.policy.clone());
        self.store.load_into(&mut snapshot).map_err(AuthorizationError::open)?;
        self.snapshot = snapshot;
        Ok(())
    }

    /// What was made here since this was last asked.
    pub(super) fn take_news(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.news)
    }

    /// Every fact: field, rank, body.
    pub(super) fn ledger(&self) -> Result<Vec<(String, String, String)>, AuthorizationError> {
        self.store.ledger().map_err(AuthorizationError::open)
    }

    fn refresh_bans(&mut self) -> Result<(), AuthorizationError> {
        self.snapshot.bans = Arc::new(self.store.bans().map_err(AuthorizationError::open)?);
        Ok(())
    }

    /// Forgets bans and revocations of tokens that expired; returns how many.
    pub(super) fn purge(&mut self, now: i64) -> Result<usize, AuthorizationError> {
        let expired = now.saturating_sub(EXPIRY_GRACE_SECONDS);
        let purged = self.store.purge(expired).map_err(AuthorizationError::write)?;
        purged.iter().for_each(|jti| self.snapshot.tokens.remove(jti));
        let over = self.snapshot.bans.all().iter().filter(|ban| !ban.holds(expired)).count();
        if over > 0 {
            self.refresh_bans()?;
        }
        let forgotten = self.store.purge_erased(now).map_err(AuthorizationError::write)?;
        if forgotten {
            self.refresh_erased()?;
        }
        Ok(purged.len() + over + usize::from(forgotten))
    }

    fn refresh_roles(&mut self, user: &CallerId) -> Result<(), AuthorizationError> {
        let stored = self.roles_of(user)?.unwrap_or_default();
        let roles: Vec<String> = stored.into_iter().map(|assignment| assignment.role).collect();
        self.snapshot.roles.insert(user.as_str(), roles.into());
        Ok(())
    }
}
