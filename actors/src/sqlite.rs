//! How the engine opens the databases it must not lose: private, and durable with every commit.
//!
//! Called by the audit, authorization, idempotency keys and the job queue; each adds its own tables.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

/// How long a writer waits for another connection's lock (e.g. a stalled predecessor's commit). Shorter
/// than the watchdog's patience (`supervision.default.stall_after_ms`), so that a locked file is an
/// error to the callers and not a stall.
pub(crate) const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens a file, which nobody but us may read; SQLite gives its companions the same mode.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// Opens a database for its one writer; creates it when missing.
///
/// `synchronous = FULL`: a commit returns after its fsync (sqlite.org/pragma.html#pragma_synchronous).
pub(crate) fn open_durable(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}
