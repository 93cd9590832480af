//! Proof that the trail is whole: recomputes every hash, in order, and names the first that is wrong.
//!
//! Begins behind the last event that retention removed, which an authenticated record names.
//!
//! Reads one snapshot of the file, streaming, so it runs offline or beside a running server. Called by
//! `ultimate-mcp audit verify`.
//!
//! Cutting off the tail *and* moving the head back to match needs the key, or a copy of the head from
//! that time. That is what it cannot see by itself: events and head put back to an earlier state, which
//! was once authentic. To see it, keep a witness elsewhere (`seq` and `hash` stand in every line on
//! standard output and in every report) and pass it to [`verify_against`].

use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use super::chain::{AuditKey, Erased, HASH_BYTES, Hash, same};
use super::cut::{self, Cut};
use super::error::AuditError;
use super::row::{COLUMNS, COLUMNS_FIRST, Stored};
use super::schema;
use super::store::{Head, read_head};
use crate::hex;

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
    /// The record of what retention removed was changed.
    CutChanged,
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
    /// The first seq there can be: the ones before were removed by retention.
    pub first_seq: i64,
    /// Seq of the last intact event.
    pub last_seq: i64,
    /// Intact events from which a person was erased.
    pub erased: i64,
    /// Those of them whose content was changed for it: what remains is proven by the server's seal, no
    /// longer by the chain.
    pub sealed: i64,
    /// The witness is older than the oldest event kept: it proves nothing any more.
    pub witness_removed: bool,
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

    /// Nothing can be said about the events: where they begin is not known.
    fn forged_cut() -> Self {
        Self {
            events_intact: 0,
            first_seq: 1,
            last_seq: 0,
            erased: 0,
            sealed: 0,
            witness_removed: false,
            last_hash: hex::encode(&Cut::NONE.hash),
            broken: Some(Broken { seq: 0, fault: Fault::CutChanged }),
        }
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
    let head = read_head(&snapshot, key);
    let cut = match cut::read(&snapshot, key) {
        Ok(cut) => cut,
        Err(AuditError::Tampered(_)) if !matches!(head, Err(AuditError::WrongKey)) => {
            return Ok(VerifyReport::forged_cut());
        }
        Err(AuditError::Tampered(_)) => return Err(AuditError::WrongKey),
        Err(other) => return Err(other),
    };
    let walk = walk(&snapshot, key, cut, witness)?;
    let broken = judge(&snapshot, key, (&cut, &walk), head)?;
    Ok(VerifyReport {
        events_intact: walk.seq - cut.seq,
        first_seq: cut.seq + 1,
        last_seq: walk.seq,
        erased: walk.erased,
        sealed: walk.sealed,
        witness_removed: witness.is_some_and(|known| known.seq < cut.seq),
        last_hash: hex::encode(&walk.hash),
        broken,
    })
}

/// How far the chain is right, and why it stopped there.
struct Walk {
    seq: i64,
    hash: Hash,
    erased: i64,
    sealed: i64,
    stop: Option<Stop>,
}

#[derive(Clone, Copy)]
enum Stop {
    Gap,
    Mismatch,
    Witness,
}

/// The columns that this file has.
fn columns(connection: &Connection) -> Result<&'static str, AuditError> {
    let current = schema::is_current(connection).map_err(AuditError::read)?;
    Ok(if current { COLUMNS } else { COLUMNS_FIRST })
}

fn walk(
    connection: &Connection,
    key: &AuditKey,
    cut: Cut,
    witness: Option<Witness>,
) -> Result<Walk, AuditError> {
    let sql = format!("SELECT {} FROM event ORDER BY seq", columns(connection)?);
    let mut statement = connection.prepare(&sql).map_err(AuditError::read)?;
    let mut rows = statement.query([]).map_err(AuditError::read)?;
    let mut scratch = Vec::with_capacity(1024);
    let mut at = Walk { seq: cut.seq, hash: cut.hash, erased: 0, sealed: 0, stop: None };
    if witness.is_some_and(|known| known.seq == cut.seq && !same(&known.hash, &cut.hash)) {
        at.stop = Some(Stop::Witness);
        return Ok(at);
    }
    while let Some(row) = rows.next().map_err(AuditError::read)? {
        let seq: i64 = row.get(0).map_err(AuditError::read)?;
        if seq != at.seq + 1 {
            at.stop = Some(Stop::Gap);
            return Ok(at);
        }
        let stored = Stored::read(row);
        let proven = stored.as_ref().and_then(|s| s.proven(seq, &at.hash, key, &mut scratch));
        let (Some(stored), Some(hash)) = (stored, proven) else {
            at.stop = Some(Stop::Mismatch);
            return Ok(at);
        };
        if witness.is_some_and(|known| known.seq == seq && !same(&known.hash, &hash)) {
            at.stop = Some(Stop::Witness);
            return Ok(at);
        }
        at.erased += i64::from(stored.erased != Erased::No);
        at.sealed += i64::from(stored.erased == Erased::Content);
        (at.seq, at.hash) = (seq, hash);
    }
    if witness.is_some_and(|known| known.seq > at.seq) {
        at.stop = Some(Stop::Witness);
    }
    Ok(at)
}

/// Puts the end of the walk and the head side by side.
fn judge(
    connection: &Connection,
    key: &AuditKey,
    (cut, walk): (&Cut, &Walk),
    head: Result<Option<Head>, AuditError>,
) -> Result<Option<Broken>, AuditError> {
    let next = walk.seq + 1;
    let broken = |seq, fault| Ok(Some(Broken { seq, fault }));
    let head = match head {
        Ok(head) => Ok(head),
        // With an intact chain in front of it the key is right: somebody changed the head.
        Err(AuditError::WrongKey) if walk.seq == cut.seq => return Err(AuditError::WrongKey),
        Err(AuditError::WrongKey | AuditError::Tampered(_)) => Err(Fault::HeadChanged),
        Err(other) => return Err(other),
    };
    let authentic = head.as_ref().ok().copied().flatten();
    let beyond_head = authentic.is_some_and(|head| walk.seq >= head.seq);
    match walk.stop {
        Some(Stop::Witness) => return broken(next, Fault::WitnessDisagrees),
        Some(Stop::Mismatch | Stop::Gap) if beyond_head => return broken(next, Fault::Appended),
        Some(stop @ (Stop::Mismatch | Stop::Gap)) => {
            let found = belongs_at(connection, key, walk)?;
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
) -> Result<Option<i64>, AuditError> {
    let place = walk.seq + 1;
    let columns = columns(connection)?;
    let sql = format!("SELECT {columns} FROM event WHERE seq > ?1 ORDER BY seq");
    let mut statement = connection.prepare(&sql).map_err(AuditError::read)?;
    let mut rows = statement.query([place]).map_err(AuditError::read)?;
    let mut scratch = Vec::with_capacity(1024);
    while let Some(row) = rows.next().map_err(AuditError::read)? {
        let Some(stored) = Stored::read(row) else { continue };
        if stored.proven(place, &walk.hash, key, &mut scratch).is_some() {
            return Ok(Some(stored.seq));
        }
    }
    Ok(None)
}
