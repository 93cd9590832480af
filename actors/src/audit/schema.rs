//! The audit file's tables, how a connection to it is set up, and how an older file becomes a newer one.
//!
//! History is never rewritten: a new version adds columns and tables, and events keep the format they
//! were written in.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::sqlite::{BUSY_TIMEOUT, open_durable};

/// `PRAGMA user_version` of the tables below; 0 is the first version, which did not set it.
const VERSION: i64 = 2;

/// Events are read newest first, so each index ends in the time and (implicitly) the seq.
/// `event_by_time` names the seq itself so that `success` can follow and spare reading the table.
/// Intents are in none of them: a query shows how calls ended, and an intent row stays cheap.
/// `head` has one row: the end of the chain, authenticated.
const FIRST: &str = "
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
CREATE TRIGGER IF NOT EXISTS head_no_delete BEFORE DELETE ON head
  BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
";

/// Version 2. `who`, `salt`, `commitment`, `erased`, `seal`: see `chain`. `cut`: the last event that
/// retention removed, authenticated; only what it covers may be deleted. `erasure`: persons whose
/// erasure is not finished everywhere, `erasure_event` the events whose copies must be replaced for it.
/// `trail`: which file this is, for those who copy it elsewhere. Of all tables only `event` has a
/// column `seq` that numbers its rows: backups go by that.
const SECOND: &str = "
ALTER TABLE event ADD COLUMN format INTEGER NOT NULL DEFAULT 1;
ALTER TABLE event ADD COLUMN who TEXT;
ALTER TABLE event ADD COLUMN salt BLOB;
ALTER TABLE event ADD COLUMN commitment BLOB;
ALTER TABLE event ADD COLUMN erased INTEGER NOT NULL DEFAULT 0;
ALTER TABLE event ADD COLUMN seal BLOB;
CREATE TABLE cut (
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  last_seq INTEGER NOT NULL,
  hash     BLOB    NOT NULL,
  mac      BLOB    NOT NULL
) STRICT;
CREATE TABLE erasure (
  id       BLOB    PRIMARY KEY,
  user_id  TEXT    NOT NULL,
  asked    INTEGER NOT NULL,
  next_seq INTEGER NOT NULL,
  changed  INTEGER NOT NULL DEFAULT 0,
  sealed   INTEGER NOT NULL DEFAULT 0,
  stage    INTEGER NOT NULL DEFAULT 0,
  copied   INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE TABLE erasure_event (
  erasure   BLOB    NOT NULL,
  event_seq INTEGER NOT NULL,
  PRIMARY KEY (erasure, event_seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE trail (
  id       INTEGER PRIMARY KEY CHECK (id = 1),
  trail_id BLOB    NOT NULL
) STRICT;
INSERT INTO trail (id, trail_id) VALUES (1, randomblob(16));
DROP TRIGGER IF EXISTS event_no_update;
DROP TRIGGER IF EXISTS event_no_delete;
CREATE TRIGGER event_no_update BEFORE UPDATE ON event
  WHEN NEW.seal IS NULL OR NEW.seal IS OLD.seal OR NEW.erased < OLD.erased OR NEW.erased = 0
    OR NEW.seq <> OLD.seq OR NEW.hash <> OLD.hash OR NEW.event_id <> OLD.event_id
    OR NEW.ts <> OLD.ts OR NEW.format <> OLD.format
  BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER event_no_delete BEFORE DELETE ON event
  WHEN OLD.seq > coalesce((SELECT last_seq FROM cut WHERE id = 1), 0)
  BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER cut_no_return BEFORE UPDATE ON cut WHEN NEW.last_seq < OLD.last_seq
  BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
CREATE TRIGGER cut_no_delete BEFORE DELETE ON cut
  BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
PRAGMA user_version = 2;
";

/// Opens the file for the one writer; creates it when missing, brings it up to date when older.
///
/// `secure_delete`: what is erased or cut is overwritten, not only unlinked; appending costs nothing more.
pub(crate) fn open_writer(path: &Path, wal_pages: u32) -> rusqlite::Result<Connection> {
    let mut connection = open_durable(path)?;
    connection.pragma_update(None, "wal_autocheckpoint", wal_pages)?;
    connection.pragma_update(None, "secure_delete", true)?;
    // 16 MiB of pages: the right-hand edges of all indexes and of the table stay in memory.
    connection.pragma_update(None, "cache_size", -16_384)?;
    migrate(&mut connection)?;
    Ok(connection)
}

/// Brings the tables up to date, all or nothing.
fn migrate(connection: &mut Connection) -> rusqlite::Result<()> {
    if version(connection)? >= VERSION {
        return Ok(());
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Another writer may have been first.
    if version(&transaction)? < VERSION {
        transaction.execute_batch(FIRST)?;
        transaction.execute_batch(SECOND)?;
    }
    transaction.commit()
}

/// The version of the file's tables.
pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Whether the file has the tables of today; only a file that no newer server opened has not.
pub(crate) fn is_current(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(version(connection)? >= VERSION)
}

/// Opens the file for reading; never blocks the writer (WAL readers do not).
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

/// The tables as the first version made them, for tests of what it left behind.
#[cfg(test)]
pub(crate) const FIRST_TABLES: &str = FIRST;
