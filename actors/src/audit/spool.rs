//! The trail as somebody sees it who copies it elsewhere: in order, from a place on.
//!
//! Called by [`crate::shipping`], on blocking threads. Reads on a connection of its own, a page at a time,
//! so that neither the writer nor the folding of its log ever waits for it.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use uuid::Uuid;

use super::chain::{AuditKey, Hash};
use super::cut;
use super::erasure::{self, Erasure};
use super::error::AuditError;
use super::event::Event;
use super::query::{PREV_HASH, read_event};
use super::schema;

/// The way to the file; a reader opens it anew.
#[derive(Clone)]
pub(crate) struct Spool {
    path: PathBuf,
    key: AuditKey,
}

/// An event on its way elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Spooled {
    pub ts_us: i64,
    pub event: Event,
}

/// Most bytes of bodies on one page, about.
const PAGE_BYTES_MAX: usize = 4 << 20;

impl Spool {
    pub(crate) fn new(path: &Path, key: AuditKey) -> Self {
        Self { path: path.to_owned(), key }
    }

    /// Opens the file for reading.
    pub(crate) fn open(&self) -> Result<SpoolReader, AuditError> {
        let connection = schema::open_reader(&self.path).map_err(AuditError::read)?;
        Ok(SpoolReader { connection, key: self.key.clone() })
    }
}

/// Reads the trail in order.
pub(crate) struct SpoolReader {
    connection: Connection,
    key: AuditKey,
}

impl SpoolReader {
    /// Which file this is; another one in its place has another id.
    pub(crate) fn trail_id(&self) -> Result<Uuid, AuditError> {
        let id = self.connection.query_row("SELECT trail_id FROM trail WHERE id = 1", [], |row| {
            Ok(Uuid::from_slice(row.get_ref(0)?.as_blob()?).unwrap_or_default())
        });
        id.map_err(AuditError::read)
    }

    /// Seq of the last event that retention removed.
    pub(crate) fn removed_up_to(&self) -> Result<i64, AuditError> {
        Ok(cut::read(&self.connection, &self.key)?.seq)
    }

    /// Hash of the event at `seq`; `None` when there is none.
    pub(crate) fn hash_at(&self, seq: i64) -> Result<Option<Hash>, AuditError> {
        let sql = "SELECT hash FROM event WHERE seq = ?1 UNION ALL SELECT hash FROM cut WHERE last_seq = ?1";
        let hash = self.connection.query_row(sql, [seq], |row| row.get(0)).optional();
        hash.map_err(AuditError::read)
    }

    /// When the first event after `seq` was recorded, in microseconds since the epoch.
    pub(crate) fn time_after(&self, seq: i64) -> Result<Option<i64>, AuditError> {
        let sql = "SELECT ts FROM event WHERE seq > ?1 ORDER BY seq LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql).map_err(AuditError::read)?;
        statement.query_row([seq], |row| row.get(0)).optional().map_err(AuditError::read)
    }

    /// At most `count` events after `seq`, in order; fewer when they are large.
    pub(crate) fn after(&self, seq: i64, count: usize) -> Result<Vec<Spooled>, AuditError> {
        let sql = format!("{} WHERE e.seq > ?1 ORDER BY e.seq LIMIT ?2", select());
        let mut statement = self.connection.prepare_cached(&sql).map_err(AuditError::read)?;
        let mut rows = statement.query(params![seq, count as i64]).map_err(AuditError::read)?;
        let (mut page, mut bytes) = (Vec::with_capacity(count), 0);
        while let Some(row) = rows.next().map_err(AuditError::read)? {
            bytes += row.get_ref(9).and_then(|body| Ok(body.as_str()?.len())).unwrap_or(0);
            page.push(spooled(row).map_err(AuditError::read)?);
            if bytes > PAGE_BYTES_MAX {
                break;
            }
        }
        Ok(page)
    }

    /// These events, those that are still there.
    pub(crate) fn at(&self, seqs: &[i64]) -> Result<Vec<Spooled>, AuditError> {
        let places = vec!["?"; seqs.len()].join(",");
        let sql = format!("{} WHERE e.seq IN ({places}) ORDER BY e.seq", select());
        let mut statement = self.connection.prepare(&sql).map_err(AuditError::read)?;
        let rows =
            statement.query_map(params_from_iter(seqs), spooled).map_err(AuditError::read)?;
        rows.collect::<Result<_, _>>().map_err(AuditError::read)
    }

    /// Erasures that the copy still has to follow.
    pub(crate) fn uncopied_erasures(&self) -> Result<Vec<Erasure>, AuditError> {
        erasure::uncopied(&self.connection).map_err(AuditError::read)
    }

    /// Events whose content was changed for an erasure, a page behind `after`.
    pub(crate) fn sealed_events(
        &self,
        erasure: Uuid,
        after: i64,
        count: usize,
    ) -> Result<Vec<i64>, AuditError> {
        erasure::sealed_events(&self.connection, erasure, after, count).map_err(AuditError::read)
    }
}

fn select() -> String {
    format!(
        "SELECT e.seq, e.event_id, e.ts, e.event_type, e.phase, e.call_id, e.user_id, e.tool, \
         e.success, e.body, e.hash, {PREV_HASH}, e.who, e.erased FROM event e"
    )
}

fn spooled(row: &Row<'_>) -> rusqlite::Result<Spooled> {
    let (ts_us, event) = read_event(row)?;
    Ok(Spooled { ts_us, event })
}
