//! Secrets this instance makes for itself: generated once, kept in `data_dir/keys`, readable by
//! nobody else.
//!
//! The token key (`token.key`) signs and verifies tokens when the operator configured none; the
//! audit key (`audit.key`) seals the audit trail. Refuses a key file that others can read or that
//! is not a plain file: a key that may have leaked must not be trusted silently.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use secrecy::SecretBox;
use ultimate_mcp_actors::fault::{Classify, Kind};

/// The file of the key that signs tokens.
pub const TOKEN_KEY: &str = "token.key";

/// The file of the key that seals the audit.
pub const AUDIT_KEY: &str = "audit.key";

/// The file of the key that seals arguments and results of jobs.
pub const JOBS_KEY: &str = "jobs.key";

/// Bytes of a key: what HS256 asks for (RFC 7518 §3.2), 256 bits.
pub const KEY_BYTES: usize = 32;

/// A secret of this instance.
pub type InstanceKey = SecretBox<[u8; KEY_BYTES]>;

/// No key file of ours is longer, in bytes.
const FILE_BYTES_MAX: u64 = 4096;

/// Why the instance's own key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Reading, writing or creating failed.
    #[error("{action} {path}: {source}", path = .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Group or others have rights on the file.
    #[error(
        "{path} can be read by others (mode {mode:04o}): run `chmod 600 {path}`, or delete it to make \
         every token of this instance invalid and get a new key",
        path = .path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A link, a directory, a device.
    #[error("{path} is not a plain file: delete it, a new key is made at the next start", path = .0.display())]
    NotAFile(PathBuf),
    /// Not base64, or of another length.
    #[error(
        "{path} does not hold a key (base64 of {KEY_BYTES} bytes): delete it, a new key is \
         made at the next start",
        path = .0.display()
    )]
    NotAKey(PathBuf),
    /// The system has no randomness.
    #[error("the system gave no random bytes")]
    NoRandomness,
}

impl Classify for KeyFileError {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// The key of that name, made if there is none.
///
/// `data_dir` and `data_dir/keys` are created with mode 0700, the file with 0600. Two processes that
/// start at once end up with the same key: the file appears complete or not at all.
pub fn load_or_create(data_dir: &Path, name: &str) -> Result<InstanceKey, KeyFileError> {
    let dir = data_dir.join("keys");
    let path = dir.join(name);
    match load(&path) {
        Err(KeyFileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        result => return result,
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|source| io_error("cannot create", &dir, source))?;
    create(&dir, &path)?;
    load(&path)
}

/// Reads an existing key. A missing file is [`KeyFileError::Io`] with `NotFound`.
pub fn load(path: &Path) -> Result<InstanceKey, KeyFileError> {
    let listed = fs::symlink_metadata(path).map_err(|e| io_error("cannot read", path, e))?;
    if !listed.is_file() {
        return Err(KeyFileError::NotAFile(path.to_owned()));
    }
    let file = fs::File::open(path).map_err(|e| io_error("cannot read", path, e))?;
    let opened = file.metadata().map_err(|e| io_error("cannot read", path, e))?;
    // The file may have been swapped for a link between the two calls.
    if (opened.ino(), opened.dev()) != (listed.ino(), listed.dev()) {
        return Err(KeyFileError::NotAFile(path.to_owned()));
    }
    let mode = opened.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = String::new();
    let read = file.take(FILE_BYTES_MAX).read_to_string(&mut text);
    read.map_err(|_| KeyFileError::NotAKey(path.to_owned()))?;
    let key = STANDARD.decode(text.trim()).map_err(|_| KeyFileError::NotAKey(path.to_owned()))?;
    let key = key.try_into().map_err(|_| KeyFileError::NotAKey(path.to_owned()))?;
    Ok(SecretBox::new(Box::new(key)))
}

/// Writes a new key beside `path` and links it there: whoever links first wins, the other uses it.
fn create(dir: &Path, path: &Path) -> Result<(), KeyFileError> {
    let mut key = [0u8; KEY_BYTES];
    let mut suffix = [0u8; 8];
    let random = SystemRandom::new();
    random.fill(&mut key).map_err(|_| KeyFileError::NoRandomness)?;
    random.fill(&mut suffix).map_err(|_| KeyFileError::NoRandomness)?;
    let draft = dir.join(format!(".draft-{:016x}", u64::from_le_bytes(suffix)));
    let written =
        write(&draft, &STANDARD.encode(key)).and_then(|()| match fs::hard_link(&draft, path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                Err(io_error("cannot create", path, source))
            }
            _ => Ok(()),
        });
    // The draft is ours alone; when it cannot be removed it is an unused file with mode 0600.
    let _ = fs::remove_file(&draft);
    written?;
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|source| io_error("cannot sync", dir, source))
}

fn write(draft: &Path, text: &str) -> Result<(), KeyFileError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    options
        .open(draft)
        .and_then(|mut file| {
            writeln!(file, "{text}")?;
            file.sync_all()
        })
        .map_err(|source| io_error("cannot create", draft, source))
}

fn io_error(action: &'static str, path: &Path, source: io::Error) -> KeyFileError {
    KeyFileError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_key_is_made_once_in_a_private_place_and_found_again() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let first = load_or_create(&data, TOKEN_KEY).unwrap();
        let again = load_or_create(&data, TOKEN_KEY).unwrap();
        let other = load_or_create(&data, AUDIT_KEY).unwrap();
        assert_eq!(first.expose_secret(), again.expose_secret());
        assert_ne!(first.expose_secret(), other.expose_secret());
        assert_eq!(first.expose_secret().len(), KEY_BYTES);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&data), 0o700);
        assert_eq!(mode(&data.join("keys")), 0o700);
        assert_eq!(mode(&data.join("keys").join(TOKEN_KEY)), 0o600);
        let names: Vec<_> = fs::read_dir(data.join("keys")).unwrap().collect();
        assert_eq!(names.len(), 2, "drafts are left: {names:?}");
    }

    #[test]
    fn processes_that_start_at_once_get_the_same_key() {
        let root = tempfile::tempdir().unwrap();
        let start = std::sync::Barrier::new(8);
        let make = || {
            start.wait();
            load_or_create(root.path(), TOKEN_KEY).unwrap().expose_secret().to_vec()
        };
        let keys: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn a_key_file_others_can_read_is_refused_with_the_remedy() {
        let root = tempfile::tempdir().unwrap();
        load_or_create(root.path(), TOKEN_KEY).unwrap();
        let path = root.path().join("keys").join(TOKEN_KEY);
        for mode in [0o644, 0o640, 0o604, 0o660] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = load_or_create(root.path(), TOKEN_KEY).unwrap_err();
            assert!(matches!(error, KeyFileError::Exposed { .. }), "{mode:o}: {error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o400)).unwrap();
        load_or_create(root.path(), TOKEN_KEY).unwrap();
    }

    #[test]
    fn what_is_not_a_key_is_refused_and_never_overwritten() {
        let root = tempfile::tempdir().unwrap();
        load_or_create(root.path(), TOKEN_KEY).unwrap();
        let path = root.path().join("keys").join(TOKEN_KEY);
        for text in ["", "short", "AAAA", "not base64 !!", &"A".repeat(100_000)] {
            fs::write(&path, text).unwrap();
            let error = load_or_create(root.path(), TOKEN_KEY).unwrap_err();
            assert!(matches!(error, KeyFileError::NotAKey(_)), "{error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let target = root.path().join("elsewhere");
        fs::rename(&path, &target).unwrap();
        symlink(&target, &path).unwrap();
        let error = load_or_create(root.path(), TOKEN_KEY).unwrap_err();
        assert!(matches!(error, KeyFileError::NotAFile(_)), "{error}");
    }
}
