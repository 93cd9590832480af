//! Authentication: from a bearer token to a [`Caller`], and tokens of our own.
//!
//! Transports call [`bearer`], then [`Authenticator::verify`]; nothing else makes a [`Caller`].
//! Keys are pinned to algorithms ([`KeyRing`]); the instance's own secrets live in [`key_file`].

mod authenticator;
mod bearer;
mod caller;
mod claims;
mod error;
mod issue;
pub mod issuers;
pub mod key_file;
mod keys;
mod remembered;
mod standing;
#[cfg(test)]
mod tests;

pub use authenticator::Authenticator;
pub use bearer::bearer;
pub use caller::Caller;
pub use claims::{RESERVED, ROLE_BYTES_MAX, ROLES_MAX, is_role};
pub use error::AuthError;
pub use issue::{IssueError, IssueRequest, Issued, Refreshed};
pub use keys::{KeyError, KeyRing};
pub use standing::Standing;
