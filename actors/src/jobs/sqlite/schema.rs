//! The file: tables, indices, and what happens when it is opened.

use std::path::Path;

use rusqlite::Connection;

use crate::jobs::error::JobsError;
use crate::sqlite::{create_private, open_durable};

/// States as numbers: 0 queued, 1 claimed, 2 running, above: over. `spec` and `status` are JSON; the
/// other columns repeat what is searched by. `active` counts jobs that are not over, per owner and (under
/// the empty name) in total, so that a cap costs one look.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS job (
  id          BLOB    PRIMARY KEY,
  owner       TEXT    NOT NULL,
  state       INTEGER NOT NULL,
  lane        INTEGER NOT NULL,
  run_at      INTEGER NOT NULL,
  lease_until INTEGER,
  expires_at  INTEGER,
  dead        INTEGER NOT NULL,
  dedupe_key  TEXT,
  spec        TEXT    NOT NULL,
  status      TEXT    NOT NULL,
  payload     BLOB,
  result      BLOB
) STRICT;
CREATE INDEX IF NOT EXISTS job_waiting ON job (lane, run_at, id) WHERE state = 0;
CREATE INDEX IF NOT EXISTS job_leased ON job (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX IF NOT EXISTS job_expiring ON job (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS job_by_owner ON job (owner, id);
CREATE INDEX IF NOT EXISTS job_by_state ON job (state, id);
CREATE INDEX IF NOT EXISTS job_dead ON job (lane, id) WHERE dead = 1;
CREATE UNIQUE INDEX IF NOT EXISTS job_dedupe ON job (owner, dedupe_key) WHERE dedupe_key IS NOT NULL;
CREATE TABLE IF NOT EXISTS active (
  owner TEXT    PRIMARY KEY,
  jobs  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS job_enters AFTER INSERT ON job WHEN new.state <= 2 BEGIN
  INSERT INTO active VALUES (new.owner, 1), ('', 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TRIGGER IF NOT EXISTS job_ends AFTER UPDATE OF state ON job
WHEN old.state <= 2 AND new.state > 2 BEGIN
  UPDATE active SET jobs = jobs - 1 WHERE owner IN (new.owner, '');
  DELETE FROM active WHERE owner = new.owner AND jobs <= 0;
END;
CREATE TRIGGER IF NOT EXISTS job_returns AFTER UPDATE OF state ON job
WHEN old.state > 2 AND new.state <= 2 BEGIN
  INSERT INTO active VALUES (new.owner, 1), ('', 1) ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;
CREATE TABLE IF NOT EXISTS journal (
  job   BLOB    NOT NULL,
  entry INTEGER NOT NULL,
  body  BLOB    NOT NULL,
  PRIMARY KEY (job, entry)
) STRICT;
CREATE TRIGGER IF NOT EXISTS job_forgotten AFTER DELETE ON job BEGIN
  DELETE FROM journal WHERE job = old.id;
END;
CREATE TABLE IF NOT EXISTS schedule (
  id      BLOB    PRIMARY KEY,
  owner   TEXT    NOT NULL,
  enabled INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  body    TEXT    NOT NULL,
  payload BLOB    NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS schedule_due ON schedule (next_at) WHERE enabled = 1;
CREATE INDEX IF NOT EXISTS schedule_by_owner ON schedule (owner, id);
";

pub(super) fn open(path: &Path) -> Result<Connection, JobsError> {
    create_private(path)
        .map_err(|error| JobsError::Start(format!("{}: {error}", path.display()).into()))?;
    let connection = open_durable(path)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.execute_batch(TABLES)?;
    Ok(connection)
}

/// Lets the leases of every job run out.
pub(super) fn free_all(connection: &Connection) -> Result<(), JobsError> {
    let mut held = connection.prepare("SELECT id FROM job WHERE lease_until IS NOT NULL")?;
    let ids = held.query_map([], |row| row.get::<_, [u8; 16]>(0))?;
    let ids: Vec<[u8; 16]> = ids.collect::<Result<_, _>>()?;
    for id in ids {
        let id = uuid::Uuid::from_bytes(id).into();
        super::jobs::change(connection, id, |job| job.status.lease_until = Some(0))?;
    }
    Ok(())
}
