//! Bans: who is refused whatever their token says, by user or by network, for a while or until lifted.
//!
//! A ban is never changed, only lifted, and each has an id of its own: so nodes that were apart agree
//! without asking which came first, and lifting an old ban cannot undo a new one.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::entry::Entry;
use crate::ids::CallerId;
use crate::network::{InvalidNetwork, Network, NetworkMap};

/// Longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 512;

/// Who is banned.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BanSubject {
    /// Whoever shows a token of this user.
    UserId(CallerId),
    /// Whoever calls from there.
    Network(Network),
}

impl BanSubject {
    /// A network from its text.
    ///
    /// # Errors
    /// Not a network.
    pub fn parse_network(text: &str) -> Result<Self, InvalidNetwork> {
        Network::parse(text).map(Self::Network)
    }
}

impl std::fmt::Display for BanSubject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::UserId(user) => write!(f, "user:{user}"),
            Self::Network(network) => write!(f, "network:{network}"),
        }
    }
}

/// A ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Names it.
    pub id: Uuid,
    /// Who is banned.
    #[serde(flatten)]
    pub subject: BanSubject,
    /// Why; the banned are told.
    pub reason: String,
    /// Who banned them.
    pub by: String,
    /// Since when, in seconds since the epoch.
    pub created_at: i64,
    /// Until when, in seconds since the epoch; `None` = until lifted.
    pub expires_at: Option<i64>,
}

impl Ban {
    /// Whether it still holds.
    pub fn holds(&self, now: i64) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}

/// The bans that were made and not lifted, ready to be asked.
#[derive(Debug, Default)]
pub(super) struct BanSet {
    bans: Vec<Arc<Ban>>,
    users: HashMap<CallerId, Vec<Arc<Ban>>>,
    networks: NetworkMap<Vec<Arc<Ban>>>,
}

impl BanSet {
    /// From facts in whatever order.
    pub(super) fn of(entries: impl IntoIterator<Item = Entry>) -> Self {
        let (mut bans, mut lifted) = (Vec::new(), HashSet::new());
        for entry in entries {
            match entry {
                Entry::Ban(ban) => bans.push(Arc::new(ban)),
                Entry::Lift { id, .. } => drop(lifted.insert(id)),
                Entry::Role(_) | Entry::Token { .. } | Entry::User { .. } | Entry::Erase { .. } => {
                }
            }
        }
        bans.retain(|ban| !lifted.contains(&ban.id));
        bans.sort_by_key(|ban| (ban.created_at, ban.id));
        let mut set = Self::default();
        for ban in &bans {
            match &ban.subject {
                BanSubject::UserId(user) => {
                    set.users.entry(user.clone()).or_default().push(ban.clone());
                }
                BanSubject::Network(network) => {
                    set.networks.entry(*network).or_default().push(ban.clone());
                }
            }
        }
        set.bans = bans;
        set
    }

    pub(super) fn all(&self) -> &[Arc<Ban>] {
        &self.bans
    }

    pub(super) fn of_user(&self, user: &CallerId, now: i64) -> Option<&Arc<Ban>> {
        self.users.get(user)?.iter().find(|ban| ban.holds(now))
    }

    pub(super) fn of_address(&self, address: IpAddr, now: i64) -> Option<&Arc<Ban>> {
        if self.bans.is_empty() {
            return None;
        }
        self.networks.holding(address).flatten().find(|ban| ban.holds(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(subject: BanSubject, expires_at: Option<i64>) -> Ban {
        let (reason, by) = (String::new(), String::new());
        Ban { id: Uuid::new_v4(), subject, reason, by, created_at: 0, expires_at }
    }

    #[test]
    fn a_ban_holds_until_it_expires_or_is_lifted_and_lifting_one_leaves_the_other() {
        let user = CallerId::parse("eve").unwrap();
        let subject = BanSubject::UserId(user.clone());
        let (first, second) = (ban(subject.clone(), None), ban(subject, Some(100)));
        let lift = Entry::Lift { id: first.id, by: "root".into(), lifted_at: 5, expires_at: None };
        let set = BanSet::of([lift, Entry::Ban(first), Entry::Ban(second.clone())]);
        assert_eq!(set.of_user(&user, 99).map(|ban| ban.id), Some(second.id));
        assert!(set.of_user(&user, 100).is_none());
        assert!(set.of_user(&CallerId::parse("ada").unwrap(), 1).is_none());
    }

    #[test]
    fn an_address_is_banned_with_its_network() {
        let subject = BanSubject::parse_network("2001:db8::/32").unwrap();
        let set = BanSet::of([Entry::Ban(ban(subject, None))]);
        assert!(set.of_address("2001:db8::1".parse().unwrap(), 1).is_some());
        assert!(set.of_address("2001:db9::1".parse().unwrap(), 1).is_none());
    }
}
