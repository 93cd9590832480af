//! Role assignments and revocations on disk (`state.db`).
//!
//! Pure and synchronous; owned by [`super::actor::AuthorizationActor`]. Every change is durable when its
//! function returns (WAL, `synchronous = FULL`).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

use super::snapshot::{NameHash, Snapshot, name_hash};

/// How long a writer waits for another connection's lock; shorter than the watchdog's patience.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// `known_user` keeps a user whose last role was removed: known, with nothing granted.
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
";

/// What stands in the place of an erased user's name.
const ERASED: &str = "[erased]";

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
    pub(super) fn open(path: &Path) -> rusqlite::Result<Self> {
        let connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // What is erased is overwritten, not only unlinked.
        connection.pragma_update(None, "secure_delete", true)?;
        connection.execute_batch(TABLES)?;
        Ok(Self { connection })
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
        snapshot.erased = Arc::new(self.erased()?);
        Ok(())
    }

    /// Erased users whose tokens may still be about.
    pub(super) fn erased(&self) -> rusqlite::Result<HashMap<NameHash, i64>> {
        let sql = "SELECT name_hash, issued_before FROM erased_user";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    }

    /// Forgets a user but for what keeps the user's tokens void; returns how many roles went.
    pub(super) fn erase(&mut self, user: &str, now: i64, until: i64) -> rusqlite::Result<usize> {
        let transaction = self.connection.transaction()?;
        let roles =
            transaction.execute("DELETE FROM role_assignment WHERE user_id = ?1", [user])?;
        transaction.execute("DELETE FROM known_user WHERE user_id = ?1", [user])?;
        transaction.execute("DELETE FROM revoked_user WHERE user_id = ?1", [user])?;
        let sql = "UPDATE role_assignment SET granted_by = ?2 WHERE granted_by = ?1";
        transaction.execute(sql, [user, ERASED])?;
        let sql = "INSERT INTO erased_user (name_hash, issued_before, until) VALUES (?1, ?2, ?3) \
                   ON CONFLICT (name_hash) DO UPDATE SET issued_before = excluded.issued_before, \
                   until = excluded.until";
        transaction.execute(sql, params![name_hash(user), now, until])?;
        transaction.commit()?;
        Ok(roles)
    }

    /// Forgets erased users whose tokens have all expired; says whether there were any.
    pub(super) fn purge_erased(&mut self, now: i64) -> rusqlite::Result<bool> {
        let sql = "DELETE FROM erased_user WHERE until < ?1";
        Ok(self.connection.prepare_cached(sql)?.execute([now])? > 0)
    }

    /// Stores a role; returns whether the user did not have it yet.
    pub(super) fn assign(&mut self, user: &str, assignment: &Assignment) -> rusqlite::Result<bool> {
        let transaction = self.connection.transaction()?;
        transaction
            .prepare_cached("INSERT INTO known_user (user_id) VALUES (?1) ON CONFLICT DO NOTHING")?
            .execute([user])?;
        let added = transaction
            .prepare_cached(
                "INSERT INTO role_assignment (user_id, role, granted_by, granted_at) \
                 VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                user,
                assignment.role,
                assignment.granted_by,
                assignment.granted_at
            ])?;
        transaction.commit()?;
        Ok(added > 0)
    }

    /// Removes a role; returns whether the user had it.
    pub(super) fn remove(&mut self, user: &str, role: &str) -> rusqlite::Result<bool> {
        let sql = "DELETE FROM role_assignment WHERE user_id = ?1 AND role = ?2";
        Ok(self.connection.prepare_cached(sql)?.execute([user, role])? > 0)
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

    pub(super) fn revoke_token(&mut self, jti: &str, expires_at: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO revoked_token (jti, expires_at) VALUES (?1, ?2) \
                   ON CONFLICT (jti) DO UPDATE SET expires_at = max(expires_at, excluded.expires_at)";
        self.connection.prepare_cached(sql)?.execute(params![jti, expires_at]).map(drop)
    }

    pub(super) fn revoke_user(&mut self, user: &str, issued_before: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO revoked_user (user_id, issued_before) VALUES (?1, ?2) ON CONFLICT \
                   (user_id) DO UPDATE SET issued_before = max(issued_before, excluded.issued_before)";
        self.connection.prepare_cached(sql)?.execute(params![user, issued_before]).map(drop)
    }

    /// Forgets revocations of tokens that expired before `now`; returns their ids.
    pub(super) fn purge(&mut self, now: i64) -> rusqlite::Result<Vec<Arc<str>>> {
        let sql = "DELETE FROM revoked_token WHERE expires_at < ?1 RETURNING jti";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([now], |row| row.get::<_, Arc<str>>(0))?;
        rows.collect()
    }
}
