//! The other end of the chain: what retention removed, and how it does.
//!
//! Owned by [`super::store::Store`]; called by the writer between its batches. The record says, under a
//! code of its own, which event was the last to go; verification begins behind it. It moves and the
//! events go in one transaction, so that a crash leaves either both or neither.

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::chain::{AuditKey, GENESIS, Hash, same};
use super::error::AuditError;
use super::schema;
use super::store::Store;

/// The last event that was removed; seq 0 when none ever was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    pub seq: i64,
    pub hash: Hash,
}

impl Cut {
    /// Nothing was ever removed.
    pub(crate) const NONE: Cut = Cut { seq: 0, hash: GENESIS };
}

/// Reads the record and checks its code.
pub(crate) fn read(connection: &Connection, key: &AuditKey) -> Result<Cut, AuditError> {
    if !schema::is_current(connection).map_err(AuditError::read)? {
        return Ok(Cut::NONE);
    }
    let mut statement = connection
        .prepare_cached("SELECT last_seq, hash, mac FROM cut WHERE id = 1")
        .map_err(AuditError::read)?;
    let row = statement.query_row([], |row| {
        let blob = |index| row.get_ref(index).and_then(|value| Ok(value.as_blob()?.to_vec()));
        Ok((row.get::<_, i64>(0)?, blob(1)?, blob(2)?))
    });
    let Some((seq, hash, mac)) = row.optional().map_err(AuditError::read)? else {
        return Ok(Cut::NONE);
    };
    let forged = AuditError::Tampered("the record of what retention removed is not authentic");
    let hash: Hash = hash.try_into().map_err(|_| forged.clone())?;
    match same(&mac, &key.cut_mac(seq, &hash)) {
        true => Ok(Cut { seq, hash }),
        false => Err(forged),
    }
}

fn write(connection: &Connection, key: &AuditKey, cut: &Cut) -> rusqlite::Result<()> {
    let sql = "INSERT INTO cut (id, last_seq, hash, mac) VALUES (1, ?1, ?2, ?3) ON CONFLICT (id) \
               DO UPDATE SET last_seq = excluded.last_seq, hash = excluded.hash, mac = excluded.mac";
    let mac = key.cut_mac(cut.seq, &cut.hash);
    let mut statement = connection.prepare_cached(sql)?;
    statement.execute(params![cut.seq, cut.hash.as_slice(), mac.as_slice()]).map(drop)
}

impl Store {
    /// Removes events older than `before_us` from the beginning of the chain, at most `count_max` and
    /// none after `seq_max`; returns how many went. A call that is still open is never removed.
    pub(crate) fn cut_expired(
        &mut self,
        before_us: i64,
        seq_max: i64,
        count_max: usize,
    ) -> Result<usize, AuditError> {
        let seq_max = self.first_open().map_or(seq_max, |open| seq_max.min(open - 1));
        let (connection, key) = self.parts();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(AuditError::write)?;
        let old = read(&transaction, key)?;
        let new = last_expired(&transaction, old, before_us, seq_max, count_max)
            .map_err(AuditError::read)?;
        let Some(new) = new else { return Ok(0) };
        write(&transaction, key, &new).map_err(AuditError::write)?;
        let removed = transaction
            .prepare_cached("DELETE FROM event WHERE seq <= ?1")
            .and_then(|mut delete| delete.execute([new.seq]))
            .map_err(AuditError::write)?;
        transaction.commit().map_err(AuditError::write)?;
        Ok(removed)
    }
}

/// The last of the expired events that follow the cut without a younger one between them.
fn last_expired(
    connection: &Connection,
    cut: Cut,
    before_us: i64,
    seq_max: i64,
    count_max: usize,
) -> rusqlite::Result<Option<Cut>> {
    let sql = "SELECT seq, ts, hash FROM event WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![cut.seq, seq_max, count_max as i64])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        if row.get::<_, i64>(1)? >= before_us {
            break;
        }
        let Ok(hash) = row.get_ref(2)?.as_blob()?.try_into() else { break };
        last = Some(Cut { seq: row.get(0)?, hash });
    }
    Ok(last)
}
