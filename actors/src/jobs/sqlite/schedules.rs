//! Schedules in the file. Every function runs inside a transaction of the thread.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::ids::{CallerId, ScheduleId};
use crate::jobs::error::JobsError;
use crate::jobs::job::Millis;
use crate::jobs::schedule::Schedule;
use crate::jobs::store::Rules;

fn read(row: &Row<'_>) -> Result<Schedule, JobsError> {
    let body = row.get_ref(0)?;
    serde_json::from_str(body.as_str().map_err(JobsError::corrupt)?).map_err(JobsError::corrupt)
}

pub(super) fn put(
    connection: &Connection,
    schedule: &Schedule,
    payload: &[u8],
    rules: &Rules,
) -> Result<(), JobsError> {
    let owner = schedule.identity.caller.as_str();
    let id = schedule.id.as_uuid();
    let id = id.as_bytes();
    let (own, all): (i64, i64) = connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE owner = ?1), count(*) FROM schedule WHERE id <> ?2",
        )?
        .query_row(params![owner, id], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if own as usize >= rules.schedules_per_caller_max {
        return Err(JobsError::CallerSchedulesFull(rules.schedules_per_caller_max));
    }
    if all as usize >= rules.schedules_max {
        return Err(JobsError::SchedulesFull(rules.schedules_max));
    }
    let body = serde_json::to_string(schedule).map_err(JobsError::corrupt)?;
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO schedule (id, owner, enabled, next_at, body, payload) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![id, owner, schedule.enabled, schedule.next_at, body, payload])?;
    Ok(())
}

pub(super) fn get(
    connection: &Connection,
    id: ScheduleId,
) -> Result<Option<(Schedule, Vec<u8>)>, JobsError> {
    let found = connection
        .prepare_cached("SELECT body, payload FROM schedule WHERE id = ?1")?
        .query_row([id.as_uuid().as_bytes()], |row| Ok((read(row), row.get(1)?)))
        .optional()?;
    found.map(|(schedule, payload)| Ok((schedule?, payload))).transpose()
}

pub(super) fn list(
    connection: &Connection,
    caller: Option<&CallerId>,
) -> Result<Vec<Schedule>, JobsError> {
    let mut statement = connection
        .prepare_cached("SELECT body FROM schedule WHERE ?1 IS NULL OR owner = ?1 ORDER BY id")?;
    let mut rows = statement.query([caller.map(CallerId::as_str)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

pub(super) fn remove(connection: &Connection, id: ScheduleId) -> Result<bool, JobsError> {
    let mut statement = connection.prepare_cached("DELETE FROM schedule WHERE id = ?1")?;
    Ok(statement.execute([id.as_uuid().as_bytes()])? > 0)
}

pub(super) fn due(
    connection: &Connection,
    now: Millis,
    limit: usize,
) -> Result<Vec<(Schedule, Vec<u8>)>, JobsError> {
    let mut statement = connection.prepare_cached(
        "SELECT body, payload FROM schedule WHERE enabled = 1 AND next_at <= ?1 \
         ORDER BY next_at LIMIT ?2",
    )?;
    let mut rows = statement.query(params![now, limit as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((read(row)?, row.get(1)?));
    }
    Ok(found)
}

/// Moves a schedule from this tick to the next; false when it is elsewhere already.
pub(super) fn advance(
    connection: &Connection,
    id: ScheduleId,
    tick: Millis,
    next: Millis,
    fired: bool,
) -> Result<bool, JobsError> {
    let Some((mut schedule, _)) = get(connection, id)? else { return Ok(false) };
    if !schedule.enabled || schedule.next_at != tick {
        return Ok(false);
    }
    schedule.next_at = next;
    if fired {
        schedule.last_at = Some(tick);
    }
    let body = serde_json::to_string(&schedule).map_err(JobsError::corrupt)?;
    connection
        .prepare_cached("UPDATE schedule SET next_at = ?2, body = ?3 WHERE id = ?1")?
        .execute(params![id.as_uuid().as_bytes(), next, body])?;
    Ok(true)
}
