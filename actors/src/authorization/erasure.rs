//! What an erased user's name means for facts: those about the user go, on every node and in Redis, and
//! those that name the user as their author name nobody.
//!
//! An erasure is a fact of its own that holds only a hash of the name, so it can go where the name must
//! not be. It outranks every fact about the user from before it: a node that was away cannot bring the
//! name back.

use std::collections::HashMap;

use super::bans::Ban;
use super::entry::{Entry, RoleEntry};
use super::snapshot::{NameHash, name_hash};
use crate::hex;

/// What stands in the place of an erased user's name.
pub(super) const ERASED: &str = "[erased]";

/// What becomes of a fact.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It stays as it is.
    Stays(Entry),
    /// It stays without its author's name.
    Loses(Entry),
    /// It goes.
    Goes,
}

/// Erased users: hash of the name → when, in milliseconds since the epoch.
#[derive(Debug, Default)]
pub(super) struct Erasures(HashMap<String, i64>);

impl Erasures {
    /// From facts of all kinds.
    pub(super) fn of<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> Self {
        let mut erased = HashMap::new();
        for entry in entries {
            if let Entry::Erase { name_hash, erased_ms, .. } = entry {
                let when: &mut i64 = erased.entry(name_hash.clone()).or_default();
                *when = (*when).max(*erased_ms);
            }
        }
        Self(erased)
    }

    /// When the user was erased, in milliseconds; 0 = never, as far as is remembered.
    pub(super) fn of_user(&self, user: &str) -> i64 {
        match self.0.is_empty() {
            true => 0,
            false => self.0.get(&hash_text(user)).copied().unwrap_or(0),
        }
    }

    /// What becomes of a fact.
    pub(super) fn fate(&self, entry: Entry) -> Fate {
        if self.0.is_empty() {
            return Fate::Stays(entry);
        }
        let gone = match &entry {
            Entry::Role(RoleEntry { user, changed_ms, .. }) => *changed_ms <= self.of_user(user),
            Entry::User { user, issued_before } => {
                issued_before.saturating_mul(1000) <= self.of_user(user)
            }
            Entry::Token { .. } | Entry::Ban(_) | Entry::Lift { .. } | Entry::Erase { .. } => false,
        };
        if gone {
            return Fate::Goes;
        }
        match author(&entry).is_some_and(|author| self.of_user(author) > 0) {
            true => Fate::Loses(anonymous(entry)),
            false => Fate::Stays(entry),
        }
    }
}

fn author(entry: &Entry) -> Option<&str> {
    match entry {
        Entry::Role(RoleEntry { granted_by: by, .. })
        | Entry::Ban(Ban { by, .. })
        | Entry::Lift { by, .. } => Some(by),
        Entry::Token { .. } | Entry::User { .. } | Entry::Erase { .. } => None,
    }
}

fn anonymous(mut entry: Entry) -> Entry {
    match &mut entry {
        Entry::Role(RoleEntry { granted_by: by, .. })
        | Entry::Ban(Ban { by, .. })
        | Entry::Lift { by, .. } => ERASED.clone_into(by),
        Entry::Token { .. } | Entry::User { .. } | Entry::Erase { .. } => {}
    }
    entry
}

/// The hash of a name, in hexadecimal.
pub(super) fn hash_text(user: &str) -> String {
    hex::encode(&name_hash(user))
}

/// The hash from its text.
pub(super) fn hash_of(text: &str) -> Option<NameHash> {
    hex::decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_read_as_it_was_written() {
        assert_eq!(hash_of(&hash_text("ada")), Some(name_hash("ada")));
        assert_eq!(hash_of("zz"), None);
        assert_eq!(hash_of(&"é".repeat(32)), None);
    }

    #[test]
    fn facts_from_before_an_erasure_go_and_later_ones_stay() {
        let name_hash = hash_text("ada");
        let erase = Entry::Erase { name_hash, issued_before: 5, erased_ms: 5000, until: 9 };
        let erasures = Erasures::of([&erase]);
        let user = |user: &str, issued_before| Entry::User { user: user.into(), issued_before };
        assert_eq!(erasures.fate(user("ada", 5)), Fate::Goes);
        assert_eq!(erasures.fate(user("ada", 6)), Fate::Stays(user("ada", 6)));
        assert_eq!(erasures.fate(user("bob", 5)), Fate::Stays(user("bob", 5)));
        let lift = |by: &str| Entry::Lift {
            id: uuid::Uuid::nil(),
            by: by.into(),
            lifted_at: 1,
            expires_at: None,
        };
        assert_eq!(erasures.fate(lift("ada")), Fate::Loses(lift(ERASED)));
    }
}
