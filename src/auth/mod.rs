//! Authentication: from a bearer token to a [`Caller`].

mod caller;

pub use caller::Caller;
