//! What is counted about tools and the engine; the names are contract for dashboards.
//!
//! Instruments are OpenTelemetry's, scraped as Prometheus text. Labels are bounded: tool names come from
//! the registry, statuses and reasons from enums.

use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};
use ultimate_mcp_actors::cache::{CacheHandle, NamespaceStats};
use ultimate_mcp_actors::execution::{ExecutionHandle, ExecutionStats};
use ultimate_mcp_actors::jobs::{JobsHandle, JobsStats, Lane, LaneDepth};
use ultimate_mcp_actors::neo4j::Neo4jClient;
use ultimate_mcp_actors::redis::RedisClient;
use ultimate_mcp_actors::resilience::BreakerState;
use ultimate_mcp_actors::sandboxes::{SandboxesHandle, SandboxesStats};
use ultimate_mcp_actors::shipping::{ShippingHandle, ShippingStatus};
use ultimate_mcp_actors::supervision::TreeHandle;

use crate::error::{ApiError, Code};
use crate::telemetry::{METER_NAME, Metrics};

/// Upper bounds of the duration buckets, in seconds.
const SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The instruments of the face.
pub struct Instruments {
    metrics: Metrics,
    executions: Counter<u64>,
    duration: Histogram<f64>,
    errors: Counter<u64>,
    auth_failures: Counter<u64>,
    forwards: Counter<u64>,
}

impl Instruments {
    /// Makes the instruments; `metrics` must be installed.
    pub fn new(metrics: Metrics) -> Self {
        let meter = global::meter(METER_NAME);
        Self {
            metrics,
            executions: meter
                .u64_counter("tool_executions")
                .with_description("calls of tools that were admitted, by how they ended")
                .build(),
            duration: meter
                .f64_histogram("tool_execution_duration_seconds")
                .with_description("from admission to the result, in seconds")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            errors: meter
                .u64_counter("errors")
                .with_description("calls of tools that ended in an error, by its code")
                .build(),
            auth_failures: meter
                .u64_counter("auth_failures")
                .with_description("requests without a valid token, by reason")
                .build(),
            forwards: meter
                .u64_counter("node_forwards")
                .with_description("calls sent on to the node they belong to, by how they ended")
                .build(),
        }
    }

    /// Reads the supervision tree at every scrape: restarts, panics, messages in flight.
    pub fn observe_tree(&self, tree: TreeHandle) {
        let meter = global::meter(METER_NAME);
        let gauge =
            |name: &'static str,
             help: &'static str,
             read: fn(&ultimate_mcp_actors::supervision::NodeSnapshot) -> Option<u64>| {
                let tree = tree.clone();
                // The callback lives in the meter; the returned instrument only names it.
                let _ = meter
                    .u64_observable_gauge(name)
                    .with_description(help)
                    .with_callback(move |observer| {
                        for node in tree.snapshot().walk() {
                            if let Some(value) = read(node) {
                                observer.observe(
                                    value,
                                    &[KeyValue::new("actor", node.name.to_string())],
                                );
                            }
                        }
                    })
                    .build();
            };
        gauge("actor_restarts", "restarts since the start", |n| Some(n.restarts));
        gauge("actor_panics", "panics since the start", |n| Some(n.panics));
        gauge("actor_mailbox_in_flight", "messages accepted and not yet answered", |n| {
            n.mailbox.map(|m| m.in_flight as u64)
        });
    }

    /// Asks the execution actor at every scrape: runs, waiting runs, launchers started and lost.
    pub fn observe_cell(&self, cell: &ExecutionHandle) {
        let meter = global::meter(METER_NAME);
        let gauge = |name: &'static str, help: &'static str, read: fn(&ExecutionStats) -> u64| {
            let cell = cell.clone();
            let _ = meter
                .u64_observable_gauge(name)
                .with_description(help)
                .with_callback(move |observer| observer.observe(read(&cell.stats()), &[]))
                .build();
        };
        gauge("cell_runs", "runs that hold a place", |stats| stats.running as u64);
        gauge("cell_queue", "runs that wait for a place", |stats| stats.queued as u64);
        gauge("cell_launcher_starts", "launchers started", |stats| stats.launcher_starts);
        gauge("cell_launcher_losses", "launchers that died", |stats| stats.launcher_losses);
    }

    /// Asks the client of Neo4j at every scrape: whether it serves, its calls, its breaker.
    pub fn observe_neo4j(&self, client: &Neo4jClient) {
        let meter = global::meter(METER_NAME);
        let gauge = |name: &'static str, help: &'static str, read: fn(&Neo4jClient) -> u64| {
            let client = client.clone();
            let _ = meter
                .u64_observable_gauge(name)
                .with_description(help)
                .with_callback(move |observer| observer.observe(read(&client), &[]))
                .build();
        };
        gauge("neo4j_up", "1 while the server answers", |client| {
            u64::from(client.state().problem().is_none())
        });
        gauge("neo4j_calls", "calls in hand", |client| client.snapshot().in_flight as u64);
        gauge("neo4j_connections_max", "most connections at once", |client| {
            client.options().pool_max as u64
        });
        gauge("neo4j_breaker_refusing", "1 while its breaker refuses calls", |client| {
            let state = client.snapshot().breaker.state;
            u64::from(matches!(state, BreakerState::Open | BreakerState::ForcedOpen))
        });
        gauge("neo4j_breaker_opened", "times its breaker opened since the start", |client| {
            client.snapshot().breaker.opened
        });
        gauge("neo4j_breaker_rejected", "calls its breaker refused since the start", |client| {
            client.snapshot().breaker.rejected
        });
    }

    /// Reads the cache at every scrape: where answers came from, what is held.
    pub fn observe_cache(&self, cache: &CacheHandle) {
        let meter = global::meter(METER_NAME);
        let counter =
            |name: &'static str,
             help: &'static str,
             read: fn(&NamespaceStats) -> Vec<(&'static str, u64)>| {
                let cache = cache.clone();
                let _ = meter
                    .u64_observable_gauge(name)
                    .with_description(help)
                    .with_callback(move |observer| {
                        for stats in cache.stats() {
                            for (what, value) in read(&stats) {
                                let namespace = KeyValue::new("namespace", stats.namespace.name());
                                observer.observe(value, &[namespace, KeyValue::new("what", what)]);
                            }
                        }
                    })
                    .build();
            };
        counter("cache_answers", "answers since the start, by where they came from", |stats| {
            let (local, shared) = (stats.hits, stats.shared_hits);
            vec![("local", local), ("redis", shared), ("computed", stats.misses)]
        });
        counter("cache_events", "what else happened since the start", |stats| {
            vec![
                ("renewed_early", stats.renewed),
                ("redis_failed", stats.shared_errors),
                ("waited_for_other_node", stats.lease_waits),
                ("evicted", stats.evictions),
                ("invalidated", stats.invalidations),
            ]
        });
        counter("cache_held", "entries and bytes on this node", |stats| {
            vec![("entries", stats.entries), ("bytes", stats.bytes)]
        });
    }

    /// Asks the client of Redis at every scrape: whether it serves, its calls, its breaker.
    pub fn observe_redis(&self, client: &RedisClient) {
        let meter = global::meter(METER_NAME);
        let gauge = |name: &'static str, help: &'static str, read: fn(&RedisClient) -> u64| {
            let client = client.clone();
            let _ = meter
                .u64_observable_gauge(name)
                .with_description(help)
                .with_callback(move |observer| observer.observe(read(&client), &[]))
                .build();
        };
        gauge("redis_up", "1 while the server answers", |client| u64::from(client.is_up()));
        gauge("redis_calls", "calls in hand", |client| client.snapshot().in_flight as u64);
        gauge("redis_breaker_refusing", "1 while its breaker refuses calls", |client| {
            let state = client.snapshot().breaker.state;
            u64::from(matches!(state, BreakerState::Open | BreakerState::ForcedOpen))
        });
        gauge("redis_breaker_opened", "times its breaker opened since the start", |client| {
            client.snapshot().breaker.opened
        });
        gauge("redis_breaker_rejected", "calls its breaker refused since the start", |client| {
            client.snapshot().breaker.rejected
        });
    }

    /// Reads at every scrape how far the copy of the audit in Neo4j is.
    pub fn observe_shipping(&self, shipping: &ShippingHandle) {
        let meter = global::meter(METER_NAME);
        let gauge = |name: &'static str, help: &'static str, read: fn(&ShippingStatus) -> f64| {
            let shipping = shipping.clone();
            let _ = meter
                .f64_observable_gauge(name)
                .with_description(help)
                .with_callback(move |observer| observer.observe(read(&shipping.status()), &[]))
                .build();
        };
        gauge("audit_shipping_lag_events", "events that wait for Neo4j", |s| s.lag_events as f64);
        gauge("audit_shipping_lag_seconds", "age of the oldest of them", |s| s.lag_seconds);
        gauge("audit_shipping_events", "events shipped since the start", |s| {
            s.events_shipped as f64
        });
        gauge("audit_shipping_failures", "attempts that failed since the start", |s| {
            s.failures as f64
        });
    }

    /// Asks the sandboxes actor at every scrape: open ones, steps, ends by their reason.
    pub fn observe_sandboxes(&self, sandboxes: &SandboxesHandle) {
        let meter = global::meter(METER_NAME);
        let gauge = |name: &'static str, help: &'static str, read: fn(&SandboxesStats) -> u64| {
            let sandboxes = sandboxes.clone();
            let _ = meter
                .u64_observable_gauge(name)
                .with_description(help)
                .with_callback(move |observer| observer.observe(read(&sandboxes.stats()), &[]))
                .build();
        };
        gauge("sandboxes_open", "sandboxes that stay, open now", |stats| stats.open as u64);
        gauge("sandboxes_created", "sandboxes opened", |stats| stats.created);
        gauge("sandbox_steps", "steps taken in sandboxes", |stats| stats.steps);
        let sandboxes = sandboxes.clone();
        let _ = meter
            .u64_observable_gauge("sandboxes_ended")
            .with_description("sandboxes that ended, by why")
            .with_callback(move |observer| {
                for (reason, count) in sandboxes.stats().ended {
                    observer.observe(count, &[KeyValue::new("reason", reason)]);
                }
            })
            .build();
    }

    /// Reads the job queue's last figures at every scrape: lanes, and what this node did.
    pub fn observe_jobs(&self, jobs: &JobsHandle) {
        let meter = global::meter(METER_NAME);
        let lanes = |name: &'static str, help: &'static str, read: fn(&LaneDepth) -> u64| {
            let jobs = jobs.clone();
            let _ = meter
                .u64_observable_gauge(name)
                .with_description(help)
                .with_callback(move |observer| {
                    for (lane, depth) in Lane::ALL.into_iter().zip(&jobs.stats().depths) {
                        observer.observe(read(depth), &[KeyValue::new("lane", lane.as_str())]);
                    }
                })
                .build();
        };
        lanes("jobs_queued", "jobs that wait, delayed ones included", |d| d.queued);
        lanes("jobs_running", "jobs in the hands of workers, on all nodes", |d| d.running);
        lanes("jobs_dead_letters", "jobs an operator should look at", |d| d.dead);
        lanes("jobs_oldest_ms", "age of the oldest job that could run", |d| d.oldest_ms);
        let node = |name: &'static str, help: &'static str, read: fn(&JobsStats) -> u64| {
            let jobs = jobs.clone();
            let _ = meter
                .u64_observable_gauge(name)
                .with_description(help)
                .with_callback(move |observer| observer.observe(read(&jobs.stats()), &[]))
                .build();
        };
        node("jobs_in_hand", "jobs in hand on this node", |stats| stats.in_hand);
        node("jobs_attempts", "attempts begun by this node", |stats| stats.begun);
        node("jobs_retries", "jobs this node sent round again", |stats| stats.retries);
        node("jobs_reaped", "jobs this node took from workers that died", |stats| stats.reaped);
    }

    /// An admitted call ended.
    pub fn tool_finished(&self, tool: &'static str, status: &'static str, took: Duration) {
        let name = KeyValue::new("tool_name", tool);
        self.duration.record(took.as_secs_f64(), std::slice::from_ref(&name));
        self.executions.add(1, &[name, KeyValue::new("status", status)]);
        if status != "ok" {
            self.errors.add(1, &[KeyValue::new("type", status)]);
        }
    }

    /// A call was sent on to another node and came back.
    pub fn forwarded(&self, status: &'static str) {
        self.forwards.add(1, &[KeyValue::new("status", status)]);
    }

    /// A request had no valid token.
    pub fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// Everything counted so far, as Prometheus text.
    ///
    /// # Errors
    /// A metric cannot be encoded: a mistake of ours.
    pub fn render(&self) -> Result<String, ApiError> {
        self.metrics.render().map_err(|error| {
            ApiError::new(Code::Internal, "the metrics could not be encoded").caused_by(error)
        })
    }
}
