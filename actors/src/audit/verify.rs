//! Proof that the trail is whole: recomputes every hash, in order, and names the first that is wrong.
//!
//! Reads one snapshot of the file, streaming, so it runs offline or beside a running server. Called by
//! `ultimate-mcp audit verify`.
//!
//! Cutting off the tail *and* moving the head back to match needs the key, or a copy of the head from
//! that time. That is what it cannot see by itself: events and head put back to an earlier state, which
//! was once authentic. To see it, keep a witness elsewhere (`seq` and `hash` stand in every line on
//! standard output and in every report) and pass it to [`verify_against`].

use std::path::Path;

use rusqlite::{Connection, Row};
use serde::Serialize;

use super::chain::{AuditKey, Fields, GENESIS, HASH_BYTES, Hash, same};
use super::error::AuditError;
use super::prepared::hex;
use super::schema;
use super::store::{Head, read_head};

const COLUMNS: &str =
    "seq, event_id, ts, event_type, phase, call_id, user_id, tool, success, body, hash";

/// What is wrong with the trail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// An event was changed: its content and its hash disagree.
    Changed,
    /// An event was removed: its seq is missing.
    Removed,
    /// The event that belongs here stands elsewhere.
    Reordered {
        /// Where it stands.
        found_at: i64,
    },
    /// An event was appended without the key.
    Appended,
    /// The last events were cut off.
    Truncated {
        /// The last seq there was.
        head_seq: i64,
    },
    /// The head record is missing.
    HeadMissing,
    /// The head record was changed.
    HeadChanged,
    /// The head record is an older one that was put back.
    HeadOld {
        /// The seq it names.
        head_seq: i64,
    },
    /// The witnessed event is missing or another one: the file was put back to an earlier state.
    WitnessDisagrees,
}

/// An event remembered outside the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its position.
    pub seq: i64,
    /// Its hash.
    pub hash: [u8; HASH_BYTES],
}

/// What the verification found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// Events whose hashes are right, from the first without a gap.
    pub events_intact: i64,
    /// Hash of the last intact event, in hexadecimal: note it down as a witness.
    pub last_hash: String,
    /// The first thing that is wrong, if anything is.
    pub broken: Option<Broken>,
}

/// The first thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The first seq whose event is not what it was.
    pub seq: i64,
    /// What is wrong there.
    #[serde(flatten)]
    pub fault: Fault,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_intact(&self) -> bool {
        self.broken.is_none()
    }
}

/// Verifies the whole file. About a second per million events.
///
/// # Errors
/// When the file cannot be read or belongs to another key; what is *wrong* in it is no error but the
/// report's content.
pub fn verify(path: &Path, key: &AuditKey) -> Result<VerifyReport, AuditError> {
    verify_against(path, key, None)
}

/// Like [`verify`], and checks an event that was noted down elsewhere.
///
/// # Errors
/// As [`verify`].
pub fn verify_against(
    path: &Path,
    key: &AuditKey,
    witness: Option<Witness>,
) -> Result<VerifyReport, AuditError> {
    let connection = schema::open_reader(path).map_err(AuditError::read)?;
    // One read transaction: events and head belong to the same moment.
    let snapshot = connection.unchecked_transaction().map_err(AuditError::read)?;
    let walk = walk(&snapshot, key, witness).map_err(AuditError::read)?;
    let head = read_head(&snapshot, key);
    let broken = judge(&snapshot, key, &walk, head)?;
    Ok(VerifyReport { events_intact: walk.seq, last_hash: hex(&walk.hash), broken })
}

/// How far the chain is right, and why it stopped there.
struct Walk {
    seq: i64,
    hash: Hash,
    stop: Option<Stop>,
}

#[derive(Clone, Copy)]
enum Stop {
    Gap,
    Mismatch,
    Witness,
}

fn walk(
    connection: &Connection,
    key: &AuditKey,
    witness: Option<Witness>,
) -> rusqlite::Result<Walk> {
    let sql = format!("SELECT {COLUMNS} FROM event ORDER BY seq");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut scratch = Vec::with_capacity(1024);
    let mut at = Walk { seq: 0, hash: GENESIS, stop: None };
    while let Some(row) = rows.next()? {
        let seq: i64 = row.get(0)?;
        if seq != at.seq + 1 {
            at.stop = Some(Stop::Gap);
            return Ok(at);
        }
        let hash = row_hash(row, seq, &at.hash, key, &mut scratch);
        let stored = row.get_ref(10)?.as_blob().unwrap_or_default();
        let Some(hash) = hash.filter(|hash| same(hash, stored)) else {
            at.stop = Some(Stop::Mismatch);
            return Ok(at);
        };
        if witness.is_some_and(|known| known.seq == seq && !same(&known.hash, &hash)) {
            at.stop = Some(Stop::Witness);
            return Ok(at);
        }
        (at.seq, at.hash) = (seq, hash);
    }
    if witness.is_some_and(|known| known.seq > at.seq) {
        at.stop = Some(Stop::Witness);
    }
    Ok(at)
}

/// The hash the row would have at `seq` behind `prev`; `None` when its columns are of wrong types.
fn row_hash(
    row: &Row<'_>,
    seq: i64,
    prev: &Hash,
    key: &AuditKey,
    scratch: &mut Vec<u8>,
) -> Option<Hash> {
    let text = |index| row.get_ref(index).ok()?.as_str().ok();
    let text_or_null = |index| row.get_ref(index).ok()?.as_str_or_null().ok();
    let fields = Fields {
        seq,
        event_id: row.get_ref(1).ok()?.as_blob().ok()?,
        ts_us: row.get(2).ok()?,
        event_type: text(3)?,
        phase: text(4)?,
        call_id: row.get_ref(5).ok()?.as_blob_or_null().ok()?,
        user_id: text_or_null(6)?,
        tool: text_or_null(7)?,
        success: row.get(8).ok()?,
        body: text(9)?,
    };
    Some(key.event_hash(&fields, prev, scratch))
}

/// Puts the end of the walk and the head side by side.
fn judge(
    connection: &Connection,
    key: &AuditKey,
    walk: &Walk,
    head: Result<Option<Head>, AuditError>,
) -> Result<Option<Broken>, AuditError> {
    let next = walk.seq + 1;
    let broken = |seq, fault| Ok(Some(Broken { seq, fault }));
    let head = match head {
        Ok(head) => Ok(head),
        // With an intact chain in front of it the key is right: somebody changed the head.
        Err(AuditError::WrongKey) if walk.seq == 0 => return Err(AuditError::WrongKey),
        Err(AuditError::WrongKey | AuditError::Tampered(_)) => Err(Fault::HeadChanged),
        Err(other) => return Err(other),
    };
    let authentic = head.as_ref().ok().copied().flatten();
    let beyond_head = authentic.is_some_and(|head| walk.seq >= head.seq);
    match walk.stop {
        Some(Stop::Witness) => return broken(next, Fault::WitnessDisagrees),
        Some(Stop::Mismatch | Stop::Gap) if beyond_head => return broken(next, Fault::Appended),
        Some(stop @ (Stop::Mismatch | Stop::Gap)) => {
            let found = belongs_at(connection, key, walk).map_err(AuditError::read)?;
            let fault = match (found, stop) {
                (Some(found_at), _) => Fault::Reordered { found_at },
                (None, Stop::Gap) => Fault::Removed,
                (None, _) => Fault::Changed,
            };
            return broken(next, fault);
        }
        None => {}
    }
    match head {
        Err(fault) => broken(walk.seq, fault),
        Ok(None) if walk.seq == 0 => Ok(None),
        Ok(None) => broken(walk.seq, Fault::HeadMissing),
        Ok(Some(head)) if head.seq > walk.seq => {
            broken(next, Fault::Truncated { head_seq: head.seq })
        }
        Ok(Some(head)) if head.seq < walk.seq => {
            broken(head.seq + 1, Fault::HeadOld { head_seq: head.seq })
        }
        Ok(Some(head)) if !same(&head.hash, &walk.hash) => broken(walk.seq, Fault::HeadChanged),
        Ok(Some(_)) => Ok(None),
    }
}

/// Looks for the event whose hash is right for the place where the chain broke.
fn belongs_at(
    connection: &Connection,
    key: &AuditKey,
    walk: &Walk,
) -> rusqlite::Result<Option<i64>> {
    let place = walk.seq + 1;
    let sql = format!("SELECT {COLUMNS} FROM event WHERE seq > ?1 ORDER BY seq");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([place])?;
    let mut scratch = Vec::with_capacity(1024);
    while let Some(row) = rows.next()? {
        let stored = row.get_ref(10)?.as_blob().unwrap_or_default();
        if row_hash(row, place, &walk.hash, key, &mut scratch).is_some_and(|h| same(&h, stored)) {
            return Ok(Some(row.get(0)?));
        }
    }
    Ok(None)
}
