//! Who is calling: proof that a token was verified.

use std::sync::Arc;

use ultimate_mcp_actors::ids::CallerId;

/// A verified caller. Only [`crate::auth`] can make one (the fields are private to it), so a function
/// that takes a `Caller` needs no further check that somebody authenticated.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(in crate::auth) id: CallerId,
    /// Roles in force: token and stored roles combined as policy says.
    pub(in crate::auth) roles: Arc<[String]>,
    pub(in crate::auth) token_id: Option<Arc<str>>,
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
}

#[cfg(test)]
impl Caller {
    /// A caller nobody verified, for unit tests.
    pub(crate) fn for_tests(id: &str) -> Self {
        let id = CallerId::parse(id).expect("tests use valid ids");
        Self { id, roles: Arc::new([]), token_id: None, expires_at: i64::MAX }
    }

    /// The same with these roles in force.
    pub(crate) fn with_roles(mut self, roles: &[&str]) -> Self {
        self.roles = roles.iter().map(|role| (*role).to_owned()).collect();
        self
    }
}
