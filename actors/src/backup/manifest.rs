//! What a backup holds: sealed like its files, and written last.

use serde::{Deserialize, Serialize};

use super::error::BackupError;
use crate::graph::model::TransferReport;

/// The layout this code writes; readers refuse any other.
pub(super) const FORMAT: u32 = 1;

/// A manifest of more bytes than this is not ours.
pub(super) const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// How far the audit reaches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditPoint {
    /// Number of the last event; 0 when there is none.
    pub seq: i64,
    /// Its hash, in hexadecimal.
    pub hash: String,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Path below the data directory.
    pub path: String,
    /// Bytes before sealing.
    pub bytes: u64,
    /// SHA-256 before sealing, in hexadecimal.
    pub sha256: String,
    /// Name of the object below the backup.
    pub object: String,
}

/// Everything about one backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Layout.
    pub format: u32,
    /// `<time>-<audit seq>`.
    pub id: String,
    /// Which instance: the id of its audit key.
    pub instance: String,
    /// When it began, RFC 3339 in UTC.
    pub created_at: String,
    /// The version that wrote it.
    pub product: String,
    /// How far its audit reaches.
    pub audit: AuditPoint,
    /// The graph in it, when there is one.
    pub graph: Option<TransferReport>,
    /// Its files.
    pub items: Vec<Item>,
}

impl Manifest {
    pub(super) fn parse(name: &str, text: &[u8]) -> Result<Self, BackupError> {
        let value: serde_json::Value = serde_json::from_slice(text)
            .map_err(|error| BackupError::damaged(name, error.to_string()))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        if format != Some(FORMAT.into()) {
            let problem = format!("its format is {format:?}, this version reads {FORMAT}");
            return Err(BackupError::damaged(name, problem));
        }
        serde_json::from_value(value).map_err(|error| BackupError::damaged(name, error.to_string()))
    }
}
