//! Keys on the node's own disk (`idempotency.db`).
//!
//! Pure and synchronous; owned by [`super::actor`]. Every change is durable when its function returns
//! (WAL, `synchronous = FULL`).

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::options::IdempotencyOptions;
use super::{Attempt, End, Standing};
use crate::faults;
use crate::sqlite::open_durable;

/// `owner` is the process that runs it: what another one has not ended, nobody will.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS attempt (
  caller     TEXT    NOT NULL,
  key        TEXT    NOT NULL,
  request    BLOB    NOT NULL,
  state      INTEGER NOT NULL,
  owner      TEXT    NOT NULL,
  claim      INTEGER NOT NULL,
  lease_ms   INTEGER NOT NULL,
  expires_ms INTEGER NOT NULL,
  answer     BLOB,
  PRIMARY KEY (caller, key)
) STRICT;
CREATE INDEX IF NOT EXISTS attempt_by_expiry ON attempt (expires_ms);
";

const RUNNING: i64 = 0;
const ANSWERED: i64 = 1;
const UNKNOWN: i64 = 2;

/// What a new attempt finds, or why it cannot be stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Standing(Standing),
    TooManyOfCaller,
    TooMany,
}

pub(super) struct Store {
    connection: Connection,
    owner: String,
    options: IdempotencyOptions,
    /// Rows there are.
    rows: usize,
}

/// A row, as far as a decision needs it.
struct Row {
    request: Vec<u8>,
    state: i64,
    owner: String,
    lease_ms: i64,
    answer: Option<Vec<u8>>,
}

impl Store {
    pub(super) fn open(
        path: &Path,
        owner: String,
        options: IdempotencyOptions,
    ) -> rusqlite::Result<Self> {
        let connection = open_durable(path)?;
        connection.execute_batch(TABLES)?;
        let rows = count(&connection, "SELECT count(*) FROM attempt", [])?;
        Ok(Self { connection, owner, options, rows })
    }

    pub(super) fn begin(
        &mut self,
        attempt: &Attempt,
        claim: u64,
        lease: Duration,
        now_ms: i64,
    ) -> rusqlite::Result<Said> {
        let (caller, key) = (attempt.caller.as_str(), attempt.key.as_str());
        let transaction = self.connection.transaction()?;
        let gone = transaction.execute(
            "DELETE FROM attempt WHERE caller = ?1 AND key = ?2 AND expires_ms <= ?3",
            params![caller, key, now_ms],
        )?;
        let row = transaction
            .query_row(
                "SELECT request, state, owner, lease_ms, answer FROM attempt \
                 WHERE caller = ?1 AND key = ?2",
                [caller, key],
                |row| {
                    let (request, state, owner) = (row.get(0)?, row.get(1)?, row.get(2)?);
                    Ok(Row { request, state, owner, lease_ms: row.get(3)?, answer: row.get(4)? })
                },
            )
            .optional()?;
        if let Some(row) = row {
            return Ok(Said::Standing(standing(row, attempt, &self.owner, now_ms)));
        }
        let of_caller = count(
            &transaction,
            "SELECT count(*) FROM attempt WHERE caller = ?1 AND expires_ms > ?2",
            params![caller, now_ms],
        )?;
        if of_caller >= self.options.entries_per_caller_max {
            return Ok(Said::TooManyOfCaller);
        }
        if self.rows >= self.options.entries_max {
            return Ok(Said::TooMany);
        }
        let expires_ms = now_ms.saturating_add_unsigned(self.options.ttl_seconds * 1000);
        let lease_ms = now_ms.saturating_add_unsigned(lease.as_millis() as u64);
        transaction.execute(
            "INSERT INTO attempt (caller, key, request, state, owner, claim, lease_ms, expires_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                caller,
                key,
                &attempt.request[..],
                RUNNING,
                self.owner,
                claim as i64,
                lease_ms,
                expires_ms
            ],
        )?;
        if faults::passes_with_error("idempotency.before_commit") {
            return Err(faults::disk_is_full());
        }
        transaction.commit()?;
        let _ = faults::passes_with_error("idempotency.after_commit");
        self.rows = self.rows.saturating_sub(gone) + 1;
        Ok(Said::Standing(Standing::Fresh))
    }

    /// An answer that comes after all is an answer, even if the run was given up meanwhile.
    pub(super) fn end(&mut self, attempt: &Attempt, claim: u64, end: &End) -> rusqlite::Result<()> {
        let (caller, key, claim) = (attempt.caller.as_str(), attempt.key.as_str(), claim as i64);
        match end {
            End::Answered(answer) => {
                self.connection.execute(
                    "UPDATE attempt SET state = ?4, answer = ?5 \
                     WHERE caller = ?1 AND key = ?2 AND claim = ?3",
                    params![caller, key, claim, ANSWERED, answer],
                )?;
            }
            End::Unknown => {
                self.connection.execute(
                    "UPDATE attempt SET state = ?4 WHERE caller = ?1 AND key = ?2 AND claim = ?3",
                    params![caller, key, claim, UNKNOWN],
                )?;
            }
            End::Released => {
                let gone = self.connection.execute(
                    "DELETE FROM attempt \
                     WHERE caller = ?1 AND key = ?2 AND claim = ?3 AND state = ?4",
                    params![caller, key, claim, RUNNING],
                )?;
                self.rows = self.rows.saturating_sub(gone);
            }
        }
        Ok(())
    }

    /// Forgets what has expired.
    pub(super) fn purge(&mut self, now_ms: i64) -> rusqlite::Result<()> {
        let gone =
            self.connection.execute("DELETE FROM attempt WHERE expires_ms <= ?1", [now_ms])?;
        self.rows = self.rows.saturating_sub(gone);
        Ok(())
    }
}

fn standing(row: Row, attempt: &Attempt, owner: &str, now_ms: i64) -> Standing {
    if row.request != attempt.request {
        return Standing::Different;
    }
    match row.state {
        ANSWERED => Standing::Answered(row.answer),
        RUNNING if row.owner == owner && row.lease_ms > now_ms => Standing::Running,
        _ => Standing::Unknown,
    }
}

fn count(
    connection: &Connection,
    sql: &str,
    params: impl rusqlite::Params,
) -> rusqlite::Result<usize> {
    let rows: i64 = connection.query_row(sql, params, |row| row.get(0))?;
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}
