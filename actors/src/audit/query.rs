//! Reading the trail: filters, the choice of an index, pages.
//!
//! Pure and synchronous; runs on a reader's thread ([`super::readers`]). Newest events first, keyset
//! pagination: a page costs the same wherever it lies. Intents are not shown (their outcomes are).
//! Refuses limits out of range, ranges that end before they start, foreign cursors.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, SecondsFormat, Utc};
use rusqlite::types::Value;
use rusqlite::{Connection, Row, params_from_iter};
use serde::Serialize;
use uuid::Uuid;

use super::error::AuditError;
use super::event::{Body, Event, EventType, Phase};
use super::prepared::cut;
use crate::hex;

/// Most events on one page.
pub const LIMIT_MAX: usize = 1000;
/// Events on a page when nothing is said.
pub const LIMIT_DEFAULT: usize = 100;
/// Index entries counted to tell a selective index from a broad one.
const PROBE_ROWS: i64 = 1000;
/// Version, time, seq and 8 bytes of the filter's SHA-256.
const CURSOR_BYTES: usize = 25;
const CURSOR_VERSION: u8 = 1;

/// The hash of the event before `e`, also when retention removed it.
pub(crate) const PREV_HASH: &str = "coalesce((SELECT p.hash FROM event p WHERE p.seq = e.seq - 1), \
     (SELECT c.hash FROM cut c WHERE c.last_seq = e.seq - 1))";

/// Which events are wanted; everything that is given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Of this type.
    pub event_type: Option<EventType>,
    /// Of this user.
    pub user: Option<String>,
    /// Of this tool.
    pub tool: Option<String>,
    /// Succeeded, or failed.
    pub success: Option<bool>,
    /// Not before this time.
    pub start: Option<DateTime<Utc>>,
    /// Before this time.
    pub end: Option<DateTime<Utc>>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
    /// Events on the page, 1 to [`LIMIT_MAX`].
    pub limit: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            event_type: None,
            user: None,
            tool: None,
            success: None,
            start: None,
            end: None,
            cursor: None,
            limit: LIMIT_DEFAULT,
        }
    }
}

/// One page of events, newest first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Page {
    /// At most `limit` events.
    pub events: Vec<Event>,
    /// Where the next page begins; absent on the last one.
    pub next_cursor: Option<String>,
}

impl Filter {
    /// The type of this name, or an error that lists those there are.
    pub fn parse_type(name: &str) -> Result<EventType, AuditError> {
        EventType::parse(name)
            .ok_or_else(|| AuditError::UnknownType { given: cut(name, 64).into_owned() })
    }

    /// Checks everything that can be checked without reading.
    pub fn check(&self) -> Result<(), AuditError> {
        if !(1..=LIMIT_MAX).contains(&self.limit) {
            return Err(AuditError::BadLimit(self.limit));
        }
        if let (Some(start), Some(end)) = (self.start, self.end)
            && start >= end
        {
            return Err(AuditError::BadRange);
        }
        self.position().map(drop)
    }

    /// Eight bytes that differ between filters: a cursor continues the query it came from.
    fn fingerprint(&self) -> [u8; 8] {
        let parts = (self.event_type, &self.user, &self.tool, self.success, self.start, self.end);
        let text = serde_json::to_vec(&parts).unwrap_or_default();
        let mut short = [0; 8];
        short.copy_from_slice(&digest::digest(&digest::SHA256, &text).as_ref()[..8]);
        short
    }

    /// Time and seq after which the page begins.
    fn position(&self) -> Result<Option<(i64, i64)>, AuditError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| AuditError::BadCursor)?;
        let bytes: [u8; CURSOR_BYTES] = bytes.try_into().map_err(|_| AuditError::BadCursor)?;
        if bytes[0] != CURSOR_VERSION || bytes[17..] != self.fingerprint() {
            return Err(AuditError::BadCursor);
        }
        let number = |range: std::ops::Range<usize>| {
            let mut eight = [0; 8];
            eight.copy_from_slice(&bytes[range]);
            i64::from_be_bytes(eight)
        };
        Ok(Some((number(1..9), number(9..17))))
    }

    fn cursor_after(&self, ts_us: i64, seq: i64) -> String {
        let mut bytes = Vec::with_capacity(CURSOR_BYTES);
        bytes.push(CURSOR_VERSION);
        bytes.extend_from_slice(&ts_us.to_be_bytes());
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&self.fingerprint());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The conditions and their parameters.
    fn conditions(&self) -> Result<(String, Vec<Value>), AuditError> {
        self.conditions_on("e.phase <> 'intent'")
    }

    /// The same beside another first condition.
    pub(crate) fn conditions_on(&self, first: &str) -> Result<(String, Vec<Value>), AuditError> {
        let mut sql = String::from(first);
        let mut values: Vec<Value> = Vec::new();
        let mut add = |condition: &str, value: Value| {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push(value);
        };
        if let Some(user) = &self.user {
            add("e.user_id = ?", user.clone().into());
        }
        if let Some(tool) = &self.tool {
            add("e.tool = ?", tool.clone().into());
        }
        if let Some(kind) = self.event_type {
            add("e.event_type = ?", kind.as_str().to_owned().into());
        }
        if let Some(start) = self.start {
            add("e.ts >= ?", start.timestamp_micros().into());
        }
        if let Some(end) = self.end {
            add("e.ts < ?", end.timestamp_micros().into());
        }
        if let Some((ts_us, seq)) = self.position()? {
            add("e.ts <= ?", ts_us.into());
            add("(e.ts, e.seq) < (?, ?)", ts_us.into());
            values.push(seq.into());
        }
        // Literals: a partial index is only considered for a condition that is known at preparation.
        match self.success {
            Some(false) => sql.push_str(" AND e.success = 0"),
            Some(true) => sql.push_str(" AND e.success = 1"),
            None => {}
        }
        Ok((sql, values))
    }

    /// The indexes that lead straight to a condition, the usually most selective first.
    fn indexes(&self) -> Vec<(&'static str, &'static str, Option<Value>)> {
        let mut indexes = Vec::new();
        if let Some(user) = &self.user {
            indexes.push(("event_by_user", "e.user_id = ?", Some(user.clone().into())));
        }
        if let Some(tool) = &self.tool {
            indexes.push(("event_by_tool", "e.tool = ?", Some(tool.clone().into())));
        }
        if self.success == Some(false) {
            indexes.push(("event_by_failure", "e.success = 0", None));
        }
        if let Some(kind) = self.event_type {
            let value = kind.as_str().to_owned();
            indexes.push(("event_by_type", "e.event_type = ?", Some(value.into())));
        }
        indexes
    }
}

/// The page that `filter` describes.
pub(crate) fn page(connection: &Connection, filter: &Filter) -> Result<Page, AuditError> {
    filter.check()?;
    let index = choose_index(connection, filter).map_err(AuditError::read)?;
    let (sql, mut values) = statement(filter, index)?;
    values.push((filter.limit as i64 + 1).into());
    let mut statement = connection.prepare_cached(&sql).map_err(AuditError::read)?;
    let rows = statement.query_map(params_from_iter(values), read_event);
    let rows = rows.and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(AuditError::read)?;
    let more = rows.len() > filter.limit;
    let next_cursor = match (more, rows.get(filter.limit - 1)) {
        (true, Some((ts_us, last))) => Some(filter.cursor_after(*ts_us, last.seq)),
        _ => None,
    };
    let events = rows.into_iter().take(filter.limit).map(|(_, event)| event).collect();
    Ok(Page { events, next_cursor })
}

/// The statement and its parameters but the last one (`LIMIT`).
fn statement(filter: &Filter, index: &str) -> Result<(String, Vec<Value>), AuditError> {
    let (conditions, values) = filter.conditions()?;
    let sql = format!(
        "SELECT e.seq, e.event_id, e.ts, e.event_type, e.phase, e.call_id, e.user_id, e.tool, \
         e.success, e.body, e.hash, {PREV_HASH}, e.who, e.erased \
         FROM event e INDEXED BY {index} WHERE {conditions} \
         ORDER BY e.ts DESC, e.seq DESC LIMIT ?"
    );
    Ok((sql, values))
}

/// Of several usable indexes the one with the fewest entries, counted up to [`PROBE_ROWS`]: a rare
/// tool of a busy user is found by the tool.
fn choose_index(connection: &Connection, filter: &Filter) -> rusqlite::Result<&'static str> {
    let indexes = filter.indexes();
    match indexes.as_slice() {
        [] => return Ok("event_by_time"),
        [(only, _, _)] => return Ok(only),
        _ => {}
    }
    let mut best = (i64::MAX, "event_by_time");
    for (name, condition, value) in indexes {
        let sql = format!(
            "SELECT count(*) FROM (SELECT 1 FROM event e INDEXED BY {name} \
             WHERE e.phase <> 'intent' AND {condition} LIMIT {PROBE_ROWS})"
        );
        let mut probe = connection.prepare_cached(&sql)?;
        let entries: i64 = probe.query_row(params_from_iter(value), |row| row.get(0))?;
        if entries < best.0 {
            best = (entries, name);
        }
    }
    Ok(best.1)
}

/// Reads one event; what a tampered row holds instead of its fields is shown as empty.
pub(crate) fn read_event(row: &Row<'_>) -> rusqlite::Result<(i64, Event)> {
    let ts_us: i64 = row.get(2)?;
    let uuid = |index| -> rusqlite::Result<Option<String>> {
        let bytes = row.get_ref(index)?.as_blob_or_null()?;
        Ok(bytes.and_then(|bytes| Uuid::from_slice(bytes).ok()).map(|id| id.to_string()))
    };
    let hash = |index| -> rusqlite::Result<String> {
        let bytes = row.get_ref(index)?.as_blob_or_null()?;
        Ok(hex::encode(bytes.unwrap_or(&super::chain::GENESIS)))
    };
    let body = row.get_ref(9)?.as_str()?;
    let event = Event {
        seq: row.get(0)?,
        event_id: uuid(1)?.unwrap_or_default(),
        event_type: EventType::parse(row.get_ref(3)?.as_str()?).unwrap_or(EventType::SystemError),
        phase: Phase::parse(row.get_ref(4)?.as_str()?).unwrap_or(Phase::Single),
        timestamp: rfc3339(ts_us),
        call_id: uuid(5)?,
        user_id: row.get(6)?,
        tool: row.get(7)?,
        success: row.get::<_, Option<i64>>(8)?.map(|success| success != 0),
        erased: row.get::<_, i64>(13)? != 0,
        body: Body::parse(body, row.get_ref(12)?.as_str_or_null()?).unwrap_or_else(|| Body {
            error_message: Some("the event's body is not readable".to_owned()),
            ..Body::default()
        }),
        hash: hash(10)?,
        prev_hash: hash(11)?,
    };
    Ok((ts_us, event))
}

/// Microseconds since the epoch as RFC 3339 in UTC; empty when no calendar holds them.
pub(crate) fn rfc3339(ts_us: i64) -> String {
    DateTime::from_timestamp_micros(ts_us)
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
        .unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod test_access {
    use super::*;

    /// What SQLite says it will do, one line per step, with the index that would be chosen.
    pub(crate) fn plan(connection: &Connection, filter: &Filter) -> String {
        let index = choose_index(connection, filter).unwrap();
        let (sql, mut values) = statement(filter, index).unwrap();
        values.push(10.into());
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = explain.query_map(params_from_iter(values), |row| row.get::<_, String>(3));
        lines.unwrap().map(Result::unwrap).collect::<Vec<_>>().join("\n")
    }
}
