//! Where backups are kept: a folder, or a prefix in an S3 bucket; both through the crate `object_store`.
//!
//! Credentials of S3 come from the environment (`AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, …), never
//! from the configuration. Refuses what is neither. Every request has a time limit and a few retries.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Name;
use object_store::prefix::PrefixStore;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig, WriteMultipart};

use super::error::BackupError;
use super::seal::{BackupKey, Opener, Passed, Sealer};

/// One request to S3, and all its retries.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const RETRY_TIMEOUT: Duration = Duration::from_secs(120);
const RETRIES_MAX: usize = 4;
/// Parts of one object on their way at once: bounds the memory of an upload to about 40 MiB.
const PARTS_IN_FLIGHT: usize = 4;
/// Bytes read from a file at once.
const READ_BYTES: usize = 256 * 1024;
/// Objects listed at most: more are not ours.
const LISTED_MAX: usize = 1_000_000;

/// What a target needs beside its name.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// An S3 service other than Amazon's, e.g. `http://127.0.0.1:9000`.
    pub endpoint: Option<String>,
    /// Its region.
    pub region: Option<String>,
}

/// A backup in the target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct Listed {
    /// Which instance.
    pub instance: String,
    /// `<time>-<audit seq>`.
    pub id: String,
}

/// Where backups are kept.
#[derive(Clone)]
pub struct Target {
    store: Arc<dyn ObjectStore>,
}

impl Target {
    /// Opens a folder (created when missing) or `s3://BUCKET/PREFIX`.
    ///
    /// # Errors
    /// [`BackupError::BadTarget`].
    pub fn open(given: &str, options: &TargetOptions) -> Result<Self, BackupError> {
        let bad = |problem: String| BackupError::BadTarget { given: given.to_owned(), problem };
        let store: Arc<dyn ObjectStore> = match given.split_once("://") {
            Some(("s3", rest)) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let store = s3(bucket, options).map_err(|error| bad(error.to_string()))?;
                Arc::new(PrefixStore::new(store, Name::from(prefix)))
            }
            Some((scheme, _)) => return Err(bad(format!("`{scheme}` is no kind of target"))),
            None if given.is_empty() => return Err(bad("it is empty".to_owned())),
            None => {
                let folder = PathBuf::from(given);
                private_folder(&folder).map_err(|error| bad(error.to_string()))?;
                let store = LocalFileSystem::new_with_prefix(&folder);
                // A backup that is acknowledged is on the disk.
                Arc::new(store.map_err(|error| bad(error.to_string()))?.with_fsync(true))
            }
        };
        Ok(Self { store })
    }

    /// Every complete backup, oldest first per instance.
    ///
    /// # Errors
    /// The target.
    pub async fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let mut found = Vec::new();
        for name in self.names("").await? {
            let parts: Vec<&str> = name.split('/').collect();
            if let [instance, "backups", id, "manifest"] = parts[..] {
                found.push(Listed { instance: instance.to_owned(), id: id.to_owned() });
            }
        }
        found.sort();
        Ok(found)
    }

    /// Names of all objects below `prefix`.
    pub(super) async fn names(&self, prefix: &str) -> Result<Vec<String>, BackupError> {
        let below = Name::from(prefix);
        let listed = self.store.list(Some(&below)).take(LISTED_MAX);
        let objects: Vec<_> = listed.try_collect().await.map_err(failed("list", prefix))?;
        Ok(objects.into_iter().map(|object| object.location.to_string()).collect())
    }

    /// Seals everything that `source` gives under this name; it is there as a whole or not at all.
    pub(super) async fn put(
        &self,
        key: &BackupKey,
        name: &str,
        source: &mut dyn Read,
    ) -> Result<Passed, BackupError> {
        let place = Name::from(name);
        let upload = self.store.put_multipart(&place).await.map_err(failed("write", name))?;
        let mut upload = WriteMultipart::new(upload);
        let sealed = async {
            let (mut buffer, mut out) = (vec![0; READ_BYTES], Vec::new());
            let mut sealer = Sealer::new(key, name, &mut out);
            let too_large = |_| BackupError::damaged(name, "it is too large for one object");
            loop {
                let read = source.read(&mut buffer);
                let read = read.map_err(BackupError::io("read", Path::new(name)))?;
                if read == 0 {
                    break;
                }
                sealer.push(&buffer[..read], &mut out).map_err(too_large)?;
                upload.wait_for_capacity(PARTS_IN_FLIGHT).await.map_err(failed("write", name))?;
                upload.write(&out);
                out.clear();
            }
            let passed = sealer.finish(&mut out).map_err(too_large)?;
            upload.write(&out);
            Ok(passed)
        };
        match sealed.await {
            Ok(passed) => {
                upload.finish().await.map_err(failed("write", name))?;
                Ok(passed)
            }
            Err(error) => {
                // What was sent of it is of no use; the first error is the one to report.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Opens the object of this name into `sink`.
    pub(super) async fn get(
        &self,
        key: &BackupKey,
        name: &str,
        sink: &mut dyn Write,
    ) -> Result<Passed, BackupError> {
        let does_not_open = |_| BackupError::Sealed { name: name.to_owned() };
        let object = self.store.get(&Name::from(name)).await.map_err(failed("read", name))?;
        let mut pieces = object.into_stream();
        let (mut opener, mut out) = (Opener::new(key, name), Vec::new());
        let unwritable = || BackupError::io("write", Path::new(name));
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(failed("read", name))?;
            opener.push(&piece, &mut out).map_err(does_not_open)?;
            sink.write_all(&out).map_err(unwritable())?;
            out.clear();
        }
        let passed = opener.finish(&mut out).map_err(does_not_open)?;
        sink.write_all(&out).map_err(unwritable())?;
        Ok(passed)
    }
}

fn s3(bucket: &str, options: &TargetOptions) -> object_store::Result<impl ObjectStore> {
    let client = ClientOptions::new().with_timeout(REQUEST_TIMEOUT).with_allow_http(true);
    let retry = RetryConfig {
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
        ..RetryConfig::default()
    };
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket);
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    if let Some(region) = &options.region {
        builder = builder.with_region(region);
    }
    builder.with_client_options(client).with_retry(retry).build()
}

/// Makes a folder, and those above it, which nobody but us may enter.
pub(super) fn private_folder(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn failed(action: &'static str, name: &str) -> impl FnOnce(object_store::Error) -> BackupError {
    let name = name.to_owned();
    move |source| BackupError::Target { action, name, source }
}
