//! What is done to jobs in the file. Every function runs inside a transaction of the thread.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};
use uuid::Uuid;

use crate::ids::JobId;
use crate::jobs::error::JobsError;
use crate::jobs::job::{Job, Lane, Millis, State};
use crate::jobs::store::{
    Claimed, Claims, Depths, End, Enqueued, Finish, Found, Grip, JobFilter, JobPage, LaneDepth,
    NewJob, Recall, Rules,
};

fn state_number(state: State) -> i64 {
    State::ALL.iter().position(|known| *known == state).unwrap_or(0) as i64
}

fn lane_number(lane: Lane) -> i64 {
    lane as i64
}

fn json<T: serde::Serialize>(value: &T) -> Result<String, JobsError> {
    serde_json::to_string(value).map_err(JobsError::corrupt)
}

fn read(row: &Row<'_>) -> Result<Job, JobsError> {
    let (spec, status) = (row.get_ref(0)?, row.get_ref(1)?);
    let spec = spec.as_str().map_err(JobsError::corrupt)?;
    let status = status.as_str().map_err(JobsError::corrupt)?;
    Ok(Job {
        spec: serde_json::from_str(spec).map_err(JobsError::corrupt)?,
        status: serde_json::from_str(status).map_err(JobsError::corrupt)?,
    })
}

pub(super) fn enqueue(
    connection: &Connection,
    new: &NewJob,
    rules: &Rules,
) -> Result<Enqueued, JobsError> {
    let owner = new.spec.identity.caller.as_str();
    if let Some(dedupe) = &new.spec.dedupe {
        let known = connection
            .prepare_cached("SELECT spec, status FROM job WHERE owner = ?1 AND dedupe_key = ?2")?
            .query_row(params![owner, dedupe.key], |row| Ok(read(row)))
            .optional()?;
        if let Some(known) = known.transpose()? {
            let same = known.spec.dedupe.as_ref() == Some(dedupe);
            return same.then_some(Enqueued::Known(known.id())).ok_or(JobsError::KeyConflict);
        }
    }
    let active = |of: &str| -> Result<usize, JobsError> {
        let count = connection
            .prepare_cached("SELECT jobs FROM active WHERE owner = ?1")?
            .query_row([of], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(count.unwrap_or(0).max(0) as usize)
    };
    if active(owner)? >= rules.per_caller_max {
        return Err(JobsError::CallerFull(rules.per_caller_max));
    }
    if active("")? >= rules.total_max {
        return Err(JobsError::Full(rules.total_max));
    }
    let job = Job::queued(new.spec.clone(), new.run_at, rules);
    connection
        .prepare_cached(
            "INSERT INTO job (id, owner, state, lane, run_at, dead, dedupe_key, spec, status, payload) \
             VALUES (?1, ?2, ?3, ?4, ?5, 0, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            job.id().as_uuid().as_bytes(),
            owner,
            state_number(job.status.state),
            lane_number(job.spec.lane),
            new.run_at,
            job.spec.dedupe.as_ref().map(|dedupe| &dedupe.key),
            json(&job.spec)?,
            json(&job.status)?,
            new.payload,
        ])?;
    Ok(Enqueued::New(job.id()))
}

/// Reads a job, changes it, writes it; `None` when there is none.
pub(super) fn change<T>(
    connection: &Connection,
    id: JobId,
    change: impl FnOnce(&mut Job) -> T,
) -> Result<Option<T>, JobsError> {
    let found = connection
        .prepare_cached("SELECT spec, status FROM job WHERE id = ?1")?
        .query_row([id.as_uuid().as_bytes()], |row| Ok(read(row)))
        .optional()?;
    let Some(mut job) = found.transpose()? else { return Ok(None) };
    let before = job.status.clone();
    let answer = change(&mut job);
    if job.status != before {
        write(connection, &job)?;
    }
    Ok(Some(answer))
}

fn write(connection: &Connection, job: &Job) -> Result<(), JobsError> {
    let status = &job.status;
    // Arguments of a job that is over are needed only to replay it.
    let keep_payload = !status.state.is_final() || status.dead.is_some();
    connection
        .prepare_cached(
            "UPDATE job SET state = ?2, run_at = ?3, lease_until = ?4, expires_at = ?5, dead = ?6, \
             status = ?7, payload = CASE WHEN ?8 THEN payload END WHERE id = ?1",
        )?
        .execute(params![
            job.id().as_uuid().as_bytes(),
            state_number(status.state),
            status.run_at,
            status.lease_until,
            status.expires_at,
            status.dead.is_some(),
            json(status)?,
            keep_payload,
        ])?;
    Ok(())
}

/// The same change for several jobs; `missing` for those that are gone.
pub(super) fn each<I, T: Copy>(
    connection: &Connection,
    items: &[I],
    id: impl Fn(&I) -> JobId,
    missing: T,
    mut step: impl FnMut(&mut Job, &I) -> T,
) -> Result<Vec<T>, JobsError> {
    let mut answers = Vec::with_capacity(items.len());
    for item in items {
        let answer = change(connection, id(item), |job| step(job, item))?;
        answers.push(answer.unwrap_or(missing));
    }
    Ok(answers)
}

pub(super) fn claim(
    connection: &Connection,
    shares: [usize; 3],
    now: Millis,
    lease_until: Millis,
) -> Result<Claims, JobsError> {
    let mut claims = Claims::default();
    let wanted: usize = shares.iter().sum();
    for (lane, share) in Lane::ALL.into_iter().zip(shares) {
        take(connection, lane, share, now, lease_until, &mut claims.jobs)?;
    }
    for lane in Lane::ALL {
        let left = wanted - claims.jobs.len();
        take(connection, lane, left, now, lease_until, &mut claims.jobs)?;
    }
    for lane in Lane::ALL {
        let due: Option<Millis> = connection
            .prepare_cached("SELECT min(run_at) FROM job WHERE state = 0 AND lane = ?1")?
            .query_row([lane_number(lane)], |row| row.get(0))?;
        claims.next_due = [claims.next_due, due].into_iter().flatten().min();
    }
    Ok(claims)
}

fn take(
    connection: &Connection,
    lane: Lane,
    count: usize,
    now: Millis,
    lease_until: Millis,
    taken: &mut Vec<Claimed>,
) -> Result<(), JobsError> {
    if count == 0 {
        return Ok(());
    }
    let mut waiting = connection.prepare_cached(
        "SELECT spec, status, payload FROM job WHERE state = 0 AND lane = ?1 AND run_at <= ?2 \
         ORDER BY run_at, id LIMIT ?3",
    )?;
    let mut rows = waiting.query(params![lane_number(lane), now, count as i64])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let payload: Option<Vec<u8>> = row.get(2)?;
        found.push(Claimed { job: read(row)?, payload: payload.unwrap_or_default() });
    }
    for claimed in &mut found {
        claimed.job.claim(lease_until);
        write(connection, &claimed.job)?;
    }
    taken.append(&mut found);
    Ok(())
}

pub(super) fn finish(
    connection: &Connection,
    finish: &Finish,
    now: Millis,
    rules: &Rules,
) -> Result<bool, JobsError> {
    let Grip { id, grip, .. } = finish.grip;
    let done = change(connection, id, |job| {
        let held = !job.status.state.is_final();
        (job.finish(grip, &finish.end, now, rules), held)
    })?;
    let Some((done, held)) = done else { return Ok(false) };
    if let (true, true, End::Completed { .. }, Some(result)) =
        (done, held, &finish.end, &finish.result)
    {
        connection
            .prepare_cached("UPDATE job SET result = ?2 WHERE id = ?1")?
            .execute(params![id.as_uuid().as_bytes(), result])?;
    }
    Ok(done)
}

pub(super) fn reap(
    connection: &Connection,
    now: Millis,
    limit: usize,
    rules: &Rules,
) -> Result<Vec<Job>, JobsError> {
    let lost: Vec<[u8; 16]> = connection
        .prepare_cached(
            "SELECT id FROM job WHERE lease_until IS NOT NULL AND lease_until <= ?1 LIMIT ?2",
        )?
        .query_map(params![now, limit as i64], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut reaped = Vec::with_capacity(lost.len());
    for id in lost {
        let job = change(connection, Uuid::from_bytes(id).into(), |job| {
            if job.is_lost(now) {
                job.lose(now, rules);
            }
            job.clone()
        })?;
        reaped.extend(job);
    }
    Ok(reaped)
}

pub(super) fn recall(connection: &Connection, recall: &Recall) -> Result<usize, JobsError> {
    let timed: Vec<[u8; 16]> = connection
        .prepare_cached(
            "SELECT id FROM job WHERE (state = 0 AND run_at > ?1) \
             OR (lease_until IS NOT NULL AND lease_until > ?2)",
        )?
        .query_map(params![recall.now, recall.lease_until], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let mut changed = 0;
    for id in timed {
        let differs = change(connection, Uuid::from_bytes(id).into(), |job| {
            let before = job.status.clone();
            job.recall(recall);
            job.status != before
        })?;
        changed += usize::from(differs == Some(true));
    }
    Ok(changed)
}

pub(super) fn purge(
    connection: &Connection,
    now: Millis,
    limit: usize,
) -> Result<usize, JobsError> {
    let gone = connection
        .prepare_cached(
            "DELETE FROM job WHERE rowid IN (SELECT rowid FROM job WHERE expires_at IS NOT NULL \
             AND expires_at <= ?1 LIMIT ?2)",
        )?
        .execute(params![now, limit as i64])?;
    Ok(gone)
}

pub(super) fn get(connection: &Connection, id: JobId) -> Result<Option<Found>, JobsError> {
    let found = connection
        .prepare_cached("SELECT spec, status, result FROM job WHERE id = ?1")?
        .query_row([id.as_uuid().as_bytes()], |row| Ok((read(row), row.get(2)?)))
        .optional()?;
    found.map(|(job, result)| Ok((job?, result))).transpose()
}

pub(super) fn list(connection: &Connection, filter: &JobFilter) -> Result<JobPage, JobsError> {
    let mut sql = "SELECT spec, status FROM job WHERE 1".to_owned();
    let mut values: Vec<Value> = Vec::new();
    let mut and = |clause: &str, value: Option<Value>| {
        sql.push_str(clause);
        values.extend(value);
    };
    if let Some(caller) = &filter.caller {
        and(" AND owner = ?", Some(Value::Text(caller.as_str().to_owned())));
    }
    if let Some(state) = filter.state {
        and(" AND state = ?", Some(Value::Integer(state_number(state))));
    }
    if filter.dead {
        and(" AND dead = 1", None);
    }
    if let Some(before) = filter.before {
        and(" AND id < ?", Some(Value::Blob(before.as_uuid().as_bytes().to_vec())));
    }
    and(" ORDER BY id DESC LIMIT ?", Some(Value::Integer(filter.limit as i64 + 1)));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut page = JobPage::default();
    while let Some(row) = rows.next()? {
        if page.jobs.len() == filter.limit {
            page.next = page.jobs.last().map(Job::id);
            break;
        }
        page.jobs.push(read(row)?);
    }
    Ok(page)
}

pub(super) fn depths(connection: &Connection, now: Millis) -> Result<Depths, JobsError> {
    let mut depths = Depths::default();
    for lane in Lane::ALL {
        let number = lane_number(lane);
        let count = |sql: &str| -> Result<u64, JobsError> {
            let count: i64 =
                connection.prepare_cached(sql)?.query_row([number], |row| row.get(0))?;
            Ok(count.max(0) as u64)
        };
        let oldest: Option<Millis> = connection
            .prepare_cached("SELECT min(run_at) FROM job WHERE state = 0 AND lane = ?1")?
            .query_row([number], |row| row.get(0))?;
        depths[lane as usize] = LaneDepth {
            queued: count("SELECT count(*) FROM job WHERE state = 0 AND lane = ?1")?,
            running: count("SELECT count(*) FROM job WHERE lease_until IS NOT NULL AND lane = ?1")?,
            dead: count("SELECT count(*) FROM job WHERE dead = 1 AND lane = ?1")?,
            oldest_ms: oldest.map_or(0, |oldest| (now - oldest).max(0) as u64),
        };
    }
    Ok(depths)
}
