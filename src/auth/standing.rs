//! What authentication asks of the authorization snapshot.

use std::sync::Arc;

use ultimate_mcp_actors::authorization::Snapshot;
use ultimate_mcp_actors::ids::CallerId;

/// How a user stands with this server now: revocations and roles in force.
pub trait Standing {
    /// Whether the token of that `jti` was revoked, or all tokens of the user issued until `iat`
    /// (seconds since the epoch) or later.
    fn is_revoked(&self, jti: Option<&str>, user: &CallerId, iat: i64) -> bool;

    /// Roles in force for a user whose token claims `token_roles`: combined with stored ones as
    /// policy says, without those the policy does not know.
    fn effective_roles(&self, user: &CallerId, token_roles: &[String]) -> Arc<[String]>;
}

impl Standing for Snapshot {
    fn is_revoked(&self, jti: Option<&str>, user: &CallerId, iat: i64) -> bool {
        Snapshot::is_revoked(self, jti, user, Some(iat))
    }

    fn effective_roles(&self, user: &CallerId, token_roles: &[String]) -> Arc<[String]> {
        Snapshot::effective_roles(self, user, token_roles)
    }
}
