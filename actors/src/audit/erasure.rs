//! Erasing a person from the trail so that the chain still verifies.
//!
//! Owned by [`super::store::Store`]; called by the writer between its batches, a window at a time. Who did
//! something is replaced by the commitment that is hashed already; names elsewhere in an event (what was
//! done *to* the person), and events of the first format, are cut out and the event is sealed. Every
//! changed event keeps its hash. An event that does not verify is left alone and reported: erasing must
//! not launder what somebody else changed.
//!
//! Crash-safe: what is asked for stands in the table `erasure` until it is done everywhere, and every
//! step is one transaction. The name stands there for as long, because it is needed to find the events.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use uuid::Uuid;

use super::chain::{AuditKey, Erased, FORMAT_PLAIN, Hash};
use super::cut;
use super::error::AuditError;
use super::event::{EventType, NewEvent, Phase};
use super::naming::{names, without_name};
use super::prepared::Prepared;
use super::row::{COLUMNS, Stored};
use super::store::Store;
use super::upkeep::ErasureReport;
use crate::ids::CallerId;

/// Events looked at in one step: a pause of a few milliseconds.
const WINDOW: i64 = 1000;
/// How long after it was asked for an erasure looks again: calls that ran meanwhile record their outcomes.
pub(crate) const SECOND_LOOK_US: i64 = 15 * 60 * 1_000_000;

/// The stored events were looked through once.
pub(crate) const STAGE_LOOKED: i64 = 1;
/// And again, for what was recorded meanwhile.
pub(crate) const STAGE_DONE: i64 = 2;

/// A person whose erasure is not finished everywhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Erasure {
    pub id: Uuid,
    pub user: String,
    pub asked_us: i64,
    next_seq: i64,
    pub changed: i64,
    pub sealed: i64,
    pub stage: i64,
    /// The stage that copies elsewhere have been brought to.
    pub copied: i64,
}

/// What one step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub erasure: Erasure,
    /// Events that do not verify and were left alone.
    pub unproven: usize,
}

const SELECT: &str =
    "SELECT id, user_id, asked, next_seq, changed, sealed, stage, copied FROM erasure";

fn read_erasure(row: &Row<'_>) -> rusqlite::Result<Erasure> {
    Ok(Erasure {
        id: Uuid::from_slice(row.get_ref(0)?.as_blob()?).unwrap_or_default(),
        user: row.get(1)?,
        asked_us: row.get(2)?,
        next_seq: row.get(3)?,
        changed: row.get(4)?,
        sealed: row.get(5)?,
        stage: row.get(6)?,
        copied: row.get(7)?,
    })
}

/// Erasures that copies elsewhere still have to follow.
pub(crate) fn uncopied(connection: &Connection) -> rusqlite::Result<Vec<Erasure>> {
    let mut statement =
        connection.prepare_cached(&format!("{SELECT} WHERE copied < stage ORDER BY asked"))?;
    statement.query_map([], read_erasure)?.collect()
}

/// Events whose content was changed for this erasure, a page behind `after`.
pub(crate) fn sealed_events(
    connection: &Connection,
    erasure: Uuid,
    after: i64,
    count: usize,
) -> rusqlite::Result<Vec<i64>> {
    let sql = "SELECT event_seq FROM erasure_event WHERE erasure = ?1 AND event_seq > ?2 \
               ORDER BY event_seq LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement
        .query_map(params![erasure.as_bytes().as_slice(), after, count as i64], |row| row.get(0))?;
    rows.collect()
}

impl Store {
    /// Notes durably that the person is to be erased; asking again starts again.
    pub(crate) fn begin_erasure(&mut self, user: &str, now_us: i64) -> Result<Uuid, AuditError> {
        let (connection, _) = self.parts();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(AuditError::write)?;
        let known = transaction
            .query_row("SELECT id FROM erasure WHERE user_id = ?1", [user], |row| {
                Ok(Uuid::from_slice(row.get_ref(0)?.as_blob()?).unwrap_or_default())
            })
            .optional()
            .map_err(AuditError::read)?;
        let id = known.unwrap_or_else(Uuid::now_v7);
        transaction
            .execute(
                "INSERT INTO erasure (id, user_id, asked, next_seq) VALUES (?1, ?2, ?3, 0) \
                 ON CONFLICT (id) DO UPDATE SET asked = excluded.asked, next_seq = 0, stage = 0, \
                 copied = 0",
                params![id.as_bytes().as_slice(), user, now_us],
            )
            .map_err(AuditError::write)?;
        transaction.commit().map_err(AuditError::write)?;
        Ok(id)
    }

    /// Looks through the next window for the first erasure that is not done; `None` when there is
    /// nothing to do now. `copies`: somebody copies the trail elsewhere and has to follow.
    pub(crate) fn erase_step(
        &mut self,
        now_us: i64,
        copies: bool,
    ) -> Result<Option<Step>, AuditError> {
        let head = self.head().seq;
        let (connection, key) = self.parts();
        let sql = format!(
            "{SELECT} WHERE stage = 0 OR (stage = 1 AND asked < ?1) ORDER BY stage, asked LIMIT 1"
        );
        let due = connection
            .prepare_cached(&sql)
            .and_then(|mut s| s.query_row([now_us - SECOND_LOOK_US], read_erasure).optional())
            .map_err(AuditError::read)?;
        let Some(mut erasure) = due else { return Ok(None) };
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(AuditError::write)?;
        let window = look_through(&transaction, key, &erasure)?;
        for change in &window.changes {
            change.apply(&transaction, erasure.id).map_err(AuditError::write)?;
        }
        erasure.changed += window.changes.len() as i64;
        erasure.sealed +=
            window.changes.iter().filter(|c| c.erased == Erased::Content).count() as i64;
        erasure.next_seq = window.next_seq.min(head + 1);
        if erasure.next_seq > head {
            erasure.stage += 1;
        }
        save(&transaction, &erasure, copies).map_err(AuditError::write)?;
        transaction.commit().map_err(AuditError::write)?;
        if erasure.next_seq > head {
            fold_away(connection);
        }
        Ok(Some(Step { erasure, unproven: window.unproven }))
    }

    /// Notes that copies elsewhere have been brought to this stage.
    pub(crate) fn erasure_copied(&mut self, id: Uuid, stage: i64) -> Result<(), AuditError> {
        let (connection, _) = self.parts();
        let note = |sql: &str| connection.execute(sql, params![id.as_bytes().as_slice(), stage]);
        note("UPDATE erasure SET copied = max(copied, ?2) WHERE id = ?1")
            .and_then(|_| {
                note("DELETE FROM erasure WHERE id = ?1 AND stage >= 2 AND copied >= 2 AND ?2 >= 2")
            })
            .and_then(|gone| match gone {
                0 => Ok(0),
                _ => connection.execute(
                    "DELETE FROM erasure_event WHERE erasure = ?1",
                    [id.as_bytes().as_slice()],
                ),
            })
            .map(drop)
            .map_err(AuditError::write)
    }
}

/// Erases a person while no server runs, and records it. Calls cannot run meanwhile, so one look is the
/// last. `copies`: the trail is copied elsewhere, and the copy has to follow when the server runs again.
///
/// # Errors
/// A server uses the file, it belongs to another key, its end was tampered with, or it cannot be written.
pub fn erase_offline(
    path: &Path,
    key: &AuditKey,
    user: &CallerId,
    copies: bool,
) -> Result<ErasureReport, AuditError> {
    let _lock = super::lock(path)?;
    let mut store = Store::open(path, key.clone(), super::AuditOptions::default().wal_pages)?;
    let asked_us = chrono::Utc::now().timestamp_micros();
    let id = store.begin_erasure(user.as_str(), asked_us)?;
    let mut report = ErasureReport::default();
    while let Some(Step { erasure, unproven }) =
        store.erase_step(asked_us + SECOND_LOOK_US + 1, copies)?
    {
        if unproven > 0 {
            tracing::error!(events = unproven, "events that do not verify were not erased");
        }
        if erasure.id == id {
            report = ErasureReport { events: erasure.changed, sealed: erasure.sealed };
        }
    }
    let mut event = NewEvent::new(EventType::DataDelete, Phase::Single, "users/erase");
    event.resource = Some("user".into());
    event.success = Some(true);
    event.details.insert("transport".into(), "command line".into());
    event.details.insert("events".into(), report.events.into());
    event.details.insert("events_sealed".into(), report.sealed.into());
    store.append(&[Prepared::new(&event)])?;
    Ok(report)
}

/// What a window holds.
struct Window {
    changes: Vec<Change>,
    unproven: usize,
    next_seq: i64,
}

fn look_through(
    connection: &Connection,
    key: &AuditKey,
    erasure: &Erasure,
) -> Result<Window, AuditError> {
    let cut = cut::read(connection, key)?;
    let first = erasure.next_seq.max(cut.seq + 1);
    let sql = format!("SELECT {COLUMNS} FROM event WHERE seq >= ?1 AND seq < ?2 ORDER BY seq");
    let mut statement = connection.prepare_cached(&sql).map_err(AuditError::read)?;
    // One more at the beginning: its hash is what the first one follows.
    let mut rows = statement.query(params![first - 1, first + WINDOW]).map_err(AuditError::read)?;
    let mut scratch = Vec::new();
    let mut prev = (first == cut.seq + 1).then_some(cut.hash);
    let mut window = Window { changes: Vec::new(), unproven: 0, next_seq: first + WINDOW };
    while let Some(row) = rows.next().map_err(AuditError::read)? {
        let Some(stored) = Stored::read(row) else {
            (prev, window.unproven) = (None, window.unproven + 1);
            continue;
        };
        let hash: Option<Hash> = stored.hash.try_into().ok();
        if stored.seq >= first && is_named(&stored, &erasure.user) {
            let change =
                prev.and_then(|prev| Change::of(&stored, &erasure.user, &prev, key, &mut scratch));
            match change {
                Some(change) => window.changes.push(change),
                None => window.unproven += 1,
            }
        }
        prev = hash;
    }
    Ok(window)
}

/// Writes back how far an erasure is; forgets it, and with it the name, when it is done everywhere.
fn save(connection: &Connection, erasure: &Erasure, copies: bool) -> rusqlite::Result<()> {
    let id = erasure.id.as_bytes().as_slice();
    if erasure.stage >= STAGE_DONE && !copies {
        connection.execute("DELETE FROM erasure_event WHERE erasure = ?1", [id])?;
        return connection.execute("DELETE FROM erasure WHERE id = ?1", [id]).map(drop);
    }
    let sql =
        "UPDATE erasure SET next_seq = ?2, changed = ?3, sealed = ?4, stage = ?5 WHERE id = ?1";
    let Erasure { next_seq, changed, sealed, stage, .. } = erasure;
    connection.prepare_cached(sql)?.execute(params![id, next_seq, changed, sealed, stage]).map(drop)
}

/// Folds the write-ahead log, which still holds what was erased, into the database, unless somebody reads.
fn fold_away(connection: &Connection) {
    let folded = connection
        .busy_timeout(std::time::Duration::ZERO)
        .and_then(|()| connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())))
        .and(connection.busy_timeout(crate::sqlite::BUSY_TIMEOUT));
    if let Err(error) = folded {
        tracing::debug!(%error, "the write-ahead log is folded later");
    }
}

fn is_named(stored: &Stored<'_>, user: &str) -> bool {
    stored.user_id == Some(user) || names(stored.body, user)
}

/// What an event is to become.
struct Change {
    seq: i64,
    user_id: Option<String>,
    who: Option<String>,
    salt: Option<Vec<u8>>,
    commitment: Option<Hash>,
    body: String,
    erased: Erased,
    seal: Hash,
}

impl Change {
    /// `None` when the event does not verify as it stands.
    fn of(
        stored: &Stored<'_>,
        user: &str,
        prev: &Hash,
        key: &AuditKey,
        scratch: &mut Vec<u8>,
    ) -> Option<Self> {
        let hash = stored.proven(stored.seq, prev, key, scratch)?;
        let commitment = stored.commitment(key).ok().flatten();
        let own = stored.user_id == Some(user);
        let plain = stored.format == FORMAT_PLAIN;
        let body = match (names(stored.body, user), own && plain) {
            (false, false) => stored.body.to_owned(),
            (_, with_who) => without_name(stored.body, user, with_who),
        };
        let erased = match body == stored.body && !(own && plain) {
            true if stored.erased == Erased::No => Erased::Who,
            true => stored.erased,
            false => Erased::Content,
        };
        let mut new = stored.clone();
        new.body = &body;
        if own {
            (new.user_id, new.who, new.salt) = (None, None, None);
        }
        let kept = commitment.filter(|_| !plain && new.salt.is_none());
        let seal = key.seal(
            (erased, new.is_named()),
            &new.fields(stored.seq, commitment.as_ref()),
            (prev, &hash),
            scratch,
        );
        Some(Self {
            seq: stored.seq,
            user_id: new.user_id.map(str::to_owned),
            who: new.who.map(str::to_owned),
            salt: new.salt.map(<[u8]>::to_vec),
            commitment: kept,
            erased,
            seal,
            body,
        })
    }

    fn apply(&self, connection: &Connection, erasure: Uuid) -> rusqlite::Result<()> {
        let sql = "UPDATE event SET user_id = ?2, who = ?3, salt = ?4, commitment = ?5, body = ?6, \
                   erased = ?7, seal = ?8 WHERE seq = ?1";
        connection.prepare_cached(sql)?.execute(params![
            self.seq,
            self.user_id,
            self.who,
            self.salt,
            self.commitment.as_ref().map(|hash| hash.as_slice()),
            self.body,
            self.erased as i64,
            self.seal.as_slice(),
        ])?;
        if self.erased == Erased::Content {
            let sql = "INSERT INTO erasure_event (erasure, event_seq) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
            connection
                .prepare_cached(sql)?
                .execute(params![erasure.as_bytes().as_slice(), self.seq])?;
        }
        Ok(())
    }
}
