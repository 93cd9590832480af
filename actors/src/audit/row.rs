//! A stored event as the proof sees it: are its columns what the chain says they are?
//!
//! Used by [`super::verify`], by the check of exported files, and before an event is erased.

use rusqlite::Row;

use super::chain::{
    AuditKey, Erased, FORMAT_COMMITTED, FORMAT_PLAIN, Fields, HASH_BYTES, Hash, SALT_BYTES, same,
};

/// The columns of [`Stored::read`].
pub(crate) const COLUMNS: &str = "seq, event_id, ts, event_type, phase, call_id, user_id, tool, \
     success, body, hash, format, who, salt, commitment, erased, seal";
/// The same of a file whose tables are of the first version.
pub(crate) const COLUMNS_FIRST: &str = "seq, event_id, ts, event_type, phase, call_id, user_id, tool, \
     success, body, hash, 1, NULL, NULL, NULL, 0, NULL";

/// Every column of an event.
#[derive(Clone, Debug)]
pub(crate) struct Stored<'a> {
    pub seq: i64,
    pub event_id: &'a [u8],
    pub ts_us: i64,
    pub event_type: &'a str,
    pub phase: &'a str,
    pub call_id: Option<&'a [u8]>,
    pub user_id: Option<&'a str>,
    pub tool: Option<&'a str>,
    pub success: Option<i64>,
    pub body: &'a str,
    pub hash: &'a [u8],
    pub format: i64,
    pub who: Option<&'a str>,
    pub salt: Option<&'a [u8]>,
    pub commitment: Option<&'a [u8]>,
    pub erased: Erased,
    pub seal: Option<&'a [u8]>,
}

impl<'a> Stored<'a> {
    /// The event of a row of [`COLUMNS`]; `None` when a column is not what was ever written.
    pub(crate) fn read(row: &'a Row<'_>) -> Option<Self> {
        let text = |index| row.get_ref(index).ok()?.as_str().ok();
        let text_or_null = |index| row.get_ref(index).ok()?.as_str_or_null().ok();
        let blob_or_null = |index| row.get_ref(index).ok()?.as_blob_or_null().ok();
        Some(Self {
            seq: row.get(0).ok()?,
            event_id: row.get_ref(1).ok()?.as_blob().ok()?,
            ts_us: row.get(2).ok()?,
            event_type: text(3)?,
            phase: text(4)?,
            call_id: blob_or_null(5)?,
            user_id: text_or_null(6)?,
            tool: text_or_null(7)?,
            success: row.get(8).ok()?,
            body: text(9)?,
            hash: row.get_ref(10).ok()?.as_blob().ok()?,
            format: row.get(11).ok()?,
            who: text_or_null(12)?,
            salt: blob_or_null(13)?,
            commitment: blob_or_null(14)?,
            erased: Erased::from_column(row.get(15).ok()?)?,
            seal: blob_or_null(16)?,
        })
    }

    /// The commitment that stands in what is hashed. `Err` when the columns contradict one another.
    pub(crate) fn commitment(&self, key: &AuditKey) -> Result<Option<Hash>, Contradiction> {
        let nobody = !self.is_named();
        match (self.salt, self.commitment) {
            (Some(salt), None) if salt.len() == SALT_BYTES => {
                Ok(Some(key.commitment(salt, self.user_id, self.who)))
            }
            (None, Some(kept)) if nobody && self.erased != Erased::No => {
                kept.try_into().map(Some).map_err(|_| Contradiction)
            }
            (None, None) if nobody => Ok(None),
            _ => Err(Contradiction),
        }
    }

    /// Whether it says who did it.
    pub(crate) fn is_named(&self) -> bool {
        self.user_id.is_some() || self.who.is_some()
    }

    /// The columns as they are hashed at `seq`, with the commitment of [`Stored::commitment`].
    pub(crate) fn fields<'b>(&'b self, seq: i64, commitment: Option<&'b Hash>) -> Fields<'b> {
        let who = match self.format {
            FORMAT_PLAIN => self.user_id.map(str::as_bytes),
            _ => commitment.map(|hash| hash.as_slice()),
        };
        Fields {
            format: self.format,
            seq,
            event_id: self.event_id,
            ts_us: self.ts_us,
            event_type: self.event_type,
            phase: self.phase,
            call_id: self.call_id,
            who,
            tool: self.tool,
            success: self.success,
            body: self.body,
        }
    }

    /// The event's hash, when it and the seal are right for a place at `seq` behind `prev`.
    pub(crate) fn proven(
        &self,
        seq: i64,
        prev: &Hash,
        key: &AuditKey,
        scratch: &mut Vec<u8>,
    ) -> Option<Hash> {
        let stored: Hash = self.hash.try_into().ok()?;
        let commitment = match self.format {
            FORMAT_COMMITTED => self.commitment(key).ok()?,
            FORMAT_PLAIN if self.who.is_none() && self.salt.is_none() => None,
            _ => return None,
        };
        if self.format == FORMAT_PLAIN && self.commitment.is_some() {
            return None;
        }
        let fields = self.fields(seq, commitment.as_ref());
        let sealed = match (self.erased, self.seal) {
            (Erased::No, None) => true,
            (Erased::No, Some(_)) | (_, None) => false,
            (erased, Some(seal)) => {
                same(seal, &key.seal((erased, self.is_named()), &fields, (prev, &stored), scratch))
            }
        };
        // A sealed event's hash is that of content which is gone.
        let hashed = self.erased == Erased::Content
            || same(&stored, &key.event_hash(&fields, prev, scratch));
        (sealed && hashed).then_some(stored)
    }
}

const _: () = assert!(HASH_BYTES == 32, "commitments and hashes share their size");

/// Columns that no server ever wrote together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;
