//! What an operator can set about jobs. Read by the face from `jobs.*`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

use super::store::Rules;
use crate::bounds::mistakes;
use crate::supervision::InvalidOption;

/// Where jobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobsEngine {
    /// `jobs.db` in the data directory: one process.
    Sqlite,
    /// Redis Streams: many nodes share the queue.
    Redis,
}

/// Settings of the job queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobsOptions {
    /// Where jobs are kept.
    pub engine: JobsEngine,
    /// Jobs that run at once on this node; 0 = it only enqueues.
    pub workers: usize,
    /// How long a worker may be silent before its jobs are taken from it, in seconds.
    pub lease_seconds: u64,
    /// Longest wait of an idle worker before it looks again without having been woken.
    pub poll_ms: u64,
    /// Longest run of one attempt, in seconds.
    pub run_seconds_max: u64,
    /// Longest wait of a job before its first attempt, in seconds.
    pub wait_seconds_max: u64,
    /// Attempts when the request does not say.
    pub attempts_default: u32,
    /// Most attempts a request may ask for.
    pub attempts_max: u32,
    /// First delay before another attempt.
    pub retry_initial_ms: u64,
    /// Longest delay before another attempt.
    pub retry_max_ms: u64,
    /// Jobs of one caller that are not over.
    pub per_caller_max: usize,
    /// Jobs of all callers that are not over.
    pub total_max: usize,
    /// Most bytes of arguments.
    pub payload_bytes_max: usize,
    /// Most bytes of a result; a larger one is replaced by a failure.
    pub result_bytes_max: usize,
    /// How long a result is kept when the request does not say.
    pub result_ttl_seconds: u64,
    /// Longest a request may have its result kept.
    pub result_ttl_seconds_max: u64,
    /// How long a dead letter is kept.
    pub dead_letter_ttl_seconds: u64,
    /// Events kept per job.
    pub events_per_job_max: usize,
    /// Schedules of one caller.
    pub schedules_per_caller_max: usize,
    /// Schedules of all callers.
    pub schedules_max: usize,
    /// The key that seals arguments and results: base64 of 32 bytes; empty = the instance's own.
    #[serde(deserialize_with = "path_opt")]
    pub secret_file: Option<PathBuf>,
    /// Keys that only open what they sealed before.
    pub previous_secret_files: Vec<PathBuf>,
    /// Messages in flight to the actor; jobs do not pass through it.
    pub mailbox: usize,
}

impl Default for JobsOptions {
    fn default() -> Self {
        Self {
            engine: JobsEngine::Sqlite,
            workers: 4,
            lease_seconds: 30,
            poll_ms: 1_000,
            run_seconds_max: 600,
            wait_seconds_max: 86_400,
            attempts_default: 3,
            attempts_max: 10,
            retry_initial_ms: 1_000,
            retry_max_ms: 60_000,
            per_caller_max: 1_000,
            total_max: 100_000,
            payload_bytes_max: 4_194_304,
            result_bytes_max: 8_388_608,
            result_ttl_seconds: 86_400,
            result_ttl_seconds_max: 604_800,
            dead_letter_ttl_seconds: 2_592_000,
            events_per_job_max: 64,
            schedules_per_caller_max: 20,
            schedules_max: 1_000,
            secret_file: None,
            previous_secret_files: Vec::new(),
            mailbox: 64,
        }
    }
}

impl JobsOptions {
    /// Every value out of range, with its key below `jobs`.
    pub fn mistakes(&self) -> Vec<InvalidOption> {
        let mut found = mistakes([
            ("workers", self.workers as u64, 0..=1_024),
            ("lease_seconds", self.lease_seconds, 1..=3_600),
            ("poll_ms", self.poll_ms, 10..=60_000),
            ("run_seconds_max", self.run_seconds_max, 1..=86_400),
            ("wait_seconds_max", self.wait_seconds_max, 1..=31_536_000),
            ("attempts_default", self.attempts_default.into(), 1..=100),
            ("attempts_max", self.attempts_max.into(), 1..=100),
            ("retry_initial_ms", self.retry_initial_ms, 1..=3_600_000),
            ("retry_max_ms", self.retry_max_ms, 1..=86_400_000),
            ("per_caller_max", self.per_caller_max as u64, 1..=10_000_000),
            ("total_max", self.total_max as u64, 1..=10_000_000),
            ("payload_bytes_max", self.payload_bytes_max as u64, 1_024..=67_108_864),
            ("result_bytes_max", self.result_bytes_max as u64, 1_024..=67_108_864),
            ("result_ttl_seconds", self.result_ttl_seconds, 1..=31_536_000),
            ("result_ttl_seconds_max", self.result_ttl_seconds_max, 1..=31_536_000),
            ("dead_letter_ttl_seconds", self.dead_letter_ttl_seconds, 1..=31_536_000),
            ("events_per_job_max", self.events_per_job_max as u64, 1..=1_024),
            ("schedules_per_caller_max", self.schedules_per_caller_max as u64, 0..=100_000),
            ("schedules_max", self.schedules_max as u64, 0..=100_000),
            ("mailbox", self.mailbox as u64, 1..=65_536),
        ]);
        let mut ordered = |low: &str, ok: bool, high: &str| {
            if !ok {
                let message = format!("is more than jobs.{high}");
                found.push(InvalidOption { key: low.to_owned(), message });
            }
        };
        ordered("attempts_default", self.attempts_default <= self.attempts_max, "attempts_max");
        ordered("retry_initial_ms", self.retry_initial_ms <= self.retry_max_ms, "retry_max_ms");
        let ttl = self.result_ttl_seconds <= self.result_ttl_seconds_max;
        ordered("result_ttl_seconds", ttl, "result_ttl_seconds_max");
        if self.engine == JobsEngine::Redis && self.secret_file.is_none() {
            found.push(InvalidOption {
                key: "secret_file".to_owned(),
                message: "must name a key when jobs.engine = \"redis\": nodes that share jobs \
                          seal them with the same key (openssl rand -base64 32)"
                    .to_owned(),
            });
        }
        found
    }

    /// How long a worker may be silent.
    pub fn lease(&self) -> Duration {
        Duration::from_secs(self.lease_seconds)
    }

    /// The same as the stores see it.
    pub fn rules(&self) -> Rules {
        Rules {
            retry_lost_ms: self.retry_initial_ms as i64,
            dead_ttl_ms: self.dead_letter_ttl_seconds as i64 * 1_000,
            events_max: self.events_per_job_max,
            per_caller_max: self.per_caller_max,
            total_max: self.total_max,
            schedules_per_caller_max: self.schedules_per_caller_max,
            schedules_max: self.schedules_max,
        }
    }
}

/// `""` means "not set".
fn path_opt<'de, D: Deserializer<'de>>(source: D) -> Result<Option<PathBuf>, D::Error> {
    let text = Option::<String>::deserialize(source)?.unwrap_or_default();
    Ok((!text.is_empty()).then(|| PathBuf::from(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_contradictions_are_named() {
        assert_eq!(JobsOptions::default().mistakes(), []);
        let wrong = JobsOptions {
            engine: JobsEngine::Redis,
            attempts_default: 11,
            ..JobsOptions::default()
        };
        let keys: Vec<String> = wrong.mistakes().into_iter().map(|m| m.key).collect();
        assert_eq!(keys, ["attempts_default", "secret_file"]);
    }
}
