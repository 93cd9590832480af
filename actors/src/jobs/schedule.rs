//! Schedules: jobs that are made by the clock.
//!
//! A schedule is a cron expression in UTC (five fields, or six with seconds first). Its next tick is
//! stored; a node that finds it due enqueues the job and stores the tick after it in one step, so each
//! tick makes exactly one job whatever the number of nodes.
//!
//! Misfire rule: ticks that passed while no node worked make *one* job together, at once; the next tick
//! is the first one after now.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use croner::Cron;
use serde::{Deserialize, Serialize};

use super::error::JobsError;
use super::job::{Identity, Lane, Millis};
use crate::ids::ScheduleId;

/// Longest cron expression.
const CRON_BYTES_MAX: usize = 128;
/// Shortest time between two ticks: a schedule is not a load generator.
const PERIOD_MS_MIN: i64 = 1_000;

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Its id.
    pub id: ScheduleId,
    /// Whose it is; jobs run with this caller's rights at that moment.
    pub identity: Identity,
    /// For people.
    pub name: String,
    /// When, in UTC.
    pub cron: String,
    /// The tool to call.
    pub tool: String,
    /// How urgent its jobs are.
    pub lane: Lane,
    /// Whether its jobs may be repeated.
    pub idempotent: bool,
    /// Attempts of each job.
    pub max_attempts: u32,
    /// How long results are kept.
    pub result_ttl_ms: i64,
    /// False: it stays, and makes no jobs.
    pub enabled: bool,
    /// The next tick.
    pub next_at: Millis,
    /// The tick that made a job last.
    pub last_at: Option<Millis>,
    /// When it was made.
    pub created_at: Millis,
}

/// The first tick after `after`.
///
/// # Errors
/// Not a cron expression, or one that never ticks again.
pub fn next_tick(cron: &str, after: Millis) -> Result<Millis, JobsError> {
    let wrong = |why: String| JobsError::Cron(why);
    if cron.len() > CRON_BYTES_MAX {
        return Err(wrong(format!("is longer than {CRON_BYTES_MAX} bytes")));
    }
    let parsed = Cron::from_str(cron).map_err(|error| wrong(error.to_string()))?;
    let start: DateTime<Utc> = DateTime::from_timestamp_millis(after)
        .ok_or_else(|| wrong("the time is out of range".to_owned()))?;
    let next = parsed.find_next_occurrence(&start, false);
    let next = next.map_err(|_| wrong("never ticks again".to_owned()))?;
    Ok(next.timestamp_millis().max(after + PERIOD_MS_MIN.min(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Millis {
        DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
    }

    #[test]
    fn ticks_are_in_utc_and_strictly_later() {
        let noon = at("2026-11-22T12:00:00Z");
        assert_eq!(next_tick("0 12 * * *", noon).unwrap(), at("2026-11-23T12:00:00Z"));
        assert_eq!(next_tick("*/5 * * * *", noon + 1).unwrap(), at("2026-11-22T12:05:00Z"));
        assert_eq!(next_tick("*/2 * * * * *", noon).unwrap(), noon + 2000);
        assert_eq!(next_tick("0 0 29 2 *", noon).unwrap(), at("2028-02-29T00:00:00Z"));
    }

    #[test]
    fn what_is_no_schedule_is_refused_and_says_why() {
        for bad in ["", "every day", "61 * * * *", "0 0 31 2 *", &"* ".repeat(100)] {
            assert!(matches!(next_tick(bad, 0), Err(JobsError::Cron(_))), "{bad:?}");
        }
    }
}
