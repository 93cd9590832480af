//! The id of a node: short, harmless in URLs, keys and log lines, and the same after a restart.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::error::NodeError;

/// The file below the data directory that keeps a generated id.
pub const NODE_ID_FILE: &str = "node.id";
/// Longest id, in bytes.
pub const NODE_ID_BYTES_MAX: usize = 32;
/// Characters of a generated id: 48 random bits, so that a thousand nodes meet with odds of 1 in 5·10⁸.
const GENERATED_CHARS: usize = 12;

/// Names one node; 1 to 32 of `a-z`, `0-9` and `-`. An underscore would end it inside a handle.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeId(Arc<str>);

/// Why a text is not a node's id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node id is 1 to {NODE_ID_BYTES_MAX} of a-z, 0-9 and -")]
pub struct InvalidNodeId;

impl NodeId {
    /// Parses the text.
    ///
    /// # Errors
    /// Empty, too long, or with other characters.
    pub fn parse(text: &str) -> Result<Self, InvalidNodeId> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        match (1..=NODE_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(plain) {
            true => Ok(Self(text.into())),
            false => Err(InvalidNodeId),
        }
    }

    /// A random one.
    pub fn random() -> Self {
        let hex = uuid::Uuid::new_v4().simple().to_string();
        Self(hex[..GENERATED_CHARS].into())
    }

    /// The configured id, or the one kept in the data directory, made on first use. Processes that
    /// start at once in one directory get the same: the file appears complete or not at all.
    ///
    /// # Errors
    /// The configured id or the kept one is none; the file cannot be written or read.
    pub fn load_or_create(configured: &str, data_dir: &Path) -> Result<Self, NodeError> {
        if !configured.is_empty() {
            return Ok(Self::parse(configured)?);
        }
        let path = data_dir.join(NODE_ID_FILE);
        let kept = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create(&path, &Self::random()).and_then(|()| fs::read_to_string(&path))
            }
            read => read,
        };
        let kept = kept.map_err(|source| NodeError::IdFile { path: path.clone(), source })?;
        Self::parse(kept.trim()).map_err(|_| NodeError::NotAnId(path))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn create(path: &Path, id: &NodeId) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.draft", uuid::Uuid::new_v4()));
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let linked = writeln!(file, "{id}")
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&draft, path));
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

impl TryFrom<String> for NodeId {
    type Error = InvalidNodeId;
    fn try_from(text: String) -> Result<Self, InvalidNodeId> {
        Self::parse(&text)
    }
}

impl From<NodeId> for String {
    fn from(id: NodeId) -> String {
        id.0.to_string()
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_the_id_it_made_at_its_first_start() {
        let data = tempfile::tempdir().unwrap();
        let first = NodeId::load_or_create("", data.path()).unwrap();
        assert_eq!(NodeId::load_or_create("", data.path()).unwrap(), first);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1, "a draft is left");
        let configured = NodeId::load_or_create("eu-1", data.path()).unwrap();
        assert_eq!(configured.as_str(), "eu-1");
    }

    #[test]
    fn what_is_no_id_is_refused_and_never_overwritten() {
        for bad in ["", "A", "a_b", "a b", "ä", &"a".repeat(33)] {
            assert!(NodeId::parse(bad).is_err(), "{bad:?}");
        }
        let data = tempfile::tempdir().unwrap();
        fs::write(data.path().join(NODE_ID_FILE), "not an id").unwrap();
        let error = NodeId::load_or_create("", data.path()).unwrap_err();
        assert!(matches!(error, NodeError::NotAnId(_)), "{error}");
        assert_eq!(fs::read_to_string(data.path().join(NODE_ID_FILE)).unwrap(), "not an id");
    }
}
