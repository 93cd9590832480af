//! The trail itself: appends batches to the file, keeps the chain, knows which calls are open.
//!
//! Pure and synchronous; owned by [`super::actor::AuditActor`]. Refuses to continue a chain whose end
//! is not as it was left ([`AuditError::Tampered`]) or that another key wrote.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rusqlite::{CachedStatement, Connection, OptionalExtension, TransactionBehavior, params};
use uuid::Uuid;

use super::chain::{AuditKey, Fields, GENESIS, HASH_BYTES, Hash, same};
use super::cut::{self, Cut};
use super::error::AuditError;
use super::event::Phase;
use super::prepared::Prepared;
use super::schema;
use crate::faults;

const INSERT: &str = "INSERT INTO event (seq, event_id, ts, event_type, phase, call_id, user_id, \
     tool, success, body, hash, format, who, salt) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 2, ?12, ?13)";
const READ_HEAD: &str = "SELECT seq, hash, open_from, mac, key_id FROM head WHERE id = 1";
pub(super) const WRITE_HEAD: &str =
    "UPDATE head SET seq = ?1, hash = ?2, open_from = ?3, mac = ?4 WHERE id = 1";

/// The end of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub seq: i64,
    pub hash: Hash,
    /// No intent before this seq lacks its outcome.
    pub open_from: i64,
}

/// A call whose outcome is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenCall {
    pub seq: i64,
    pub ts_us: i64,
    pub call_id: Uuid,
}

/// What an outcome can be written from when the call itself will not.
#[derive(Debug, Default)]
pub(crate) struct Intent {
    pub event_type: String,
    pub user_id: Option<String>,
    pub tool: Option<String>,
    pub body: String,
    pub who: Option<String>,
}

/// Where a batch came to stand: its first seq and the hash of each event.
#[derive(Debug)]
pub(crate) struct Placed {
    pub first_seq: i64,
    pub hashes: Vec<Hash>,
}

/// The writer's view of the file.
pub(crate) struct Store {
    connection: Connection,
    key: AuditKey,
    head: Head,
    open: OpenCalls,
    scratch: Vec<u8>,
}

impl Store {
    /// Opens (or creates) the file and checks that its end is authentic. Cost: independent of length,
    /// except for the stretch since the oldest open call.
    pub(crate) fn open(path: &Path, key: AuditKey, wal_pages: u32) -> Result<Self, AuditError> {
        let mut connection = schema::open_writer(path, wal_pages).map_err(AuditError::write)?;
        let head = found_or_created_head(&mut connection, &key)?;
        check_end(&connection, &head, &cut::read(&connection, &key)?)?;
        let open = OpenCalls::scan(&connection, head.open_from).map_err(AuditError::read)?;
        Ok(Self { connection, key, head, open, scratch: Vec::with_capacity(1024) })
    }

    /// Appends the events in one transaction; returns when it is durable. After an error nothing of
    /// the batch is in the chain and the store can be used again.
    pub(crate) fn append(&mut self, events: &[Prepared]) -> Result<Placed, AuditError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(AuditError::write)?;
        let stored = read_head(&transaction, &self.key)?.ok_or(AuditError::Tampered("no head"))?;
        if (stored.seq, stored.hash) != (self.head.seq, self.head.hash) {
            // A writer that stalled and was replaced committed after all: continue behind it.
            self.open =
                OpenCalls::scan(&transaction, stored.open_from).map_err(AuditError::read)?;
            self.head = stored;
        }
        let first_seq = self.head.seq + 1;
        let mut hashes = Vec::with_capacity(events.len());
        let mut prev = self.head.hash;
        {
            let mut insert = transaction.prepare_cached(INSERT).map_err(AuditError::write)?;
            for (seq, event) in (first_seq..).zip(events) {
                prev = insert_event(&mut insert, event, seq, &prev, &self.key, &mut self.scratch)
                    .map_err(AuditError::write)?;
                hashes.push(prev);
            }
        }
        // The bound may lag by one batch: it only has to lie before every open call.
        let head = Head {
            seq: self.head.seq + events.len() as i64,
            hash: prev,
            open_from: self.open.first_seq().unwrap_or(first_seq),
        };
        write_head(&transaction, &self.key, &head).map_err(AuditError::write)?;
        if faults::passes_with_error("audit.before_commit") {
            return Err(AuditError::write(faults::disk_is_full()));
        }
        transaction.commit().map_err(AuditError::write)?;
        self.head = head;
        for (seq, event) in (first_seq..).zip(events) {
            self.open.note(seq, event);
        }
        // What is durable cannot fail any more; the process can.
        let _ = faults::passes_with_error("audit.after_commit");
        Ok(Placed { first_seq, hashes })
    }

    /// The end of the chain.
    pub(crate) fn head(&self) -> Head {
        self.head
    }

    /// How many calls are open.
    pub(crate) fn open_calls(&self) -> usize {
        self.open.by_seq.len()
    }

    /// Open calls that began before `ts_us`, and the oldest beyond `keep_max`; at most `count_max`.
    pub(crate) fn overdue(&self, ts_us: i64, keep_max: usize, count_max: usize) -> Vec<OpenCall> {
        let excess = self.open.by_seq.len().saturating_sub(keep_max);
        let calls = self.open.by_seq.values().enumerate();
        let late = calls.filter(|(index, call)| *index < excess || call.ts_us < ts_us);
        late.map(|(_, call)| *call).take(count_max).collect()
    }

    /// What the intent at `seq` says; `None` when there is none.
    pub(crate) fn intent(&self, seq: i64) -> rusqlite::Result<Option<Intent>> {
        let sql = "SELECT event_type, user_id, tool, body, who FROM event WHERE seq = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let intent = statement.query_row([seq], |row| {
            Ok(Intent {
                event_type: row.get(0)?,
                user_id: row.get(1)?,
                tool: row.get(2)?,
                body: row.get(3)?,
                who: row.get(4)?,
            })
        });
        intent.optional()
    }

    /// Seq of the oldest open call's intent.
    pub(crate) fn first_open(&self) -> Option<i64> {
        self.open.first_seq()
    }

    /// The connection and the key, for what is done to the file beside appending.
    pub(crate) fn parts(&mut self) -> (&mut Connection, &AuditKey) {
        (&mut self.connection, &self.key)
    }

    #[cfg(test)]
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }
}

fn insert_event(
    insert: &mut CachedStatement<'_>,
    event: &Prepared,
    seq: i64,
    prev: &Hash,
    key: &AuditKey,
    scratch: &mut Vec<u8>,
) -> rusqlite::Result<Hash> {
    let event_id = event.event_id.as_uuid();
    let call_id = event.call_uuid();
    let call_bytes = call_id.as_ref().map(|id| id.as_bytes().as_slice());
    let personal = event.is_personal();
    let commitment = personal
        .then(|| key.commitment(&event.salt, event.user_id.as_deref(), event.who.as_deref()));
    let commitment = commitment.as_ref().map(|hash| hash.as_slice());
    let fields = Fields::of(event, seq, event_id.as_bytes(), call_bytes, commitment);
    let hash = key.event_hash(&fields, prev, scratch);
    insert.execute(params![
        seq,
        fields.event_id,
        fields.ts_us,
        fields.event_type,
        fields.phase,
        fields.call_id,
        event.user_id,
        fields.tool,
        fields.success,
        fields.body,
        hash.as_slice(),
        event.who,
        personal.then_some(event.salt.as_slice()),
    ])?;
    Ok(hash)
}

/// Reads the head and checks its code; `None` when the table is empty.
pub(crate) fn read_head(
    connection: &Connection,
    key: &AuditKey,
) -> Result<Option<Head>, AuditError> {
    let mut statement = connection.prepare_cached(READ_HEAD).map_err(AuditError::read)?;
    let row = statement.query_row([], |row| {
        let blob = |index| row.get_ref(index).and_then(|value| Ok(value.as_blob()?.to_vec()));
        Ok((row.get::<_, i64>(0)?, blob(1)?, row.get::<_, i64>(2)?, blob(3)?, blob(4)?))
    });
    let Some((seq, hash, open_from, mac, key_id)) = row.optional().map_err(AuditError::read)?
    else {
        return Ok(None);
    };
    if key_id != key.id() {
        return Err(AuditError::WrongKey);
    }
    let hash: Hash = hash.try_into().map_err(|_| AuditError::Tampered("the head is malformed"))?;
    if !same(&mac, &key.head_mac(seq, &hash, open_from)) {
        return Err(AuditError::Tampered("the head is not authentic"));
    }
    Ok(Some(Head { seq, hash, open_from }))
}

fn write_head(connection: &Connection, key: &AuditKey, head: &Head) -> rusqlite::Result<()> {
    let mac = key.head_mac(head.seq, &head.hash, head.open_from);
    let mut statement = connection.prepare_cached(WRITE_HEAD)?;
    statement.execute(params![head.seq, head.hash.as_slice(), head.open_from, mac.as_slice()])?;
    Ok(())
}

fn found_or_created_head(connection: &mut Connection, key: &AuditKey) -> Result<Head, AuditError> {
    if let Some(head) = read_head(connection, key)? {
        return Ok(head);
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(AuditError::write)?;
    if last_row(&transaction).map_err(AuditError::read)?.is_some() {
        return Err(AuditError::Tampered("there are events but no head"));
    }
    let head = Head { seq: 0, hash: GENESIS, open_from: 1 };
    let mac = key.head_mac(head.seq, &head.hash, head.open_from);
    transaction
        .execute(
            "INSERT INTO head (id, seq, hash, open_from, mac, key_id) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            params![0, head.hash.as_slice(), head.open_from, mac.as_slice(), key.id().as_slice()],
        )
        .map_err(AuditError::write)?;
    transaction.commit().map_err(AuditError::write)?;
    Ok(head)
}

fn last_row(connection: &Connection) -> rusqlite::Result<Option<(i64, Vec<u8>)>> {
    let sql = "SELECT seq, hash FROM event ORDER BY seq DESC LIMIT 1";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// The last event must be the one the head names.
fn check_end(connection: &Connection, head: &Head, cut: &Cut) -> Result<(), AuditError> {
    let last = last_row(connection).map_err(AuditError::read)?;
    let (seq, hash) = last.unwrap_or((cut.seq, cut.hash.to_vec()));
    match seq.cmp(&head.seq) {
        std::cmp::Ordering::Less => Err(AuditError::Tampered("its tail is cut off")),
        std::cmp::Ordering::Greater => Err(AuditError::Tampered("events were appended")),
        std::cmp::Ordering::Equal if hash.len() != HASH_BYTES || !same(&hash, &head.hash) => {
            Err(AuditError::Tampered("its last event was changed"))
        }
        std::cmp::Ordering::Equal => Ok(()),
    }
}

/// Calls whose intent is in the trail and whose outcome is not.
#[derive(Default)]
struct OpenCalls {
    by_seq: BTreeMap<i64, OpenCall>,
    by_call: HashMap<Uuid, i64>,
}

impl OpenCalls {
    fn scan(connection: &Connection, from_seq: i64) -> rusqlite::Result<Self> {
        let mut open = Self::default();
        let sql = "SELECT seq, ts, phase, call_id FROM event \
                   WHERE seq >= ?1 AND phase <> 'single' AND call_id IS NOT NULL ORDER BY seq";
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([from_seq])?;
        while let Some(row) = rows.next()? {
            let Ok(call_id) = Uuid::from_slice(row.get_ref(3)?.as_blob()?) else { continue };
            match Phase::parse(row.get_ref(2)?.as_str()?) {
                Some(Phase::Intent) => {
                    open.begin(OpenCall { seq: row.get(0)?, ts_us: row.get(1)?, call_id });
                }
                _ => open.end(&call_id),
            }
        }
        Ok(open)
    }

    fn note(&mut self, seq: i64, event: &Prepared) {
        match (event.phase, event.call_uuid()) {
            (Phase::Intent, Some(call_id)) => {
                self.begin(OpenCall { seq, ts_us: event.ts_us, call_id });
            }
            (Phase::Outcome, Some(call_id)) => self.end(&call_id),
            _ => {}
        }
    }

    fn begin(&mut self, call: OpenCall) {
        if self.by_call.contains_key(&call.call_id) {
            return;
        }
        self.by_call.insert(call.call_id, call.seq);
        self.by_seq.insert(call.seq, call);
    }

    fn end(&mut self, call_id: &Uuid) {
        if let Some(seq) = self.by_call.remove(call_id) {
            self.by_seq.remove(&seq);
        }
    }

    fn first_seq(&self) -> Option<i64> {
        self.by_seq.keys().next().copied()
    }
}
