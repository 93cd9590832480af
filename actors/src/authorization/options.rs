//! What an operator can set about authorization. Read by the face from `authorization.*`.

use serde::{Deserialize, Serialize};

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
    /// How often revocations of expired tokens are dropped, in seconds.
    pub purge_period_seconds: u64,
}

impl Default for AuthorizationOptions {
    fn default() -> Self {
        Self {
            mailbox: 256,
            users_max: 100_000,
            revoked_tokens_max: 100_000,
            purge_period_seconds: 60,
        }
    }
}
