//! Making a backup. Called by `ultimate-mcp backup`.

use std::fs::{self, File};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use chrono::{SecondsFormat, Utc};
use serde::Serialize;

use super::collect::{files, is_database, snapshot};
use super::error::BackupError;
use super::manifest::{AuditPoint, FORMAT, Item, Manifest};
use super::seal::BackupKey;
use super::target::Target;
use crate::audit::AuditKey;
use crate::engine::AUDIT_FILE;
use crate::graph::model::TransferReport;
use crate::hex;

/// Path of the exported graph among the items.
pub(super) const GRAPH_EXPORT: &str = "graph.jsonl";

/// What is backed up.
pub struct Source<'a> {
    /// The instance's data directory.
    pub data_dir: &'a Path,
    /// A folder for copies, on a disk with room for the largest database; emptied by its owner.
    pub scratch: &'a Path,
    /// The key of its audit.
    pub audit_key: &'a AuditKey,
    /// The exported graph with its report, if there is a graph.
    pub graph: Option<(PathBuf, TransferReport)>,
    /// The version that makes the backup.
    pub product: &'a str,
}

/// A backup that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Created {
    /// Which instance.
    pub instance: String,
    /// `<time>-<audit seq>`.
    pub id: String,
    /// How far its audit reaches.
    pub audit: AuditPoint,
    /// Files.
    pub files: usize,
    /// Bytes before sealing.
    pub bytes: u64,
}

/// Copies everything to the target. What fails half-way leaves objects without a manifest, which nobody
/// takes for a backup.
///
/// # Errors
/// [`BackupError`].
pub async fn create(
    source: &Source<'_>,
    key: &BackupKey,
    target: &Target,
) -> Result<Created, BackupError> {
    let created_at = Utc::now();
    let instance = hex::encode(&source.audit_key.id());
    let paths = files(source.data_dir)?;
    // The audit is copied last but its number names the backup, so the copies are made first.
    let mut copies = Vec::with_capacity(paths.len());
    for (number, path) in paths.into_iter().enumerate() {
        copies.push((copy_of(source, &path, number)?, path));
    }
    let audit_copy = source.scratch.join("audit.copy");
    snapshot(&source.data_dir.join(AUDIT_FILE), &audit_copy)?;
    let audit = audit_point(&audit_copy, source.audit_key)?;
    let id = format!("{}-{:012}", created_at.format("%Y%m%dT%H%M%S%3fZ"), audit.seq);

    let mut upload =
        Upload { root: format!("{instance}/backups/{id}"), key, target, items: vec![] };
    if let Some((exported, _)) = &source.graph {
        upload.add(exported, GRAPH_EXPORT).await?;
    }
    for (copy, path) in copies {
        let Some(copy) = copy else { continue };
        upload.add(&copy, &path.to_string_lossy()).await?;
    }
    upload.add(&audit_copy, AUDIT_FILE).await?;

    let manifest = Manifest {
        format: FORMAT,
        id,
        instance,
        created_at: created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        product: source.product.to_owned(),
        audit,
        graph: source.graph.as_ref().map(|(_, report)| report.clone()),
        items: upload.items,
    };
    let text = serde_json::to_vec(&manifest).expect("a manifest is plain data");
    let name = format!("{}/manifest", upload.root);
    target.put(key, &name, &mut Cursor::new(text)).await?;
    Ok(Created {
        files: manifest.items.len(),
        bytes: manifest.items.iter().map(|item| item.bytes).sum(),
        instance: manifest.instance,
        id: manifest.id,
        audit: manifest.audit,
    })
}

/// A copy that nobody changes any more; `None` when the file is gone (an artifact that expired).
fn copy_of(
    source: &Source<'_>,
    path: &Path,
    number: usize,
) -> Result<Option<PathBuf>, BackupError> {
    let from = source.data_dir.join(path);
    let copy = source.scratch.join(format!("{number}.copy"));
    if is_database(path) {
        snapshot(&from, &copy)?;
        return Ok(Some(copy));
    }
    match fs::copy(&from, &copy) {
        Ok(_) => Ok(Some(copy)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(BackupError::io("copy", &from)(error)),
    }
}

/// The authentic end of a copied audit.
pub(super) fn audit_point(path: &Path, key: &AuditKey) -> Result<AuditPoint, BackupError> {
    let (seq, hash) = crate::audit::end_of(path, key)?;
    Ok(AuditPoint { seq, hash: hex::encode(&hash) })
}

struct Upload<'a> {
    root: String,
    key: &'a BackupKey,
    target: &'a Target,
    items: Vec<Item>,
}

impl Upload<'_> {
    async fn add(&mut self, file: &Path, path: &str) -> Result<(), BackupError> {
        let object = format!("items/{}", self.items.len());
        let name = format!("{}/{object}", self.root);
        let mut source = File::open(file).map_err(BackupError::io("open", file))?;
        let passed = self.target.put(self.key, &name, &mut source).await?;
        let (bytes, sha256) = (passed.bytes, passed.sha256);
        self.items.push(Item { path: path.to_owned(), bytes, sha256, object });
        // Room for the next: scratch holds the copies of everything otherwise for as long.
        if file.extension().is_some_and(|extension| extension == "copy") {
            fs::remove_file(file).map_err(BackupError::io("remove", file))?;
        }
        Ok(())
    }
}
