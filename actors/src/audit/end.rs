//! The end of a trail that no server has open: read from a copy, or signed anew after a restore.
//!
//! Called by the backup. Refuses an end that is not authentic.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, params};

use super::chain::{AuditKey, GENESIS, HASH_BYTES, Hash};
use super::error::AuditError;
use super::schema;
use super::store::{WRITE_HEAD, read_head};

/// Number and hash of the last event of the file at `path`; 0 and zeros when there is none.
///
/// # Errors
/// The file cannot be read, belongs to another key, or its end is not where its head says.
pub fn end_of(path: &Path, key: &AuditKey) -> Result<(i64, [u8; HASH_BYTES]), AuditError> {
    let connection = schema::open_reader(path).map_err(AuditError::read)?;
    let Some(head) = read_head(&connection, key)? else { return Ok((0, GENESIS)) };
    let last = last_event(&connection)?;
    // A segment without new events has a head only.
    if last.is_some_and(|last| last != (head.seq, head.hash)) {
        return Err(AuditError::Tampered("the head and the last event disagree"));
    }
    Ok((head.seq, head.hash))
}

/// Signs the last event of the file at `path` as its end, after events were appended from an archive.
/// Proves nothing: whoever calls it verifies the whole chain afterwards.
///
/// # Errors
/// The file cannot be read or written, or its old head is not authentic.
pub fn adopt(path: &Path, key: &AuditKey) -> Result<(i64, [u8; HASH_BYTES]), AuditError> {
    let connection = Connection::open(path).map_err(AuditError::read)?;
    let Some(head) = read_head(&connection, key)? else { return Ok((0, GENESIS)) };
    let (seq, hash) = last_event(&connection)?.unwrap_or((head.seq, head.hash));
    let mac = key.head_mac(seq, &hash, head.open_from);
    connection
        .execute(WRITE_HEAD, params![seq, hash, head.open_from, mac])
        .map_err(AuditError::read)?;
    Ok((seq, hash))
}

fn last_event(connection: &Connection) -> Result<Option<(i64, Hash)>, AuditError> {
    let sql = "SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1";
    let row = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?)));
    let Some((seq, hash)) = row.optional().map_err(AuditError::read)? else { return Ok(None) };
    let hash = hash.try_into().map_err(|_| AuditError::Tampered("the last hash is malformed"))?;
    Ok(Some((seq, hash)))
}
