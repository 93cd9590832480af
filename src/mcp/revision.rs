//! The revisions of MCP that are spoken here, and what differs between them.

use std::fmt;

/// A revision, ordered by date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Revision {
    /// Sessions, batches, no structured results.
    V2025_03_26,
    /// Sessions, structured results.
    V2025_06_18,
    /// Sessions, JSON Schema 2020-12 by default.
    V2025_11_25,
    /// Stateless; metadata in every request.
    V2026_07_28,
}

impl Revision {
    /// Every revision, newest first, as `server/discover` reports them.
    pub const ALL: [Revision; 4] = [
        Revision::V2026_07_28,
        Revision::V2025_11_25,
        Revision::V2025_06_18,
        Revision::V2025_03_26,
    ];

    /// What `initialize` offers when the client asks for something else.
    pub const LATEST_LEGACY: Revision = Revision::V2025_11_25;

    /// The revision of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    /// The legacy revision of this name.
    pub fn parse_legacy(text: &str) -> Option<Self> {
        Self::parse(text).filter(|revision| !revision.is_modern())
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Revision::V2025_03_26 => "2025-03-26",
            Revision::V2025_06_18 => "2025-06-18",
            Revision::V2025_11_25 => "2025-11-25",
            Revision::V2026_07_28 => "2026-07-28",
        }
    }

    /// Stateless, with metadata in every request.
    pub fn is_modern(self) -> bool {
        self == Revision::V2026_07_28
    }

    /// Whether results may carry `structuredContent`, tools `title` and `outputSchema`.
    pub fn has_structured_results(self) -> bool {
        self >= Revision::V2025_06_18
    }

    /// Whether a body may be an array of messages.
    pub fn has_batches(self) -> bool {
        self == Revision::V2025_03_26
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_revision_is_found_by_its_name_and_the_modern_one_is_not_legacy() {
        for revision in Revision::ALL {
            assert_eq!(Revision::parse(revision.as_str()), Some(revision));
            assert_eq!(Revision::parse_legacy(revision.as_str()).is_none(), revision.is_modern());
        }
        assert_eq!(Revision::parse("2024-11-05"), None);
        assert!(Revision::ALL.is_sorted_by(|newer, older| newer > older));
    }
}
