//! One fact that nodes agree on: a role given or taken, a revocation, a ban, the end of a ban, an
//! erasure.
//!
//! Facts merge without coordination: of two about the same thing the one of greater rank holds, on every
//! node and in whatever order they arrive. Ranks are made so that revocations and bans only ever grow
//! stronger and roles follow the last who changed them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::bans::Ban;
use crate::node::NodeId;

/// How long a fact outlives its use: verifiers grant a leeway on the expiry, clocks differ.
pub(super) const EXPIRY_GRACE_SECONDS: i64 = 3600;

/// A fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Entry {
    Role(RoleEntry),
    /// Void until it expires by itself; the later expiry holds.
    Token {
        jti: String,
        expires_at: i64,
        /// Tells apart who revoked it first: of two nodes that exchange a token, one did.
        claim: Uuid,
    },
    /// Tokens issued at or before this second are void; the later second holds.
    User {
        user: String,
        issued_before: i64,
    },
    /// Never changed once made.
    Ban(Ban),
    /// The end of one ban, never undone: who is to be banned again gets a new ban.
    Lift {
        id: Uuid,
        by: String,
        lifted_at: i64,
        /// When the ban ends by itself.
        expires_at: Option<i64>,
    },
    /// A user is forgotten; see [`super::erasure`].
    Erase {
        /// SHA-256 of the name, in hexadecimal.
        name_hash: String,
        /// Tokens issued at or before this second are void.
        issued_before: i64,
        /// Facts about the user from until then go.
        erased_ms: i64,
        /// When the last of the tokens has expired.
        until: i64,
    },
}

/// Whether a user holds a role; the last change holds, by its time and, at the same time, by its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RoleEntry {
    pub user: String,
    pub role: String,
    pub granted_by: String,
    /// Seconds since the epoch.
    pub granted_at: i64,
    /// Milliseconds since the epoch, later than every change its author knew of.
    pub changed_ms: i64,
    pub node: NodeId,
    /// A tombstone: without it a node that was away would bring the role back.
    pub removed: bool,
}

impl Entry {
    /// What it is about; facts about the same thing have the same.
    pub(super) fn field(&self) -> String {
        match self {
            // Identifiers hold no control characters, so this cannot be read two ways.
            Self::Role(entry) => format!("role:{}\u{1f}{}", entry.user, entry.role),
            Self::Token { jti, .. } => format!("token:{jti}"),
            Self::User { user, .. } => format!("user:{user}"),
            Self::Ban(ban) => format!("ban:{}", ban.id),
            Self::Lift { id, .. } => format!("lift:{id}"),
            Self::Erase { name_hash, .. } => format!("erase:{name_hash}"),
        }
    }

    /// Compared as text; equal ranks are the same fact.
    pub(super) fn rank(&self) -> String {
        match self {
            Self::Role(RoleEntry { changed_ms, node, removed, .. }) => {
                format!("{:020}:{node}:{}", changed_ms.max(&0), u8::from(*removed))
            }
            Self::Token { expires_at: second, .. } | Self::User { issued_before: second, .. } => {
                format!("{:020}", second.max(&0))
            }
            Self::Erase { erased_ms, .. } => format!("{:020}", erased_ms.max(&0)),
            Self::Ban(_) | Self::Lift { .. } => "0".to_owned(),
        }
    }

    /// Whether it has done its work and may be forgotten everywhere.
    pub(super) fn is_over(&self, now: i64) -> bool {
        let passed = |second: i64| second.saturating_add(EXPIRY_GRACE_SECONDS) < now;
        match self {
            Self::Token { expires_at, .. } => passed(*expires_at),
            Self::Ban(ban) => ban.expires_at.is_some_and(passed),
            Self::Lift { expires_at, .. } => expires_at.is_some_and(passed),
            // Its end has its grace in it.
            Self::Erase { until, .. } => *until < now,
            Self::Role(_) | Self::User { .. } => false,
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a fact is plain data with string keys")
    }

    /// `None` when it is not one this version knows: a newer node's business.
    pub(super) fn from_json(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::bans::BanSubject;
    use super::*;

    fn role(changed_ms: i64, node: &str, removed: bool) -> Entry {
        Entry::Role(RoleEntry {
            user: "ada".into(),
            role: "admin".into(),
            granted_by: "root".into(),
            granted_at: 1,
            changed_ms,
            node: NodeId::parse(node).unwrap(),
            removed,
        })
    }

    #[test]
    fn the_last_change_of_a_role_holds_and_at_the_same_time_a_removal() {
        assert!(role(2, "a", false).rank() > role(1, "z", true).rank());
        assert!(role(10, "a", false).rank() > role(9, "a", false).rank());
        assert!(role(1, "b", false).rank() > role(1, "a", true).rank());
        assert!(role(1, "a", true).rank() > role(1, "a", false).rank());
    }

    #[test]
    fn a_revocation_only_grows_stronger() {
        let user = |issued_before| Entry::User { user: "ada".into(), issued_before };
        assert!(user(1_900_000_000).rank() > user(999_999_999).rank());
        let token = |expires_at| Entry::Token { jti: "t".into(), expires_at, claim: Uuid::nil() };
        assert!(token(10).rank() > token(9).rank());
        assert!(token(10).rank() > token(-5).rank());
    }

    #[test]
    fn a_fact_is_read_as_it_was_written_and_an_unknown_one_is_left_alone() {
        let id = Uuid::new_v4();
        let subject = BanSubject::parse_network("192.0.2.0/24").unwrap();
        let ban = Ban {
            id,
            subject,
            reason: "abuse".into(),
            by: "root".into(),
            created_at: 1,
            expires_at: None,
        };
        let lift = Entry::Lift { id, by: "root".into(), lifted_at: 2, expires_at: Some(3) };
        for entry in [role(1, "a", true), Entry::Ban(ban), lift] {
            assert_eq!(Entry::from_json(&entry.to_json()), Some(entry));
        }
        assert_eq!(Entry::from_json(r#"{"kind":"oracle"}"#), None);
    }
}
