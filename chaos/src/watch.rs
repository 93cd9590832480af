//! Reads what the server says about itself: health through the scenario, breakers and queues afterwards,
//! and the lists of what it keeps.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::evidence::{Health, Sample};
use crate::record::{Kind, Record};
use crate::workload::{Request, Workload};

/// Between two looks at the health.
const SAMPLE_EVERY: Duration = Duration::from_millis(150);
/// An orchestrator's probe waits about this long.
const SAMPLE_PATIENCE: Duration = Duration::from_secs(1);
/// Everything must have healed and drained by then.
pub const DRAIN_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Most rows the server gives in one answer.
const ROWS_MAX: usize = 10_000;

/// Metrics that are 0 when nothing is refused and nothing waits.
const ZERO: [&str; 7] = [
    "redis_breaker_refusing",
    "neo4j_breaker_refusing",
    "jobs_queued",
    "jobs_running",
    "jobs_in_hand",
    "cell_queue",
    "actor_mailbox_in_flight",
];

/// Samples of the health, taken until this is dropped.
pub struct Samples {
    taken: Arc<Mutex<Vec<Sample>>>,
    task: JoinHandle<()>,
}

impl Samples {
    /// Begins to look; called inside a runtime.
    pub fn begin(load: &Arc<Workload>) -> Self {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let (kept, load) = (Arc::clone(&taken), Arc::clone(load));
        let task = tokio::spawn(async move {
            loop {
                let sample = sample(&load).await;
                kept.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
                tokio::time::sleep(SAMPLE_EVERY).await;
            }
        });
        Self { taken, task }
    }

    /// Those taken until now.
    pub fn taken(&self) -> Vec<Sample> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Samples {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One look at `/ready`.
pub async fn sample(load: &Workload) -> Sample {
    let method = reqwest::Method::GET;
    let request =
        Request { node: 0, method, path: "/ready", token: None, headers: &[], body: None };
    let asked = tokio::time::timeout(SAMPLE_PATIENCE, load.send(request)).await;
    let health = match asked {
        Ok(Ok((_, body))) => Health::Said(body["status"].as_str().unwrap_or("").to_owned()),
        _ => Health::Silent,
    };
    Sample { at: load.now(), health }
}

/// Waits until every breaker is closed, every queue empty and the server ready; what is not so in the end.
pub async fn drained(load: &Workload) -> Vec<String> {
    let end = Instant::now() + DRAIN_MAX;
    loop {
        let mut left = Vec::new();
        for node in 0..load.node_count() {
            match load.read_at(node, "/metrics").await {
                Ok((200, body)) => left.extend(undrained(body.as_str().unwrap_or(""))),
                other => left.push(format!("/metrics: {other:?}")),
            }
        }
        let health = sample(load).await.health;
        if health != Health::Said("ready".to_owned()) {
            left.push(format!("/ready: {health:?}"));
        }
        if left.is_empty() || Instant::now() > end {
            return left;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Lines of Prometheus text that should say 0 and do not.
fn undrained(metrics: &str) -> Vec<String> {
    let found = metrics.lines().filter(|line| {
        let name = line.split(['{', ' ']).next().unwrap_or("");
        ZERO.contains(&name) && !line.ends_with(" 0")
    });
    found.map(str::to_owned).collect()
}

/// Status of every job, by its id.
///
/// # Errors
/// When the server does not answer.
pub async fn jobs(load: &Workload) -> Result<HashMap<String, String>> {
    let mut jobs = HashMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/api/v1/jobs?all=true&limit=200{cursor}");
        let (status, page) = load.read(&path).await.map_err(anyhow::Error::msg)?;
        ensure!(status == 200, "the list of jobs: {status} {page}");
        for job in page["jobs"].as_array().context("a page without jobs")? {
            let text = |key: &str| job[key].as_str().unwrap_or("").to_owned();
            jobs.insert(text("job_id"), text("status"));
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(jobs),
        }
    }
}

/// Keys of this scenario's nodes in the graph.
///
/// # Errors
/// When the server does not answer.
pub async fn nodes(load: &Workload) -> Result<HashSet<String>> {
    let cypher = "MATCH (n:Chaos) WHERE n.key STARTS WITH $prefix RETURN n.key AS key";
    let parameters = json!({ "prefix": load.prefix() });
    let body = json!({ "cypher": cypher, "parameters": parameters, "row_limit": ROWS_MAX });
    let path = "/api/v1/tools/graph_query";
    let answer = load.order(0, reqwest::Method::POST, path, Some(body)).await;
    let (status, answer) = answer.map_err(anyhow::Error::msg)?;
    ensure!(status == 200, "the graph: {status} {answer}");
    let rows = answer["rows"].as_array().context("an answer without rows")?;
    Ok(rows.iter().filter_map(|row| row["key"].as_str().map(str::to_owned)).collect())
}

/// Of the users that were given a role, those that have it.
///
/// # Errors
/// When the server does not answer.
pub async fn users(load: &Workload, records: &[Record]) -> Result<HashSet<String>> {
    let mut users = HashSet::new();
    for record in records.iter().filter(|r| r.kind == Kind::Role && r.outcome.is_done()) {
        let path = format!("/api/v1/users/{}/roles", record.subject);
        let (status, answer) = load.read(&path).await.map_err(anyhow::Error::msg)?;
        ensure!(status == 200, "roles of {}: {status} {answer}", record.subject);
        if answer["roles"] == json!(["viewer"]) {
            users.insert(record.subject.clone());
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_breakers_and_waiting_work_are_found_in_the_metrics() {
        let text = "# HELP jobs_queued of lanes\njobs_queued{lane=\"low\"} 0\njobs_queued{lane=\"normal\"} 3\n\
                    redis_breaker_refusing 1\nneo4j_breaker_refusing 0\nredis_up 1\njobs_attempts 9\n";
        assert_eq!(undrained(text), ["jobs_queued{lane=\"normal\"} 3", "redis_breaker_refusing 1"]);
    }
}
