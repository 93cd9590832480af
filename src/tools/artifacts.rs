//! Artifacts: files that runs left in `out/`, kept for a while for the caller who made them.
//!
//! Owns `<data-dir>/artifacts`: `blobs/<sha256>` holds each content once (mode 0600), `index/<id>.json`
//! says whose it is. Called by the tools that run code and by the download route. Refuses to hand an
//! artifact to anybody but its owner (as *not found*, so that existence does not leak), and to grow
//! beyond its bounds: a caller over quota loses that caller's oldest artifacts, never another's.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_actors::node::{Handle, NodeId};
use uuid::Uuid;

/// The kind in an artifact's [`Handle`].
pub const HANDLE_KIND: &str = "art";

/// Prefix of every artifact's URI; its handle follows.
pub const URI_PREFIX: &str = "resource://ultimate-mcp/artifacts/";

/// Bounds of the store.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArtifactOptions {
    /// How long an artifact is kept, in seconds.
    pub ttl_seconds: u64,
    /// Most bytes of all callers together.
    pub bytes_max: u64,
    /// Most bytes of one caller.
    pub caller_bytes_max: u64,
    /// Most artifacts of one caller.
    pub caller_count_max: usize,
}

impl Default for ArtifactOptions {
    fn default() -> Self {
        Self {
            ttl_seconds: 24 * 3600,
            bytes_max: 1 << 30,
            caller_bytes_max: 128 << 20,
            caller_count_max: 1000,
        }
    }
}

/// What is known of an artifact besides its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRecord {
    /// Unguessable (UUIDv4).
    pub id: Uuid,
    /// Who made it.
    pub owner: CallerId,
    /// The run that made it.
    pub execution_id: String,
    /// Path relative to `out/`.
    pub name: String,
    /// Lower-case hexadecimal SHA-256 of the content.
    pub sha256: String,
    /// Bytes of content.
    pub size_bytes: u64,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// Milliseconds since the epoch; from then on it does not exist.
    pub expires_ms: u64,
}

/// Why an artifact was not stored or opened.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// No such artifact, it expired, or it is somebody else's.
    #[error("no such artifact; artifacts expire and belong to who made them")]
    NotFound,
    /// It cannot fit, whatever is removed.
    #[error("the artifact holds {size} bytes; a caller may keep {allowed} in all")]
    TooLarge {
        /// Bytes of content.
        size: u64,
        /// Bytes allowed.
        allowed: u64,
    },
    /// The artifacts of all callers fill the store.
    #[error("the artifact store is full; older artifacts expire with time")]
    Full,
    /// The disk failed.
    #[error("the artifact store failed while it was to {doing}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl Classify for ArtifactError {
    fn kind(&self) -> Kind {
        match self {
            ArtifactError::NotFound => Kind::NotFound,
            ArtifactError::TooLarge { .. } => Kind::InvalidInput,
            ArtifactError::Full => Kind::Unavailable,
            ArtifactError::Io { .. } => Kind::Internal,
        }
    }
}

fn failed(doing: &'static str) -> impl FnOnce(io::Error) -> ArtifactError {
    move |source| ArtifactError::Io { doing, source }
}

/// A cheap handle to the store. Its methods block on the disk: call them off the arbiter
/// (`tokio::task::spawn_blocking`).
#[derive(Clone)]
pub struct ArtifactStore {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    node: NodeId,
    options: ArtifactOptions,
    index: Mutex<Index>,
}

/// The records, and how often each blob is referred to. Rebuilt from disk at start.
#[derive(Default)]
struct Index {
    records: HashMap<Uuid, ArtifactRecord>,
    /// Per caller in the order of making; UUIDs break ties.
    by_owner: HashMap<CallerId, BTreeMap<(u64, Uuid), u64>>,
    blob_uses: HashMap<String, usize>,
    bytes: u64,
}

impl Index {
    fn add(&mut self, record: ArtifactRecord) {
        self.bytes += record.size_bytes;
        *self.blob_uses.entry(record.sha256.clone()).or_default() += 1;
        let owned = self.by_owner.entry(record.owner.clone()).or_default();
        owned.insert((record.created_ms, record.id), record.size_bytes);
        self.records.insert(record.id, record);
    }

    /// Forgets a record; returns it and whether its blob is no longer used.
    fn remove(&mut self, id: Uuid) -> Option<(ArtifactRecord, bool)> {
        let record = self.records.remove(&id)?;
        self.bytes -= record.size_bytes;
        if let Some(owned) = self.by_owner.get_mut(&record.owner) {
            owned.remove(&(record.created_ms, id));
            if owned.is_empty() {
                self.by_owner.remove(&record.owner);
            }
        }
        let uses = self.blob_uses.get_mut(&record.sha256)?;
        *uses -= 1;
        let orphaned = *uses == 0;
        if orphaned {
            self.blob_uses.remove(&record.sha256);
        }
        Some((record, orphaned))
    }

    fn owned(&self, owner: &CallerId) -> (usize, u64) {
        self.by_owner.get(owner).map_or((0, 0), |owned| (owned.len(), owned.values().sum()))
    }

    fn oldest_of(&self, owner: &CallerId) -> Option<Uuid> {
        self.by_owner.get(owner)?.keys().next().map(|(_, id)| *id)
    }
}

impl ArtifactStore {
    /// Opens the store beneath `data_dir`, dropping what expired or is damaged.
    pub fn open_in(
        data_dir: &Path,
        node: NodeId,
        options: ArtifactOptions,
    ) -> Result<Self, ArtifactError> {
        let folder = data_dir.join("artifacts");
        for part in ["blobs", "index"] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder.join(part))
                .map_err(failed("make its folders"))?;
        }
        let mut index = Index::default();
        let listing = fs::read_dir(folder.join("index")).map_err(failed("list its index"))?;
        for entry in listing {
            let path = entry.map_err(failed("list its index"))?.path();
            let record = fs::read(&path).ok().and_then(|text| {
                let record: ArtifactRecord = serde_json::from_slice(&text).ok()?;
                let blob = fs::metadata(folder.join("blobs").join(&record.sha256)).ok()?;
                (blob.len() == record.size_bytes && record.expires_ms > now_ms()).then_some(record)
            });
            match record {
                Some(record) => index.add(record),
                None => fs::remove_file(&path).map_err(failed("drop a stale record"))?,
            }
        }
        let blobs = fs::read_dir(folder.join("blobs")).map_err(failed("list its blobs"))?;
        for entry in blobs {
            let entry = entry.map_err(failed("list its blobs"))?;
            if !index.blob_uses.contains_key(entry.file_name().to_string_lossy().as_ref()) {
                fs::remove_file(entry.path()).map_err(failed("drop a stale blob"))?;
            }
        }
        Ok(Self { shared: Arc::new(Shared { folder, node, options, index: Mutex::new(index) }) })
    }

    /// The URI under which clients read an artifact, on any node.
    pub fn uri(&self, record: &ArtifactRecord) -> String {
        let handle = Handle { kind: HANDLE_KIND, node: self.shared.node.clone(), id: record.id };
        format!("{URI_PREFIX}{handle}")
    }

    /// Keeps a file for its owner and returns its record.
    pub fn put(
        &self,
        owner: &CallerId,
        execution_id: &str,
        name: &str,
        content: &[u8],
    ) -> Result<ArtifactRecord, ArtifactError> {
        let options = &self.shared.options;
        let size = content.len() as u64;
        let allowed = options.caller_bytes_max.min(options.bytes_max);
        if size > allowed {
            return Err(ArtifactError::TooLarge { size, allowed });
        }
        let created_ms = now_ms();
        let record = ArtifactRecord {
            id: Uuid::new_v4(),
            owner: owner.clone(),
            execution_id: execution_id.to_owned(),
            name: name.to_owned(),
            sha256: super::hash::sha256_hex(content),
            size_bytes: size,
            created_ms,
            expires_ms: created_ms + options.ttl_seconds * 1000,
        };
        // The lock is held over the writes: a blob must not be dropped between write and count.
        let mut index = self.lock();
        self.expire(&mut index, created_ms)?;
        loop {
            let (count, bytes) = index.owned(owner);
            if count < options.caller_count_max && bytes + size <= options.caller_bytes_max {
                break;
            }
            let Some(oldest) = index.oldest_of(owner) else { break };
            self.drop_one(&mut index, oldest)?;
        }
        if index.bytes + size > options.bytes_max {
            return Err(ArtifactError::Full);
        }
        if !index.blob_uses.contains_key(&record.sha256) {
            write_private(&self.blob_path(&record.sha256), content)
                .map_err(failed("write a blob"))?;
        }
        let text = serde_json::to_vec(&record).expect("a record is plain data with string keys");
        write_private(&self.record_path(record.id), &text).map_err(failed("write a record"))?;
        index.add(record.clone());
        Ok(record)
    }

    /// The record and content of an artifact of this caller.
    pub fn open(
        &self,
        caller: &CallerId,
        id: Uuid,
    ) -> Result<(ArtifactRecord, Vec<u8>), ArtifactError> {
        let record = self.record(caller, id)?;
        match fs::read(self.blob_path(&record.sha256)) {
            Ok(content) => Ok((record, content)),
            // Evicted since the lock was given back.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ArtifactError::NotFound),
            Err(error) => Err(failed("read a blob")(error)),
        }
    }

    /// What is known of an artifact of this caller. Does not touch the disk.
    pub fn record(&self, caller: &CallerId, id: Uuid) -> Result<ArtifactRecord, ArtifactError> {
        let record = self.lock().records.get(&id).cloned().ok_or(ArtifactError::NotFound)?;
        match &record.owner == caller && record.expires_ms > now_ms() {
            true => Ok(record),
            false => Err(ArtifactError::NotFound),
        }
    }

    /// The artifacts of this caller that have not expired, oldest first. Does not touch the disk.
    pub fn list_of(&self, owner: &CallerId) -> Vec<ArtifactRecord> {
        let (index, now) = (self.lock(), now_ms());
        let owned = index.by_owner.get(owner).into_iter().flat_map(|owned| owned.keys());
        let records = owned.filter_map(|(_, id)| index.records.get(id));
        records.filter(|record| record.expires_ms > now).cloned().collect()
    }

    /// Drops every artifact of this caller; returns how many there were.
    pub fn drop_all_of(&self, owner: &CallerId) -> Result<usize, ArtifactError> {
        let mut index = self.lock();
        let mut dropped = 0;
        while let Some(oldest) = index.oldest_of(owner) {
            self.drop_one(&mut index, oldest)?;
            dropped += 1;
        }
        Ok(dropped)
    }

    /// Drops what expired; returns how many artifacts remain. Also done by every [`Self::put`].
    pub fn sweep(&self) -> Result<usize, ArtifactError> {
        let mut index = self.lock();
        self.expire(&mut index, now_ms())?;
        Ok(index.records.len())
    }

    fn expire(&self, index: &mut Index, now: u64) -> Result<(), ArtifactError> {
        let expired: Vec<Uuid> =
            index.records.values().filter(|r| r.expires_ms <= now).map(|r| r.id).collect();
        expired.into_iter().try_for_each(|id| self.drop_one(index, id))
    }

    fn drop_one(&self, index: &mut Index, id: Uuid) -> Result<(), ArtifactError> {
        let Some((record, orphaned)) = index.remove(id) else { return Ok(()) };
        remove_if_there(&self.record_path(id)).map_err(failed("drop a record"))?;
        if orphaned {
            remove_if_there(&self.blob_path(&record.sha256)).map_err(failed("drop a blob"))?;
        }
        Ok(())
    }

    fn blob_path(&self, sha256: &str) -> PathBuf {
        self.shared.folder.join("blobs").join(sha256)
    }

    fn record_path(&self, id: Uuid) -> PathBuf {
        self.shared.folder.join("index").join(format!("{id}.json"))
    }

    /// A panic while the lock was held cannot leave the index half changed in a way that matters:
    /// the worst is a record without a file, which [`Self::open`] answers with *not found*.
    fn lock(&self) -> MutexGuard<'_, Index> {
        self.shared.index.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Writes a file whole or not at all, readable by the server's user only.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.draft", Uuid::new_v4()));
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(content))
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        remove_if_there(&draft)?;
    }
    written
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| span.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn who(name: &str) -> CallerId {
        CallerId::parse(name).unwrap()
    }

    fn here() -> NodeId {
        NodeId::parse("here").unwrap()
    }

    fn store(options: ArtifactOptions) -> (tempfile::TempDir, ArtifactStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = ArtifactStore::open_in(folder.path(), here(), options).unwrap();
        (folder, store)
    }

    #[test]
    fn an_artifact_belongs_to_who_made_it_and_survives_a_restart() {
        let (folder, store) = store(ArtifactOptions::default());
        let record = store.put(&who("ada"), "run-1", "plot.png", b"\x89PNG").unwrap();
        assert_eq!(store.uri(&record), format!("{URI_PREFIX}art_here_{}", record.id));
        for store in
            [store, ArtifactStore::open_in(folder.path(), here(), Default::default()).unwrap()]
        {
            assert_eq!(
                store.open(&who("ada"), record.id).unwrap(),
                (record.clone(), b"\x89PNG".into())
            );
            let error = store.open(&who("eve"), record.id).unwrap_err();
            assert!(matches!(error, ArtifactError::NotFound));
        }
    }

    #[test]
    fn contents_are_stored_once_and_readable_by_the_server_only() {
        let (folder, store) = store(ArtifactOptions::default());
        let first = store.put(&who("ada"), "1", "a", b"same").unwrap();
        let second = store.put(&who("eve"), "2", "b", b"same").unwrap();
        assert_ne!(first.id, second.id);
        let blobs: Vec<_> = fs::read_dir(folder.path().join("artifacts/blobs")).unwrap().collect();
        assert_eq!(blobs.len(), 1);
        let blob = blobs.into_iter().next().unwrap().unwrap();
        assert_eq!(blob.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_caller_over_quota_loses_their_own_oldest_and_nobody_elses() {
        let options = ArtifactOptions { caller_bytes_max: 10, ..Default::default() };
        let (_folder, store) = store(options);
        let other = store.put(&who("eve"), "0", "x", b"12345678").unwrap();
        let first = store.put(&who("ada"), "1", "a", b"123456").unwrap();
        let second = store.put(&who("ada"), "2", "b", b"abcdef").unwrap();
        assert!(store.open(&who("ada"), first.id).is_err());
        assert!(store.open(&who("ada"), second.id).is_ok());
        assert!(store.open(&who("eve"), other.id).is_ok());
        let error = store.put(&who("ada"), "3", "c", b"12345678901").unwrap_err();
        assert!(matches!(error, ArtifactError::TooLarge { size: 11, allowed: 10 }));
        assert!(store.open(&who("ada"), second.id).is_ok());
    }

    #[test]
    fn an_erased_callers_artifacts_are_gone_and_nobody_elses() {
        let (folder, store) = store(ArtifactOptions::default());
        let other = store.put(&who("eve"), "0", "x", b"shared").unwrap();
        for content in [&b"shared"[..], b"own"] {
            store.put(&who("ada"), "1", "a", content).unwrap();
        }
        assert_eq!(store.drop_all_of(&who("ada")).unwrap(), 2);
        assert_eq!(store.drop_all_of(&who("ada")).unwrap(), 0);
        assert!(store.open(&who("eve"), other.id).is_ok());
        assert_eq!(fs::read_dir(folder.path().join("artifacts/blobs")).unwrap().count(), 1);
    }

    #[test]
    fn a_full_store_refuses_rather_than_evict_other_callers() {
        let options = ArtifactOptions { bytes_max: 10, ..Default::default() };
        let (_folder, store) = store(options);
        let kept = store.put(&who("eve"), "0", "x", b"12345678").unwrap();
        assert!(matches!(store.put(&who("ada"), "1", "a", b"123"), Err(ArtifactError::Full)));
        assert!(store.open(&who("eve"), kept.id).is_ok());
    }

    #[test]
    fn what_expired_is_gone_from_disk_and_shared_blobs_stay_while_used() {
        let (folder, store) = store(ArtifactOptions { ttl_seconds: 0, ..Default::default() });
        let record = store.put(&who("ada"), "1", "a", b"same").unwrap();
        assert!(matches!(store.open(&who("ada"), record.id), Err(ArtifactError::NotFound)));
        assert_eq!(store.sweep().unwrap(), 0);
        for part in ["blobs", "index"] {
            let left = fs::read_dir(folder.path().join("artifacts").join(part)).unwrap().count();
            assert_eq!(left, 0, "{part}");
        }
    }

    #[test]
    fn damaged_records_and_stray_blobs_are_dropped_at_start() {
        let (folder, store) = store(ArtifactOptions::default());
        let kept = store.put(&who("ada"), "1", "a", b"kept").unwrap();
        let lost = store.put(&who("ada"), "1", "b", b"lost").unwrap();
        let root = folder.path().join("artifacts");
        fs::write(root.join("blobs").join(&lost.sha256), b"shorter or longer").unwrap();
        fs::write(root.join("blobs/stray.draft"), b"x").unwrap();
        fs::write(root.join("index/junk.json"), b"{").unwrap();
        let store =
            ArtifactStore::open_in(folder.path(), here(), ArtifactOptions::default()).unwrap();
        assert!(store.open(&who("ada"), kept.id).is_ok());
        assert!(store.open(&who("ada"), lost.id).is_err());
        assert_eq!(fs::read_dir(root.join("blobs")).unwrap().count(), 1);
        assert_eq!(fs::read_dir(root.join("index")).unwrap().count(), 1);
    }
}
