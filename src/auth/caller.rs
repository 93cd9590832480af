//! Who is calling: proof that a token was verified.

use std::sync::Arc;

use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_actors::jobs::Identity;

use super::{AuthError, Standing};

/// A verified caller. Only [`crate::auth`] can make one (the fields are private to it), so a function
/// that takes a `Caller` needs no further check that somebody authenticated.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(in crate::auth) id: CallerId,
    /// Roles in force: token and stored roles combined as policy says.
    pub(in crate::auth) roles: Arc<[String]>,
    pub(in crate::auth) token_id: Option<Arc<str>>,
    /// Roles the token claims.
    pub(in crate::auth) token_roles: Arc<[String]>,
    /// `iat`, in seconds since the epoch.
    pub(in crate::auth) issued_at: i64,
    /// Seconds since the epoch.
    pub(in crate::auth) expires_at: i64,
}

impl Caller {
    /// The verified `sub`.
    pub fn id(&self) -> &CallerId {
        &self.id
    }

    /// Roles in force, sorted; empty when none was granted.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// The token's `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// From when on the token is refused: its `exp` and the leeway for clocks, in seconds since the
    /// epoch. A revocation must be kept until then.
    pub fn expires_at(&self) -> i64 {
        self.expires_at
    }

    /// What is stored with work that this caller leaves for later.
    pub fn identity(&self) -> Identity {
        Identity {
            caller: self.id.clone(),
            roles: self.token_roles.to_vec(),
            token_id: self.token_id.as_deref().map(str::to_owned),
            issued_at: self.issued_at,
        }
    }

    /// The caller of work left for later: proved by its token then, with the rights it has now. That
    /// the token has expired meanwhile does not matter; that it was revoked does.
    ///
    /// # Errors
    /// The token, or all of the user's, were revoked.
    pub fn resume(identity: &Identity, standing: &impl Standing) -> Result<Self, AuthError> {
        let Identity { caller, roles, token_id, issued_at } = identity;
        if standing.is_revoked(token_id.as_deref(), caller, *issued_at) {
            return Err(AuthError::Revoked);
        }
        Ok(Self {
            id: caller.clone(),
            roles: standing.effective_roles(caller, roles),
            token_id: token_id.as_deref().map(Arc::from),
            token_roles: roles.as_slice().into(),
            issued_at: *issued_at,
            expires_at: i64::MAX,
        })
    }
}

#[cfg(test)]
impl Caller {
    /// A caller nobody verified, for unit tests.
    pub(crate) fn for_tests(id: &str) -> Self {
        let id = CallerId::parse(id).expect("tests use valid ids");
        let (roles, token_roles): (Arc<[String]>, Arc<[String]>) = (Arc::new([]), Arc::new([]));
        Self { id, roles, token_id: None, token_roles, issued_at: 0, expires_at: i64::MAX }
    }

    /// The same with these roles in force.
    pub(crate) fn with_roles(mut self, roles: &[&str]) -> Self {
        self.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self
    }
}
