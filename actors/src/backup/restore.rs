//! Restoring a backup, and proving one without restoring it. Called by `ultimate-mcp restore` and
//! `ultimate-mcp backup --verify`.
//!
//! Everything goes into a folder beside the data directory and takes its name at the very end: what was
//! interrupted is no data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::create::GRAPH_EXPORT;
use super::error::BackupError;
use super::manifest::{AuditPoint, Item, MANIFEST_BYTES_MAX, Manifest};
use super::seal::BackupKey;
use super::segment::{append, following};
use super::target::{Listed, Target, private_folder};
use crate::audit::{self, AuditKey};
use crate::engine::AUDIT_FILE;
use crate::graph::GraphStore;
use crate::graph::model::ImportMode;
use crate::hex;

/// What to restore, and where to.
pub struct RestoreRequest<'a> {
    /// Which instance; may be left out when the target holds one only.
    pub instance: Option<&'a str>,
    /// Which backup; the newest (before `until`) when left out.
    pub id: Option<&'a str>,
    /// Restores the audit up to this moment; without it, as far as there are segments.
    pub until: Option<DateTime<Utc>>,
    /// The new data directory; must not exist or be empty.
    pub data_dir: &'a Path,
}

/// What was restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Which instance.
    pub instance: String,
    /// Which backup.
    pub id: String,
    /// When it was made.
    pub created_at: String,
    /// How far the restored audit reaches.
    pub audit: AuditPoint,
    /// Files.
    pub files: usize,
    /// Nodes of the graph.
    pub graph_nodes: u64,
}

/// Restores a backup into a new data directory and the graph of `open_graph`, which gets the directory
/// the graph's file belongs into. `audit_key` reads the audit's key out of the restored files.
///
/// # Errors
/// [`BackupError`]; nothing is left behind then, except in a graph outside the data directory.
pub async fn restore(
    request: &RestoreRequest<'_>,
    key: &BackupKey,
    target: &Target,
    audit_key: impl FnOnce(&Path) -> Result<AuditKey, BackupError>,
    open_graph: impl FnOnce(&Path) -> Result<Box<dyn GraphStore>, BackupError>,
) -> Result<Restored, BackupError> {
    if occupied(request.data_dir)? {
        return Err(BackupError::Occupied { path: request.data_dir.to_owned() });
    }
    let chosen = choose(request, target).await?;
    let manifest = manifest(&chosen, key, target).await?;
    let mut staging = Staging::beside(request.data_dir)?;
    for item in &manifest.items {
        fetch(&manifest, item, key, target, Some(&staging.path)).await?;
    }
    let audit_key = audit_key(&staging.path)?;
    let audit = restore_audit(request, &manifest, &staging.path, &audit_key, key, target).await?;
    let exported = staging.path.join(GRAPH_EXPORT);
    let mut graph_nodes = 0;
    if let Some(report) = &manifest.graph {
        let graph = open_graph(&staging.path)?;
        let source = File::open(&exported).map_err(BackupError::io("open", &exported))?;
        let source = Box::new(BufReader::new(source));
        let imported = graph.import(source, ImportMode::IntoEmpty).await?;
        if imported.sha256 != report.sha256 {
            return Err(BackupError::damaged(GRAPH_EXPORT, "the graph is not what was exported"));
        }
        graph_nodes = imported.nodes;
        fs::remove_file(&exported).map_err(BackupError::io("remove", &exported))?;
    }
    staging.take_the_place_of(request.data_dir)?;
    Ok(Restored {
        instance: manifest.instance,
        id: manifest.id,
        created_at: manifest.created_at,
        audit,
        files: manifest.items.len(),
        graph_nodes,
    })
}

/// Reads every object of a backup and compares it with the manifest, keeping nothing.
///
/// # Errors
/// [`BackupError`].
pub async fn verify(
    listed: &Listed,
    key: &BackupKey,
    target: &Target,
) -> Result<Manifest, BackupError> {
    let manifest = manifest(listed, key, target).await?;
    for item in &manifest.items {
        fetch(&manifest, item, key, target, None).await?;
    }
    Ok(manifest)
}

/// The backup the request means.
async fn choose(request: &RestoreRequest<'_>, target: &Target) -> Result<Listed, BackupError> {
    let all = target.list().await?;
    let none = |text: String| Err(BackupError::NotFound(text));
    let mut instances: Vec<&str> = all.iter().map(|listed| listed.instance.as_str()).collect();
    instances.dedup();
    let instance = match (request.instance, instances.as_slice()) {
        (Some(wanted), _) => wanted,
        (None, [only]) => only,
        (None, []) => return none("the target holds no complete backup".to_owned()),
        (None, many) => {
            return none(format!(
                "the target holds several instances, name one: {}",
                many.join(", ")
            ));
        }
    };
    let until = request.until.map(|until| until.format("%Y%m%dT%H%M%S%3fZ").to_string());
    let fits = |listed: &&Listed| {
        listed.instance == instance
            && request.id.is_none_or(|id| listed.id == id)
            && until.as_ref().is_none_or(|until| listed.id.as_str() <= until.as_str())
    };
    match all.iter().rfind(fits) {
        Some(found) => Ok(found.clone()),
        None => none("no complete backup fits what was asked for; see `backup --list`".to_owned()),
    }
}

async fn manifest(
    listed: &Listed,
    key: &BackupKey,
    target: &Target,
) -> Result<Manifest, BackupError> {
    let name = format!("{}/backups/{}/manifest", listed.instance, listed.id);
    let mut text = Bounded { held: Vec::new(), most: MANIFEST_BYTES_MAX };
    target.get(key, &name, &mut text).await?;
    let manifest = Manifest::parse(&name, &text.held)?;
    if manifest.instance != listed.instance || manifest.id != listed.id {
        return Err(BackupError::damaged(name, "it belongs to another backup"));
    }
    Ok(manifest)
}

/// Memory that does not grow without end.
struct Bounded {
    held: Vec<u8>,
    most: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.held.len() + bytes.len() > self.most {
            return Err(io::Error::other("it is larger than any manifest"));
        }
        self.held.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens one object, into its file below `into` or nowhere, and compares it with the manifest.
async fn fetch(
    manifest: &Manifest,
    item: &Item,
    key: &BackupKey,
    target: &Target,
    into: Option<&Path>,
) -> Result<(), BackupError> {
    let name = format!("{}/backups/{}/{}", manifest.instance, manifest.id, item.object);
    let passed = match into {
        None => target.get(key, &name, &mut io::sink()).await?,
        Some(dir) => {
            let path = dir.join(below(&item.path)?);
            if let Some(parent) = path.parent() {
                private_folder(parent).map_err(BackupError::io("create", parent))?;
            }
            let mut options = OpenOptions::new();
            let file = options.write(true).create_new(true).mode(0o600).open(&path);
            let mut file = file.map_err(BackupError::io("create", &path))?;
            let passed = target.get(key, &name, &mut file).await?;
            file.sync_all().map_err(BackupError::io("write", &path))?;
            passed
        }
    };
    if (passed.bytes, &passed.sha256) != (item.bytes, &item.sha256) {
        return Err(BackupError::damaged(&item.path, "its content is not what was backed up"));
    }
    Ok(())
}

/// A path that stays below the directory it is joined to: the manifest is authentic, but whoever has the
/// key must not thereby write anywhere.
fn below(path: &str) -> Result<PathBuf, BackupError> {
    let path = PathBuf::from(path);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !plain || path.as_os_str().is_empty() {
        let shown = path.display().to_string();
        return Err(BackupError::damaged(shown, "it would be written outside the directory"));
    }
    Ok(path)
}

/// Continues the restored audit by segments, signs its end and proves all of it.
async fn restore_audit(
    request: &RestoreRequest<'_>,
    manifest: &Manifest,
    dir: &Path,
    audit_key: &AuditKey,
    key: &BackupKey,
    target: &Target,
) -> Result<AuditPoint, BackupError> {
    let path = dir.join(AUDIT_FILE);
    let damaged = |problem: String| BackupError::damaged(AUDIT_FILE, problem);
    let (seq, hash) = audit::end_of(&path, audit_key)?;
    if (seq, hex::encode(&hash)) != (manifest.audit.seq, manifest.audit.hash.clone()) {
        return Err(damaged("its end is not where the manifest says".to_owned()));
    }
    let segment = dir.join("segment.copy");
    for (name, _, _) in following(target, &manifest.instance, seq).await? {
        let mut file = File::create(&segment).map_err(BackupError::io("create", &segment))?;
        target.get(key, &name, &mut file).await?;
        drop(file);
        let until_us = request.until.map(|until| until.timestamp_micros());
        let whole = append(&path, &segment, until_us)?;
        fs::remove_file(&segment).map_err(BackupError::io("remove", &segment))?;
        if !whole {
            break;
        }
    }
    let (seq, hash) = audit::adopt(&path, audit_key)?;
    let report = audit::verify(&path, audit_key)?;
    if let Some(broken) = &report.broken {
        return Err(damaged(format!("the restored chain is broken at event {}", broken.seq)));
    }
    Ok(AuditPoint { seq, hash: hex::encode(&hash) })
}

fn occupied(dir: &Path) -> Result<bool, BackupError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(BackupError::io("read", dir)(error)),
    }
}

/// The folder in which an instance is put together; removed unless it takes its place.
struct Staging {
    path: PathBuf,
    kept: bool,
}

impl Staging {
    fn beside(dir: &Path) -> Result<Self, BackupError> {
        let mut name = dir.as_os_str().to_owned();
        name.push(format!(".restoring-{}", std::process::id()));
        let path = PathBuf::from(name);
        private_folder(&path).map_err(BackupError::io("create", &path))?;
        Ok(Self { path, kept: false })
    }

    fn take_the_place_of(&mut self, dir: &Path) -> Result<(), BackupError> {
        // An empty directory gives way to the rename (rename(2)).
        fs::rename(&self.path, dir).map_err(BackupError::io("create", dir))?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing better can be done about a folder that will not go.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_of_a_manifest_leads_outside() {
        assert_eq!(below("keys/audit.key").unwrap(), PathBuf::from("keys/audit.key"));
        for bad in ["", "/etc/passwd", "../x", "a/../../x", "."] {
            assert!(below(bad).is_err(), "{bad}");
        }
    }
}
