//! What an operator can set about authorization. Read by the face from `authorization.*`.

use serde::{Deserialize, Serialize};

use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Settings of the authorization store; the policy itself is a file of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizationOptions {
    /// Changes in flight before callers are told `Overloaded`. Decisions do not pass through here.
    pub mailbox: usize,
    /// Most users the store knows, revoked ones included, 1 to 1000000.
    pub users_max: usize,
    /// Most tokens revoked one by one and not yet expired; beyond it, revoke by user.
    pub revoked_tokens_max: usize,
    /// Most bans that hold at once.
    pub bans_max: usize,
    /// How often revocations of expired tokens are dropped, in seconds.
    pub purge_period_seconds: u64,
}

impl Default for AuthorizationOptions {
    fn default() -> Self {
        Self {
            mailbox: 256,
            users_max: 100_000,
            revoked_tokens_max: 100_000,
            bans_max: 10_000,
            purge_period_seconds: 60,
        }
    }
}

impl AuthorizationOptions {
    /// Every value out of range, with its key below `authorization`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        mistakes([
            ("mailbox", self.mailbox as u64, 1..=65_536),
            ("users_max", self.users_max as u64, 1..=1_000_000),
            ("revoked_tokens_max", self.revoked_tokens_max as u64, 1..=10_000_000),
            ("bans_max", self.bans_max as u64, 1..=1_000_000),
            ("purge_period_seconds", self.purge_period_seconds, 1..=86_400),
        ])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_unknown_keys_are_refused() {
        assert_eq!(AuthorizationOptions::default().mistakes(), []);
        let unknown = serde_json::from_str::<AuthorizationOptions>(r#"{ "mailboxes": 1 }"#);
        assert!(unknown.unwrap_err().to_string().contains("mailboxes"));
        let zero: AuthorizationOptions = serde_json::from_str(r#"{ "mailbox": 0 }"#).unwrap();
        let mistakes = zero.mistakes();
        assert_eq!((mistakes.len(), mistakes[0].key.as_str()), (1, "mailbox"));
    }
}
