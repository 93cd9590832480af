//! A handle names a thing that lives on one node: `<kind>_<node>_<uuid>`, e.g. `sbx_eu-1_018f…`.
//!
//! The node in it is an address, not a right: the node that is asked still checks whose thing it is.

use std::fmt;

use uuid::Uuid;

use super::id::NodeId;

/// Where a thing lives and which one it is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// The kind, e.g. `sbx`; lower-case letters.
    pub kind: &'static str,
    /// The node it lives on.
    pub node: NodeId,
    /// Which one.
    pub id: Uuid,
}

/// Why a text is no handle of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a handle: expected {kind}_<node>_<uuid>")]
pub struct InvalidHandle {
    kind: &'static str,
}

impl Handle {
    /// Reads a handle of this kind.
    ///
    /// # Errors
    /// Another kind, or no handle at all.
    pub fn parse(kind: &'static str, text: &str) -> Result<Self, InvalidHandle> {
        let parsed = text.strip_prefix(kind).and_then(|rest| {
            let (node, id) = rest.strip_prefix('_')?.split_once('_')?;
            // The canonical form only: one thing has one name in logs and quotas.
            let id = (id.len() == uuid::fmt::Hyphenated::LENGTH).then(|| Uuid::parse_str(id))?;
            Some(Self { kind, node: NodeId::parse(node).ok()?, id: id.ok()? })
        });
        parsed.ok_or(InvalidHandle { kind })
    }

    /// The node in a handle of whatever kind; `None` when the text is no handle.
    pub fn node_of(text: &str) -> Option<NodeId> {
        let (kind, rest) = text.split_once('_')?;
        let (node, id) = rest.split_once('_')?;
        let kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase());
        let id = id.len() == uuid::fmt::Hyphenated::LENGTH && Uuid::parse_str(id).is_ok();
        (kind && id).then(|| NodeId::parse(node).ok()).flatten()
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}_{}_{}", self.kind, self.node, self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_read_as_it_was_written() {
        let node = NodeId::parse("eu-1").unwrap();
        let handle = Handle { kind: "sbx", node: node.clone(), id: Uuid::new_v4() };
        let text = handle.to_string();
        assert_eq!(Handle::parse("sbx", &text), Ok(handle));
        assert_eq!(Handle::node_of(&text), Some(node));
        assert!(Handle::parse("art", &text).is_err());
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        let id = Uuid::new_v4();
        let bad = [
            String::new(),
            "sbx".into(),
            format!("sbx_{id}"),
            format!("sbx__{id}"),
            format!("sbx_EU_{id}"),
            format!("sbx_a_{}", id.simple()),
            format!("sbx_a_{id}x"),
            format!("sbx_a_b_{id}"),
            format!("sbx_a/../b_{id}"),
        ];
        for text in bad {
            assert!(Handle::parse("sbx", &text).is_err(), "{text}");
            assert_eq!(Handle::node_of(&text), None, "{text}");
        }
    }
}
