//! Distinct identifiers are distinct types: a session id never stands where a caller id belongs.
//!
//! Each is parsed once at the border and trusted afterwards.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Longest accepted identifier, in bytes. Long enough for e-mail addresses and SPIFFE ids.
pub const ID_BYTES_MAX: usize = 256;

/// Why a text is not an identifier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{kind} must be 1 to {ID_BYTES_MAX} bytes of printable text without spaces at either end")]
pub struct InvalidId {
    kind: &'static str,
}

macro_rules! string_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(std::sync::Arc<str>);

        impl $name {
            /// Parses the text; refuses empty, oversized and unprintable ones.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let printable = !text.chars().any(char::is_control);
                if text.is_empty() || text.len() > ID_BYTES_MAX || text.trim() != text || !printable {
                    return Err(InvalidId { kind: $kind });
                }
                Ok(Self(text.into()))
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

string_id!(
    /// Who calls: the verified `sub` of a token.
    CallerId, "caller id");
string_id!(
    /// A legacy MCP session, minted by us.
    SessionId, "session id");
string_id!(
    /// A tool's name as clients call it.
    ToolName, "tool name");

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(uuid::Uuid);

        impl $name {
            /// A new identifier, ordered by time (UUIDv7, RFC 9562 §5.7).
            #[allow(clippy::new_without_default, reason = "every new id differs: it is no default")]
            pub fn new() -> Self {
                Self(uuid::Uuid::now_v7())
            }

            /// The raw identifier.
            pub fn as_uuid(&self) -> uuid::Uuid {
                self.0
            }
        }

        impl From<uuid::Uuid> for $name {
            fn from(id: uuid::Uuid) -> Self {
                Self(id)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

uuid_id!(
    /// One accepted `tools/call`, whatever the transport; ties intent, outcome and trace together.
    CallId);
uuid_id!(
    /// One event of the audit.
    EventId);
uuid_id!(
    /// One run in the cell.
    ExecutionId);
uuid_id!(
    /// One job of the queue.
    JobId);
uuid_id!(
    /// One schedule that makes jobs.
    ScheduleId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_refuse_what_would_hide_in_a_log_line() {
        for bad in ["", " a", "a ", "a\nb", "\u{7}", &"x".repeat(ID_BYTES_MAX + 1)] {
            assert!(CallerId::parse(bad).is_err(), "{bad:?} was accepted");
        }
        assert_eq!(CallerId::parse("ada@example.org").unwrap().as_str(), "ada@example.org");
    }
}
