//! What the server keeps in its data directory, and the keys in it. Nobody else may read any of it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use ultimate_mcp_actors::audit::AuditKey;
use ultimate_mcp_actors::authorization::Policy;
use ultimate_mcp_actors::jobs::{JobsError, JobsOptions, Sealer};
use ultimate_mcp_actors::node::{ClusterSecret, NodeError, NodeId};

use crate::auth::key_file::{self, KeyFileError};
use crate::auth::{KeyError, KeyRing};
use crate::config::{Config, ConfigError};

/// Where a running server says how to reach it, below the data directory; for the command line.
pub const URL_FILE: &str = "server.url";

/// Why the data directory, a key or the policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The directory.
    #[error("cannot create the data directory {path}: {source}; choose another with --data-dir")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A key file.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Configured keys.
    #[error("{}", list(.0))]
    Keys(Vec<KeyError>),
    /// The node's id or the cluster's secret.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The keys of jobs.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// The policy cannot be read or is wrong.
    #[error(transparent)]
    Policy(#[from] ConfigError),
}

fn list(errors: &[KeyError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// The data directory, ready, with the keys and the policy.
pub struct DataFiles {
    /// The directory, absolute.
    pub dir: PathBuf,
    /// Keys that tokens are verified with.
    pub keys: KeyRing,
    /// The key of the audit's chain.
    pub audit_key: AuditKey,
    /// Roles, permissions, limits.
    pub policy: Policy,
    /// Which node this is.
    pub node: NodeId,
    /// What the nodes of the cluster share, if this one takes part.
    pub cluster_secret: Option<ClusterSecret>,
    /// The keys that seal jobs.
    pub jobs_sealer: Sealer,
}

impl DataFiles {
    /// Creates what is missing (mode 0700 and 0600) and reads the rest; the policy was read before.
    ///
    /// # Errors
    /// Anything that cannot be created, read or trusted, with the remedy.
    pub fn prepare(config: &Config, policy: Policy) -> Result<Self, FilesError> {
        let dir = private_data_dir(&config.data_dir)?;
        Ok(Self {
            keys: KeyRing::load(&config.auth, &dir).map_err(FilesError::Keys)?,
            audit_key: audit_key(&dir)?,
            policy,
            node: NodeId::load_or_create(&config.node.id, &dir)?,
            cluster_secret: match config.node.secret_file.as_str() {
                "" => None,
                file => Some(ClusterSecret::read(Path::new(file))?),
            },
            jobs_sealer: jobs_sealer(&config.jobs, &dir)?,
            dir,
        })
    }
}

impl DataFiles {
    /// Notes down where the server listens, for the owner's eyes only.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn announce(&self, url: &str) -> io::Result<Announcement> {
        let path = self.dir.join(URL_FILE);
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        io::Write::write_all(&mut file, url.as_bytes())?;
        Ok(Announcement(path))
    }
}

/// The note with the server's address; goes with the server.
pub struct Announcement(PathBuf);

impl Drop for Announcement {
    fn drop(&mut self) {
        // A note that stays names a server that does not answer; that is said to whoever tries.
        let _ = fs::remove_file(&self.0);
    }
}

/// The audit's key, created on first use.
///
/// # Errors
/// The file cannot be created, or others can read it.
pub fn audit_key(dir: &Path) -> Result<AuditKey, FilesError> {
    let key = key_file::load_or_create(dir, key_file::AUDIT_KEY)?;
    Ok(AuditKey::from_bytes(key.expose_secret()))
}

/// The configured key, or the instance's own, and those before it.
fn jobs_sealer(options: &JobsOptions, dir: &Path) -> Result<Sealer, FilesError> {
    let first = match &options.secret_file {
        Some(path) => key_file::load(path)?,
        None => key_file::load_or_create(dir, key_file::JOBS_KEY)?,
    };
    let mut keys = vec![*first.expose_secret()];
    for path in &options.previous_secret_files {
        keys.push(*key_file::load(path)?.expose_secret());
    }
    Ok(Sealer::new(keys)?)
}

/// The data directory, made if it is missing, for the owner's eyes only.
///
/// # Errors
/// It cannot be created.
pub fn private_data_dir(path: &Path) -> Result<PathBuf, FilesError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.and_then(|()| path.canonicalize())
        .map_err(|source| FilesError::Directory { path: path.to_owned(), source })
}
