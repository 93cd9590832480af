//! Which files of a data directory belong into a backup, and consistent copies of them.
//!
//! Databases are copied through SQLite, in one read transaction: a copy of the bare file beside a running
//! server would be torn. The graph's file is not copied at all; the graph is exported instead, so that a
//! later version can read it. Locks, sockets and links do not belong to the state.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::backup::Backup;
use rusqlite::{Connection, OpenFlags};

use super::error::BackupError;
use crate::engine::{AUDIT_FILE, GRAPH_FILE};

/// Files of a data directory at most; more are not ours.
const FILES_MAX: usize = 2_000_000;
/// Names that are of this process or this machine only.
const PASSING: &[&str] = &[".lock", "-wal", "-shm", "-journal", ".tmp", ".url"];

/// Paths below `dir` of everything but the audit and the graph. Newest kinds of names last: an index of
/// artifacts is copied before the contents it names, so that what is added meanwhile is not half there.
pub(super) fn files(dir: &Path) -> Result<Vec<PathBuf>, BackupError> {
    let mut found = Vec::new();
    walk(dir, Path::new(""), &mut found)?;
    found.sort();
    found.reverse();
    Ok(found)
}

fn walk(dir: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<(), BackupError> {
    let here = dir.join(below);
    let entries = fs::read_dir(&here).map_err(BackupError::io("read", &here))?;
    for entry in entries {
        let entry = entry.map_err(BackupError::io("read", &here))?;
        let name = below.join(entry.file_name());
        let kind = entry.file_type().map_err(BackupError::io("read", &entry.path()))?;
        if kind.is_dir() {
            walk(dir, &name, found)?;
        } else if kind.is_file() && belongs(&name) {
            found.push(name);
        }
        if found.len() > FILES_MAX {
            return Err(BackupError::damaged(dir.display().to_string(), "it has too many files"));
        }
    }
    Ok(())
}

fn belongs(name: &Path) -> bool {
    let Some(text) = name.to_str() else { return false };
    let special = text == AUDIT_FILE || text == GRAPH_FILE;
    !special && !PASSING.iter().any(|ending| text.ends_with(ending))
}

/// Whether the file is a database.
pub(super) fn is_database(name: &Path) -> bool {
    name.extension().is_some_and(|extension| extension == "db")
}

/// Copies a database as it is at one moment; its writer is not held up (WAL).
pub(super) fn snapshot(from: &Path, to: &Path) -> Result<(), BackupError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(from, flags);
    let source = source.map_err(BackupError::database("open", from))?;
    let copy = || -> rusqlite::Result<()> {
        let mut sink = Connection::open(to)?;
        // All pages in one step: one read transaction, however busy the writer is.
        Backup::new(&source, &mut sink)?.step(-1)?;
        sink.pragma_update(None, "journal_mode", "DELETE")
    };
    copy().map_err(BackupError::database("copy", from))
}
