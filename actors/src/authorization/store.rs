//! Role assignments and revocations on disk (`state.db`).
//!
//! Pure and synchronous; owned by [`super::actor::AuthorizationActor`]. Every change is durable when its
//! function returns (WAL, `synchronous = FULL`).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::bans::BanSet;
use super::entry::{Entry, RoleEntry};
use super::erasure::{ERASED, Erasures, Fate, hash_of};
use super::snapshot::{NameHash, Snapshot, name_hash};
use crate::faults;
use crate::node::NodeId;
use crate::sqlite::open_durable;

/// `ledger` holds every fact with its rank, as nodes exchange them; the other tables are what follows
/// from it, in the form that is asked for. `known_user` keeps a user whose last role was removed: known, with nothing granted.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS known_user (
  user_id TEXT PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS role_assignment (
  user_id    TEXT    NOT NULL REFERENCES known_user (user_id),
  role       TEXT    NOT NULL,
  granted_by TEXT    NOT NULL,
  granted_at INTEGER NOT NULL,
  PRIMARY KEY (user_id, role)
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS role_assignment_by_role ON role_assignment (role);
CREATE TABLE IF NOT EXISTS revoked_token (
  jti        TEXT    PRIMARY KEY,
  expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS revoked_token_by_expiry ON revoked_token (expires_at);
CREATE TABLE IF NOT EXISTS revoked_user (
  user_id       TEXT    PRIMARY KEY,
  issued_before INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased_user (
  name_hash     BLOB    PRIMARY KEY,
  issued_before INTEGER NOT NULL,
  until         INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS ledger (
  field TEXT PRIMARY KEY,
  kind  TEXT NOT NULL,
  rank  TEXT NOT NULL,
  body  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ledger_by_kind ON ledger (kind);
";

/// `user_version` of a file whose every row has its fact in the ledger.
const LEDGER_COMPLETE: i64 = 1;

/// One stored role of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assignment {
    /// The role.
    pub role: String,
    /// Who granted it.
    pub granted_by: String,
    /// When, in seconds since the epoch.
    pub granted_at: i64,
}

pub(super) struct Store {
    connection: Connection,
}

impl Store {
    pub(super) fn open(path: &Path, node: &NodeId) -> rusqlite::Result<Self> {
        let connection = open_durable(path)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // What is erased is overwritten, not only unlinked.
        connection.pragma_update(None, "secure_delete", true)?;
        connection.execute_batch(TABLES)?;
        let mut store = Self { connection };
        store.complete_ledger(node)?;
        Ok(store)
    }

    /// Gives rows of files from before there was a ledger their facts.
    fn complete_ledger(&mut self, node: &NodeId) -> rusqlite::Result<()> {
        let version: i64 =
            self.connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version >= LEDGER_COMPLETE {
            return Ok(());
        }
        let transaction = self.connection.transaction()?;
        for entry in entries_of_tables(&transaction, node)? {
            write_fact(&transaction, &entry)?;
        }
        transaction.pragma_update(None, "user_version", LEDGER_COMPLETE)?;
        transaction.commit()
    }

    /// Fills a snapshot with everything stored.
    pub(super) fn load_into(&self, snapshot: &mut Snapshot) -> rusqlite::Result<()> {
        let mut roles: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut users = self.connection.prepare(
            "SELECT k.user_id, a.role FROM known_user k LEFT JOIN role_assignment a USING (user_id) \
             ORDER BY k.user_id, a.role",
        )?;
        let mut rows = users.query([])?;
        while let Some(row) = rows.next()? {
            let of_user = roles.entry(row.get(0)?).or_default();
            of_user.extend(row.get::<_, Option<String>>(1)?);
        }
        for (user, roles) in roles {
            snapshot.roles.insert(&user, roles.into());
        }
        let mut tokens = self.connection.prepare("SELECT jti, expires_at FROM revoked_token")?;
        let mut rows = tokens.query([])?;
        while let Some(row) = rows.next()? {
            snapshot.tokens.insert(row.get_ref(0)?.as_str()?, row.get(1)?);
        }
        let mut users =
            self.connection.prepare("SELECT user_id, issued_before FROM revoked_user")?;
        let mut rows = users.query([])?;
        while let Some(row) = rows.next()? {
            snapshot.users.insert(row.get_ref(0)?.as_str()?, row.get(1)?);
        }
        snapshot.bans = Arc::new(self.bans()?);
        snapshot.erased = Arc::new(self.erased()?);
        Ok(())
    }

    /// The bans that hold and those that expired and were not dropped yet.
    pub(super) fn bans(&self) -> rusqlite::Result<BanSet> {
        let sql = "SELECT body FROM ledger WHERE kind IN ('ban', 'lift')";
        let mut statement = self.connection.prepare_cached(sql)?;
        let bodies: Vec<String> =
            statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        Ok(BanSet::of(bodies.iter().filter_map(|body| Entry::from_json(body))))
    }

    /// Erased users whose tokens may still be about.
    pub(super) fn erased(&self) -> rusqlite::Result<HashMap<NameHash, i64>> {
        let sql = "SELECT name_hash, issued_before FROM erased_user";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Which users were erased, and when.
    pub(super) fn erasures(&self) -> rusqlite::Result<Erasures> {
        erasures(&self.connection)
    }

    /// Forgets erased users whose tokens have all expired; says whether there were any.
    pub(super) fn purge_erased(&mut self, now: i64) -> rusqlite::Result<bool> {
        let sql = "DELETE FROM ledger WHERE kind = 'erase' AND json_extract(body, '$.until') < ?1";
        self.connection.prepare_cached(sql)?.execute([now])?;
        let sql = "DELETE FROM erased_user WHERE until < ?1";
        Ok(self.connection.prepare_cached(sql)?.execute([now])? > 0)
    }

    /// Every fact, field and rank and body.
    pub(super) fn ledger(&self) -> rusqlite::Result<Vec<(String, String, String)>> {
        let mut statement = self.connection.prepare("SELECT field, rank, body FROM ledger")?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        rows.collect()
    }

    /// The fact that is held about the same thing.
    pub(super) fn held(&self, field: &str) -> rusqlite::Result<Option<Entry>> {
        let sql = "SELECT body FROM ledger WHERE field = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let body: Option<String> = statement.query_row([field], |row| row.get(0)).optional()?;
        Ok(body.as_deref().and_then(Entry::from_json))
    }

    /// Takes those facts that outrank what is held, all or nothing, and returns them.
    pub(super) fn take(&mut self, entries: Vec<Entry>) -> rusqlite::Result<Vec<Entry>> {
        let transaction = self.connection.transaction()?;
        let (mut taken, erasures) = (Vec::new(), erasures(&transaction)?);
        for entry in entries {
            let (Fate::Stays(entry) | Fate::Loses(entry)) = erasures.fate(entry) else { continue };
            if write_fact(&transaction, &entry)? {
                write_tables(&transaction, &entry)?;
                taken.push(entry);
            }
        }
        if faults::passes_with_error("authorization.before_commit") {
            return Err(faults::disk_is_full());
        }
        transaction.commit()?;
        Ok(taken)
    }

    /// The stored roles of a user with their origin; `None` when the store never knew the user.
    pub(super) fn roles_of(&self, user: &str) -> rusqlite::Result<Option<Vec<Assignment>>> {
        let known = "SELECT 1 FROM known_user WHERE user_id = ?1";
        let known = self.connection.prepare_cached(known)?.query_row([user], |_| Ok(()));
        if known.optional()?.is_none() {
            return Ok(None);
        }
        let mut statement = self.connection.prepare_cached(
            "SELECT role, granted_by, granted_at FROM role_assignment WHERE user_id = ?1 \
             ORDER BY role",
        )?;
        let rows = statement.query_map([user], |row| {
            Ok(Assignment { role: row.get(0)?, granted_by: row.get(1)?, granted_at: row.get(2)? })
        })?;
        rows.collect::<Result<_, _>>().map(Some)
    }

    /// Whether somebody other than `user` has one of these roles stored.
    pub(super) fn others_have(&self, user: &str, roles: &[&String]) -> rusqlite::Result<bool> {
        let sql = "SELECT 1 FROM role_assignment WHERE role = ?1 AND user_id <> ?2 LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        for role in roles {
            if statement.query_row([role.as_str(), user], |_| Ok(())).optional()?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets what expired before `now`: revocations of tokens, bans, ends of bans. Returns the
    /// tokens' ids.
    pub(super) fn purge(&mut self, now: i64) -> rusqlite::Result<Vec<Arc<str>>> {
        let transaction = self.connection.transaction()?;
        let purged: Vec<Arc<str>> = {
            let sql = "DELETE FROM revoked_token WHERE expires_at < ?1 RETURNING jti";
            let mut statement = transaction.prepare_cached(sql)?;
            let rows = statement.query_map([now], |row| row.get(0))?;
            rows.collect::<Result<_, _>>()?
        };
        for jti in &purged {
            let sql = "DELETE FROM ledger WHERE field = 'token:' || ?1";
            transaction.prepare_cached(sql)?.execute([jti])?;
        }
        let sql = "DELETE FROM ledger WHERE kind IN ('ban', 'lift') \
                   AND json_extract(body, '$.expires_at') < ?1";
        transaction.prepare_cached(sql)?.execute([now])?;
        transaction.commit()?;
        Ok(purged)
    }
}

/// Writes the fact unless one of the same or a greater rank is held; says whether it did.
fn write_fact(connection: &Connection, entry: &Entry) -> rusqlite::Result<bool> {
    let kind = match entry {
        Entry::Role(_) => "role",
        Entry::Token { .. } => "token",
        Entry::User { .. } => "user",
        Entry::Ban(_) => "ban",
        Entry::Lift { .. } => "lift",
        Entry::Erase { .. } => "erase",
    };
    let sql = "INSERT INTO ledger (field, kind, rank, body) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (field) DO UPDATE SET rank = excluded.rank, body = excluded.body \
               WHERE excluded.rank > ledger.rank";
    let row = params![entry.field(), kind, entry.rank(), entry.to_json()];
    Ok(connection.prepare_cached(sql)?.execute(row)? > 0)
}

/// Makes the tables follow a fact that was taken.
fn write_tables(connection: &Connection, entry: &Entry) -> rusqlite::Result<()> {
    match entry {
        Entry::Role(RoleEntry { user, role, granted_by, granted_at, removed, .. }) => {
            let sql = "INSERT INTO known_user (user_id) VALUES (?1) ON CONFLICT DO NOTHING";
            connection.prepare_cached(sql)?.execute([user])?;
            let sql = "DELETE FROM role_assignment WHERE user_id = ?1 AND role = ?2";
            connection.prepare_cached(sql)?.execute([user, role])?;
            if !removed {
                let sql = "INSERT INTO role_assignment (user_id, role, granted_by, granted_at) \
                           VALUES (?1, ?2, ?3, ?4)";
                connection
                    .prepare_cached(sql)?
                    .execute(params![user, role, granted_by, granted_at])?;
            }
        }
        Entry::Token { jti, expires_at, .. } => {
            let sql = "INSERT INTO revoked_token (jti, expires_at) VALUES (?1, ?2) ON CONFLICT \
                       (jti) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)";
            connection.prepare_cached(sql)?.execute(params![jti, expires_at])?;
        }
        Entry::User { user, issued_before } => {
            let sql = "INSERT INTO revoked_user (user_id, issued_before) VALUES (?1, ?2) ON CONFLICT \
                       (user_id) DO UPDATE SET issued_before = max(issued_before, excluded.issued_before)";
            connection.prepare_cached(sql)?.execute(params![user, issued_before])?;
        }
        Entry::Erase { name_hash, issued_before, until, .. } => {
            let Some(hash) = hash_of(name_hash) else { return Ok(()) };
            let sql = "INSERT INTO erased_user (name_hash, issued_before, until) VALUES (?1, ?2, ?3) \
                       ON CONFLICT (name_hash) DO UPDATE SET issued_before = excluded.issued_before, \
                       until = max(until, excluded.until)";
            connection.prepare_cached(sql)?.execute(params![hash, issued_before, until])?;
            erase(connection, &hash)?;
        }
        Entry::Ban(_) | Entry::Lift { .. } => {}
    }
    Ok(())
}

fn erasures(connection: &Connection) -> rusqlite::Result<Erasures> {
    let mut statement =
        connection.prepare_cached("SELECT body FROM ledger WHERE kind = 'erase'")?;
    let bodies: Vec<String> =
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let entries: Vec<Entry> = bodies.iter().filter_map(|body| Entry::from_json(body)).collect();
    Ok(Erasures::of(&entries))
}

/// Takes the name of this hash out of every table.
fn erase(connection: &Connection, hash: &NameHash) -> rusqlite::Result<()> {
    let names = "SELECT user_id FROM known_user UNION SELECT user_id FROM revoked_user \
                 UNION SELECT granted_by FROM role_assignment \
                 UNION SELECT json_extract(body, '$.user') FROM ledger WHERE kind IN ('role', 'user') \
                 UNION SELECT json_extract(body, '$.granted_by') FROM ledger WHERE kind = 'role' \
                 UNION SELECT json_extract(body, '$.by') FROM ledger WHERE kind IN ('ban', 'lift')";
    let mut statement = connection.prepare_cached(names)?;
    let names: Vec<Option<String>> =
        statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let Some(user) = names.into_iter().flatten().find(|name| name_hash(name) == *hash) else {
        return Ok(());
    };
    for sql in [
        "DELETE FROM role_assignment WHERE user_id = ?1",
        "DELETE FROM known_user WHERE user_id = ?1",
        "DELETE FROM revoked_user WHERE user_id = ?1",
        "DELETE FROM ledger WHERE kind IN ('role', 'user') AND json_extract(body, '$.user') = ?1",
    ] {
        connection.execute(sql, [&user])?;
    }
    for sql in [
        "UPDATE role_assignment SET granted_by = ?2 WHERE granted_by = ?1",
        "UPDATE ledger SET body = json_set(body, '$.granted_by', ?2) \
         WHERE kind = 'role' AND json_extract(body, '$.granted_by') = ?1",
        "UPDATE ledger SET body = json_set(body, '$.by', ?2) \
         WHERE kind IN ('ban', 'lift') AND json_extract(body, '$.by') = ?1",
    ] {
        connection.execute(sql, [user.as_str(), ERASED])?;
    }
    Ok(())
}

/// The facts behind what the tables hold.
fn entries_of_tables(connection: &Connection, node: &NodeId) -> rusqlite::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let sql = "SELECT user_id, role, granted_by, granted_at FROM role_assignment";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let granted_at: i64 = row.get(3)?;
        entries.push(Entry::Role(RoleEntry {
            user: row.get(0)?,
            role: row.get(1)?,
            granted_by: row.get(2)?,
            granted_at,
            changed_ms: granted_at.saturating_mul(1000),
            node: node.clone(),
            removed: false,
        }));
    }
    let mut statement = connection.prepare("SELECT jti, expires_at FROM revoked_token")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (jti, expires_at) = (row.get(0)?, row.get(1)?);
        entries.push(Entry::Token { jti, expires_at, claim: uuid::Uuid::new_v4() });
    }
    let mut statement = connection.prepare("SELECT user_id, issued_before FROM revoked_user")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        entries.push(Entry::User { user: row.get(0)?, issued_before: row.get(1)? });
    }
    Ok(entries)
}
