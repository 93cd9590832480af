//! The trail as a file: JSON Lines that prove themselves, or CSV for a spreadsheet.
//!
//! Called by the face (streamed, piece by piece as the client reads) and by `ultimate-mcp audit export`.
//! Oldest first, intents included, so that a whole export is a whole chain. Bounded in memory: a stretch
//! of the trail at a time, each on a reader that queries share in between. Refuses more exports at once
//! than [`EXPORTS_MAX`].
//!
//! A line of JSON holds everything that is hashed (`body` and `who` byte for byte), the hash before and
//! the event's own: [`verify_export`] proves it with the key and nothing else. In CSV a cell that a
//! spreadsheet would take for a formula is preceded by an apostrophe.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Row, params_from_iter};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::chain::{GENESIS, HASH_BYTES};
use super::error::AuditError;
use super::event::{Body, Event};
use super::query::{Filter, PREV_HASH, read_event, rfc3339};
use super::readers::Readers;
use super::row::{COLUMNS, Stored};
use super::schema;
use crate::deadline::Deadline;
use crate::hex;

/// Most exports at once; each holds a place among the readers for a few milliseconds at a time.
pub const EXPORTS_MAX: usize = 4;
/// Events looked at for one piece: about a megabyte, 24 at worst.
const STRETCH: i64 = 1000;
#[cfg(test)]
pub(super) const STRETCH_FOR_TESTS: i64 = STRETCH;
/// Longest time to read one stretch.
const STRETCH_SPAN: Duration = Duration::from_secs(10);

/// What an export looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// One JSON object a line.
    JsonLines,
    /// RFC 4180 with a line of names.
    Csv,
}

impl ExportFormat {
    /// Finds the format of this name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "jsonl" => Some(Self::JsonLines),
            "csv" => Some(Self::Csv),
            _ => None,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// What files of it are called by.
    pub fn extension(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
        }
    }
}

/// An export in the making: pull pieces until there are none.
pub struct Export {
    readers: Readers,
    filter: Filter,
    format: ExportFormat,
    /// The last seq that was looked at.
    at: i64,
    /// The last one there was when it began.
    end: i64,
    begun: bool,
    _place: OwnedSemaphorePermit,
}

impl Export {
    pub(super) fn new(
        readers: Readers,
        places: &Arc<Semaphore>,
        filter: Filter,
        format: ExportFormat,
        end: i64,
    ) -> Result<Self, AuditError> {
        filter.check()?;
        let place = Arc::clone(places).try_acquire_owned();
        let _place = place.map_err(|_| AuditError::ReadersBusy)?;
        Ok(Self { readers, filter, format, at: 0, end, begun: false, _place })
    }

    /// The next piece; `None` when everything was said.
    ///
    /// # Errors
    /// The trail cannot be read, or no reader became free in time: the export is then incomplete.
    pub async fn next(&mut self) -> Option<Result<Vec<u8>, AuditError>> {
        let mut piece = Vec::new();
        if !self.begun {
            self.begun = true;
            piece = header(self.format);
        }
        while piece.is_empty() && self.at < self.end {
            let (filter, format, from, end) = (self.filter.clone(), self.format, self.at, self.end);
            let deadline = Deadline::after(STRETCH_SPAN);
            let read = move |connection: &Connection| {
                let from = first_at(connection, from).map_err(AuditError::read)?;
                let to = (from + STRETCH).min(end);
                let mut lines = Vec::new();
                stretch(connection, &filter, (from, to), format, &mut lines)?;
                Ok((lines, to))
            };
            match self.readers.run(deadline, read).await {
                Ok((lines, to)) => (piece, self.at) = (lines, to),
                Err(error) => {
                    self.at = self.end;
                    return Some(Err(error));
                }
            }
        }
        (!piece.is_empty()).then_some(Ok(piece))
    }
}

/// Writes an export of the file at `path`, beside a running server or without one; returns how many
/// events it holds.
///
/// # Errors
/// A bad filter; the file cannot be read, or `out` not written.
pub fn export_file(
    path: &Path,
    filter: &Filter,
    format: ExportFormat,
    out: &mut dyn Write,
) -> Result<usize, AuditError> {
    filter.check()?;
    let connection = schema::open_reader(path).map_err(AuditError::read)?;
    let failed = |error| AuditError::Open(Arc::new(error));
    let sql = "SELECT coalesce(max(seq), 0) FROM event";
    let end: i64 = connection.query_row(sql, [], |row| row.get(0)).map_err(AuditError::read)?;
    let mut at = first_at(&connection, 0).map_err(AuditError::read)?;
    out.write_all(&header(format)).map_err(failed)?;
    let mut count = 0;
    while at < end {
        let to = (at + STRETCH).min(end);
        let mut lines = Vec::new();
        count += stretch(&connection, filter, (at, to), format, &mut lines)?;
        out.write_all(&lines).map_err(failed)?;
        at = to;
    }
    out.flush().map_err(failed)?;
    Ok(count)
}

/// The place behind which events begin: retention may have removed what followed `from`.
fn first_at(connection: &Connection, from: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT coalesce(min(seq) - 1, ?1) FROM event WHERE seq > ?1";
    connection.prepare_cached(sql)?.query_row([from], |row| row.get(0))
}

/// Adds the lines of the events that the filter wants after `from` and up to `to`; returns how many.
fn stretch(
    connection: &Connection,
    filter: &Filter,
    (from, to): (i64, i64),
    format: ExportFormat,
    out: &mut Vec<u8>,
) -> Result<usize, AuditError> {
    let (conditions, mut values) = filter.conditions_on("1 = 1")?;
    let columns = match format {
        ExportFormat::JsonLines => format!("{COLUMNS}, {PREV_HASH}"),
        ExportFormat::Csv => format!(
            "e.seq, e.event_id, e.ts, e.event_type, e.phase, e.call_id, e.user_id, e.tool, \
             e.success, e.body, e.hash, {PREV_HASH}, e.who, e.erased"
        ),
    };
    let sql = format!(
        "SELECT {columns} FROM event e WHERE {conditions} AND e.seq > ? AND e.seq <= ? ORDER BY e.seq"
    );
    values.extend([from.into(), to.into()]);
    let mut statement = connection.prepare_cached(&sql).map_err(AuditError::read)?;
    let mut rows = statement.query(params_from_iter(values)).map_err(AuditError::read)?;
    let mut cells = csv::WriterBuilder::new().from_writer(Vec::new());
    let mut count = 0;
    while let Some(row) = rows.next().map_err(AuditError::read)? {
        count += 1;
        match format {
            ExportFormat::JsonLines => json_line(row, out).map_err(AuditError::read)?,
            ExportFormat::Csv => {
                let (_, event) = read_event(row).map_err(AuditError::read)?;
                // Writing into memory does not fail.
                let _ = cells.write_record(record(&event));
            }
        }
    }
    out.extend(cells.into_inner().unwrap_or_default());
    Ok(count)
}

/// An event with everything that is hashed.
#[derive(Serialize)]
struct Line<'a> {
    seq: i64,
    event_id: String,
    ts_us: i64,
    timestamp: String,
    event_type: &'a str,
    phase: &'a str,
    call_id: Option<String>,
    user_id: Option<&'a str>,
    tool: Option<&'a str>,
    success: Option<bool>,
    body: Option<&'a RawValue>,
    who: Option<&'a RawValue>,
    format: i64,
    erased: i64,
    salt: Option<String>,
    commitment: Option<String>,
    seal: Option<String>,
    prev_hash: String,
    hash: String,
}

fn json_line(row: &Row<'_>, out: &mut Vec<u8>) -> rusqlite::Result<()> {
    let Some(event) = Stored::read(row) else {
        // What somebody made unreadable is said, and proves nothing.
        let seq: i64 = row.get(0)?;
        out.extend_from_slice(format!("{{\"seq\":{seq},\"unreadable\":true}}\n").as_bytes());
        return Ok(());
    };
    let uuid = |bytes: &[u8]| Uuid::from_slice(bytes).unwrap_or_default().to_string();
    let prev: Option<[u8; HASH_BYTES]> = row.get(17)?;
    let line = Line {
        seq: event.seq,
        event_id: uuid(event.event_id),
        ts_us: event.ts_us,
        timestamp: rfc3339(event.ts_us),
        event_type: event.event_type,
        phase: event.phase,
        call_id: event.call_id.map(uuid),
        user_id: event.user_id,
        tool: event.tool,
        success: event.success.map(|success| success != 0),
        body: serde_json::from_str(event.body).ok(),
        who: event.who.and_then(|who| serde_json::from_str(who).ok()),
        format: event.format,
        erased: event.erased as i64,
        salt: event.salt.map(hex::encode),
        commitment: event.commitment.map(hex::encode),
        seal: event.seal.map(hex::encode),
        prev_hash: hex::encode(&prev.unwrap_or(GENESIS)),
        hash: hex::encode(event.hash),
    };
    // Writing texts and numbers into memory does not fail.
    let _ = serde_json::to_writer(&mut *out, &line);
    out.push(b'\n');
    Ok(())
}

const NAMES: [&str; 22] = [
    "seq",
    "timestamp",
    "event_type",
    "phase",
    "event_id",
    "call_id",
    "user_id",
    "tool",
    "success",
    "action",
    "resource",
    "ip_address",
    "user_agent",
    "request_id",
    "session_id",
    "duration_ms",
    "error_message",
    "trace_id",
    "details",
    "erased",
    "prev_hash",
    "hash",
];

fn header(format: ExportFormat) -> Vec<u8> {
    match format {
        ExportFormat::JsonLines => Vec::new(),
        ExportFormat::Csv => (NAMES.join(",") + "\n").into_bytes(),
    }
}

fn record(event: &Event) -> [String; 22] {
    let Body { details, .. } = &event.body;
    let body = &event.body;
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let details = if details.is_empty() { None } else { serde_json::to_string(details).ok() };
    let cells = [
        event.seq.to_string(),
        event.timestamp.clone(),
        event.event_type.as_str().to_owned(),
        event.phase.as_str().to_owned(),
        event.event_id.clone(),
        text(&event.call_id),
        text(&event.user_id),
        text(&event.tool),
        event.success.map(|success| success.to_string()).unwrap_or_default(),
        body.action.clone(),
        text(&body.resource),
        text(&body.ip_address),
        text(&body.user_agent),
        text(&body.request_id),
        text(&body.session_id),
        body.duration_ms.map(|ms| ms.to_string()).unwrap_or_default(),
        text(&body.error_message),
        text(&body.trace_id),
        details.unwrap_or_default(),
        event.erased.to_string(),
        event.prev_hash.clone(),
        event.hash.clone(),
    ];
    cells.map(guarded)
}

/// A cell that no spreadsheet takes for a formula (OWASP, CSV injection).
fn guarded(cell: String) -> String {
    match cell.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => {
            format!("'{cell}")
        }
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_that_looks_like_a_formula_is_disarmed() {
        for bad in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "＝1"] {
            assert_eq!(guarded(bad.to_owned()), format!("'{bad}"));
        }
        for fine in ["", "ada", "1=1", "{\"a\":\"=1\"}"] {
            assert_eq!(guarded(fine.to_owned()), fine);
        }
    }
}
