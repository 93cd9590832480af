//! Jobs per second through the real store and the real worker, with a runner that does nothing: what the
//! queue itself costs. `loadtest/jobs/run.sh` runs it beside Celery on the same Redis.
//!
//! `jobs_rate sqlite|redis://… JOBS` prints enqueued per second, and worked per second once all wait.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a bench prints, and a failed step ends it"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{StreamExt, iter};
use serde_json::value::RawValue;
use ultimate_mcp_actors::ids::{CallerId, JobId};
use ultimate_mcp_actors::jobs::{
    Identity, JobRequest, JobStore, JobsHandle, JobsOptions, Lane, Order, RedisJobs, RunEnd,
    Runner, Sealer, SqliteJobs,
};
use ultimate_mcp_actors::redis::{RedisClient, RedisOptions};
use ultimate_mcp_actors::supervision::{PolicyOptions, Supervisor, unobserved};

/// Enqueues in flight at once.
const CLIENTS: usize = 64;

/// Answers at once, as Celery's task does.
struct Nothing;

impl Runner for Nothing {
    fn run(&self, _: Order) -> LocalBoxFuture<'static, RunEnd> {
        async { RunEnd::Done { result: "{\"sum\":3}".to_owned(), is_error: false } }.boxed_local()
    }

    fn stands(&self, _: &Identity) -> bool {
        true
    }
}

fn main() {
    actix_rt::System::new().block_on(bench());
}

async fn store(engine: &str, folder: &std::path::Path, options: &JobsOptions) -> Arc<dyn JobStore> {
    if engine == "sqlite" {
        return Arc::new(SqliteJobs::open(&folder.join("jobs.db"), options.rules()).unwrap());
    }
    let redis = RedisOptions { urls: vec![engine.to_owned()], ..RedisOptions::default() };
    let client = RedisClient::new(redis, Arc::new(|_, _| {})).unwrap();
    client.up().await;
    Arc::new(RedisJobs::new(client, options.rules(), options.lease()))
}

async fn bench() {
    let engine = std::env::args().nth(1).unwrap_or("sqlite".to_owned());
    let jobs: usize = std::env::args().nth(2).map_or(20_000, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let options = JobsOptions {
        workers: 512,
        per_caller_max: 10_000_000,
        total_max: 10_000_000,
        ..JobsOptions::default()
    };
    let (root, _exit) = Supervisor::root("bench", PolicyOptions::default(), unobserved()).unwrap();
    let store = store(&engine, folder.path(), &options).await;
    let sealer = Sealer::new([[1; 32]]).unwrap();
    let queue = JobsHandle::start(&root, store, sealer, options).await.unwrap();

    let arguments = RawValue::from_string("{\"a\":1,\"b\":2}".to_owned()).unwrap();
    let started = Instant::now();
    let enqueued = AtomicUsize::new(0);
    iter(0..jobs)
        .for_each_concurrent(CLIENTS, |_| async {
            queue.enqueue(request(&arguments)).await.unwrap();
            enqueued.fetch_add(1, Ordering::Relaxed);
        })
        .await;
    let took = started.elapsed();
    assert_eq!(enqueued.into_inner(), jobs);
    println!("enqueued {jobs} in {took:.2?}: {:.0} jobs/s", jobs as f64 / took.as_secs_f64());

    let started = Instant::now();
    queue.attach(Arc::new(Nothing));
    while (queue.stats().begun as usize) < jobs || queue.stats().in_hand > 0 {
        queue.moved(Duration::from_millis(10)).await;
    }
    let took = started.elapsed();
    println!("worked {jobs} in {took:.2?}: {:.0} jobs/s", jobs as f64 / took.as_secs_f64());
}

fn request(arguments: &RawValue) -> JobRequest<'_> {
    JobRequest {
        id: JobId::new(),
        identity: Identity {
            caller: CallerId::parse("bench").unwrap(),
            roles: vec!["developer".to_owned()],
            token_id: None,
            issued_at: 0,
        },
        tool: "add".to_owned(),
        arguments,
        lane: Lane::Normal,
        run_at: None,
        idempotent: false,
        max_attempts: None,
        ttl_seconds: None,
        trace: None,
        request_id: None,
        dedupe: None,
    }
}
