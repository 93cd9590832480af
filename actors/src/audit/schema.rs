//! The audit file's tables, and how a connection to it is set up.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

/// How long a writer waits for another connection's lock (e.g. a stalled predecessor's commit). Shorter
/// than the watchdog's patience (`supervision.default.stall_after_ms`), so that a locked file is an
/// error to the callers and not a stall.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Events are read newest first, so each index ends in the time and (implicitly) the seq.
/// `event_by_time` names the seq itself so that `success` can follow and spare reading the table.
/// Intents are in none of them: a query shows how calls ended, and an intent row stays cheap.
/// `head` has one row: the end of the chain, authenticated.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS event (
  seq        INTEGER PRIMARY KEY,
  event_id   BLOB    NOT NULL,
  ts         INTEGER NOT NULL,
  event_type TEXT    NOT NULL,
  phase      TEXT    NOT NULL,
  call_id    BLOB,
  user_id    TEXT,
  tool       TEXT,
  success    INTEGER,
  body       TEXT    NOT NULL,
  hash       BLOB    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS event_by_time ON event (ts, seq, success) WHERE phase <> 'intent';
CREATE INDEX IF NOT EXISTS event_by_type ON event (event_type, ts) WHERE phase <> 'intent';
CREATE INDEX IF NOT EXISTS event_by_user ON event (user_id, ts)
  WHERE phase <> 'intent' AND user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_by_tool ON event (tool, ts)
  WHERE phase <> 'intent' AND tool IS NOT NULL;
CREATE INDEX IF NOT EXISTS event_by_failure ON event (ts) WHERE phase <> 'intent' AND success = 0;
CREATE TABLE IF NOT EXISTS head (
  id        INTEGER PRIMARY KEY CHECK (id = 1),
  seq       INTEGER NOT NULL,
  hash      BLOB    NOT NULL,
  open_from INTEGER NOT NULL,
  mac       BLOB    NOT NULL,
  key_id    BLOB    NOT NULL
) STRICT;
CREATE TRIGGER IF NOT EXISTS event_no_update BEFORE UPDATE ON event
  BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER IF NOT EXISTS event_no_delete BEFORE DELETE ON event
  BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER IF NOT EXISTS head_no_delete BEFORE DELETE ON head
  BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
";

/// Opens the file for the one writer; creates it when missing.
///
/// `synchronous = FULL`: a commit returns after its fsync (sqlite.org/pragma.html#pragma_synchronous).
pub(crate) fn open_writer(path: &Path, wal_pages: u32) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", wal_pages)?;
    // 16 MiB of pages: the right-hand edges of all indexes and of the table stay in memory.
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.execute_batch(TABLES)?;
    Ok(connection)
}

/// Opens the file for reading; never blocks the writer (WAL readers do not).
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}
