//! Segments: the audit's events since the last backup or segment, so that the audit can be restored to a
//! point in time between two backups. Called by `ultimate-mcp backup --audit-only`.
//!
//! A segment is a small database with the same tables, holding the rows of its events; it can be made
//! every few minutes for what happened since costs what it weighs.

use std::fs::File;
use std::path::Path;

use rusqlite::Connection;
use serde::Serialize;

use super::create::audit_point;
use super::error::BackupError;
use super::manifest::AuditPoint;
use super::seal::BackupKey;
use super::target::Target;
use crate::audit::AuditKey;
use crate::hex;

/// What was archived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Archived {
    /// Which instance.
    pub instance: String,
    /// First event of the segment; `None` when there was nothing new.
    pub from: Option<i64>,
    /// How far the archive reaches now.
    pub audit: AuditPoint,
}

/// Numbers of the first and last event in a segment's name.
pub(super) fn range(name: &str) -> Option<(i64, i64)> {
    let (from, to) = name.rsplit('/').next()?.split_once('-')?;
    let (from, to) = (from.parse().ok()?, to.parse().ok()?);
    (from <= to).then_some((from, to))
}

fn name_of(instance: &str, from: i64, to: i64) -> String {
    format!("{instance}/audit/{from:012}-{to:012}")
}

/// Archives every event after the newest that a backup or a segment holds.
///
/// # Errors
/// [`BackupError`]; [`BackupError::NotFound`] when there is no backup to continue.
pub async fn archive(
    audit: &Path,
    audit_key: &AuditKey,
    scratch: &Path,
    key: &BackupKey,
    target: &Target,
) -> Result<Archived, BackupError> {
    let instance = hex::encode(&audit_key.id());
    let held = reaches(target, &instance).await?.ok_or_else(|| {
        BackupError::NotFound(
            "there is no backup of this instance yet; make a full one first".into(),
        )
    })?;
    let segment = scratch.join("segment.copy");
    cut_out(audit, &segment, held)?;
    let point = audit_point(&segment, audit_key)?;
    if point.seq <= held {
        return Ok(Archived { instance, from: None, audit: point });
    }
    let name = name_of(&instance, held + 1, point.seq);
    let mut source = File::open(&segment).map_err(BackupError::io("open", &segment))?;
    target.put(key, &name, &mut source).await?;
    Ok(Archived { instance, from: Some(held + 1), audit: point })
}

/// The newest event that a complete backup or a segment holds.
async fn reaches(target: &Target, instance: &str) -> Result<Option<i64>, BackupError> {
    let backups = target.list().await?;
    let backups = backups.iter().filter(|backup| backup.instance == instance);
    let of_backup = |id: &str| id.rsplit('-').next().and_then(|seq| seq.parse::<i64>().ok());
    let full = backups.filter_map(|backup| of_backup(&backup.id)).max();
    let segments = target.names(&format!("{instance}/audit")).await?;
    let last = segments.iter().filter_map(|name| range(name)).map(|(_, to)| to).max();
    Ok(full.map(|full| full.max(last.unwrap_or(full))))
}

/// Copies all tables of the audit to a new file; of those that are numbered like events, the rows after
/// `held`. One read transaction, so that the copied head is the end of the copied events.
fn cut_out(audit: &Path, segment: &Path, held: i64) -> Result<(), BackupError> {
    let cut = || -> rusqlite::Result<()> {
        let mut sink = Connection::open(segment)?;
        sink.pragma_update(None, "journal_mode", "OFF")?;
        sink.execute("ATTACH DATABASE ?1 AS source", [read_only_uri(audit)])?;
        let copy = sink.transaction()?;
        for (table, numbered) in tables(&copy, "source")? {
            let rows = if numbered { " WHERE seq > ?1" } else { " WHERE ?1 = ?1" };
            let sql =
                format!("CREATE TABLE main.\"{table}\" AS SELECT * FROM source.\"{table}\"{rows}");
            // `CREATE TABLE AS` takes no parameters.
            copy.execute(&sql.replace("?1", &held.to_string()), [])?;
        }
        copy.commit()
    };
    cut().map_err(BackupError::database("cut a segment out of", audit))
}

/// Every table of a schema, and whether its rows are numbered like events.
pub(super) fn tables(
    connection: &Connection,
    schema: &str,
) -> rusqlite::Result<Vec<(String, bool)>> {
    let sql = format!(
        "SELECT name FROM {schema}.sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    );
    let mut names = connection.prepare(&sql)?;
    let names: Vec<String> = names.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut found = Vec::with_capacity(names.len());
    for name in names {
        let sql = format!("SELECT 1 FROM {schema}.pragma_table_info(?1) WHERE name = 'seq'");
        let numbered = connection.prepare(&sql)?.exists([&name])?;
        // The head names a seq, but is one row that stands for the end.
        let numbered = numbered && name != "head";
        found.push((name, numbered));
    }
    Ok(found)
}

/// A file name as SQLite's URI, read-only (sqlite.org/uri.html).
fn read_only_uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri + "?mode=ro"
}

/// Segments that continue an audit from `have`, in order, as `(name, from, to)`.
pub(super) async fn following(
    target: &Target,
    instance: &str,
    have: i64,
) -> Result<Vec<(String, i64, i64)>, BackupError> {
    let names = target.names(&format!("{instance}/audit")).await?;
    let mut found: Vec<(String, i64, i64)> = names
        .into_iter()
        .filter_map(|name| range(&name).map(|(from, to)| (name, from, to)))
        .filter(|(_, _, to)| *to > have)
        .collect();
    found.sort_by_key(|(_, from, to)| (*from, *to));
    Ok(found)
}

/// Appends the events of a segment that follow the restored audit and lie before `until_us`
/// (microseconds since the epoch). Answers whether the segment was taken to its end.
pub(super) fn append(
    audit: &Path,
    segment: &Path,
    until_us: Option<i64>,
) -> Result<bool, BackupError> {
    let append = || -> rusqlite::Result<Result<bool, (i64, i64)>> {
        let mut sink = Connection::open(audit)?;
        sink.execute("ATTACH DATABASE ?1 AS segment", [read_only_uri(segment)])?;
        let write = sink.transaction()?;
        let last = |schema: &str, what: &str, rest: &str| {
            let sql = format!("SELECT {what} FROM {schema}.event {rest}");
            write.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0))
        };
        let have = last("main", "max(seq)", "")?.unwrap_or(0);
        let first = last("segment", "min(seq)", &format!("WHERE seq > {have}"))?;
        let Some(first) = first else { return Ok(Ok(true)) };
        if first != have + 1 {
            return Ok(Err((have, first)));
        }
        let end = last("segment", "max(seq)", "")?.unwrap_or(have);
        // The first event past the point in time ends it: times may step back, the order may not.
        let past = until_us.map(|until| format!("WHERE seq > {have} AND ts >= {until}"));
        let past = past.map(|rest| last("segment", "min(seq)", &rest)).transpose()?.flatten();
        let upto = past.map_or(end, |past| past - 1);
        for (table, numbered) in tables(&write, "segment")? {
            if numbered {
                let sql = format!(
                    "INSERT INTO main.\"{table}\" SELECT * FROM segment.\"{table}\" \
                     WHERE seq > {have} AND seq <= {upto}"
                );
                write.execute(&sql, [])?;
            }
        }
        write.commit()?;
        Ok(Ok(upto == end))
    };
    match append().map_err(BackupError::database("append a segment to", audit))? {
        Ok(whole) => Ok(whole),
        Err((have, _)) => Err(BackupError::Gap { have, need: have + 1 }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_named_by_its_range_and_nothing_else_is_one() {
        assert_eq!(range(&name_of("ab", 5, 17)), Some((5, 17)));
        for other in ["", "ab/audit/x-y", "ab/audit/5", "ab/audit/9-3", "ab/audit/5-6.tmp"] {
            assert_eq!(range(other), None, "{other}");
        }
    }

    #[test]
    fn a_path_of_any_bytes_survives_the_uri() {
        let path = Path::new("/tmp/a b?c#d%é.db");
        assert_eq!(read_only_uri(path), "file:/tmp/a%20b%3Fc%23d%25%C3%A9.db?mode=ro");
    }
}
