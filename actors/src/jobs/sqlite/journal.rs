//! The journals of jobs in the file. Every function runs inside a transaction of the thread.
//!
//! Refuses entries of whoever does not hold the job. A trigger removes a journal with its job.

use rusqlite::{Connection, OptionalExtension, params};

use crate::ids::JobId;
use crate::jobs::error::JobsError;
use crate::jobs::job::{JobStatus, State};
use crate::jobs::store::Grip;

/// Writes an entry; false when the job is not running under this grip.
pub(super) fn note(
    connection: &Connection,
    grip: Grip,
    entry: u32,
    body: &[u8],
) -> Result<bool, JobsError> {
    let status: Option<String> = connection
        .prepare_cached("SELECT status FROM job WHERE id = ?1")?
        .query_row([grip.id.as_uuid().as_bytes()], |row| row.get(0))
        .optional()?;
    let Some(status) = status else { return Ok(false) };
    let status: JobStatus = serde_json::from_str(&status).map_err(JobsError::corrupt)?;
    if status.grip != grip.grip || status.state != State::Running {
        return Ok(false);
    }
    connection
        .prepare_cached("INSERT OR REPLACE INTO journal (job, entry, body) VALUES (?1, ?2, ?3)")?
        .execute(params![grip.id.as_uuid().as_bytes(), entry, body])?;
    Ok(true)
}

/// All entries, in order.
pub(super) fn read(connection: &Connection, id: JobId) -> Result<Vec<Vec<u8>>, JobsError> {
    let mut entries =
        connection.prepare_cached("SELECT body FROM journal WHERE job = ?1 ORDER BY entry")?;
    let rows = entries.query_map([id.as_uuid().as_bytes()], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}
