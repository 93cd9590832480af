//! What is read at every scrape: the tree, the cell, the engines outside and what waits for them.
//!
//! Called once per part at start. Nothing is counted twice: each part keeps its own figures, and a scrape
//! looks at them.

use std::borrow::Cow;

use opentelemetry::{KeyValue, global};
use ultimate_mcp_actors::cache::{CacheHandle, NamespaceStats};
use ultimate_mcp_actors::execution::ExecutionHandle;
use ultimate_mcp_actors::jobs::{JobsHandle, Lane, LaneDepth};
use ultimate_mcp_actors::neo4j::Neo4jClient;
use ultimate_mcp_actors::redis::RedisClient;
use ultimate_mcp_actors::resilience::{BreakerState, Dependency, DependencySnapshot};
use ultimate_mcp_actors::sandboxes::SandboxesHandle;
use ultimate_mcp_actors::shipping::ShippingHandle;
use ultimate_mcp_actors::supervision::{NodeSnapshot, TreeHandle};

use super::{Instruments, METER_NAME};
use crate::reload::Reload;

/// What a part can be asked from, at any time and from any thread.
trait Source: Clone + Send + Sync + 'static {}
impl<S: Clone + Send + Sync + 'static> Source for S {}

/// Values of one gauge, each with what tells it from the others.
type Values = Vec<(Vec<KeyValue>, f64)>;

/// A gauge of several values, asked of `source` at every scrape.
fn gauges<S: Source>(
    source: &S,
    name: impl Into<Cow<'static, str>>,
    help: &'static str,
    read: impl Fn(&S) -> Values + Send + Sync + 'static,
) {
    let source = source.clone();
    // The callback lives in the meter; the returned instrument only names it.
    let _ = global::meter(METER_NAME)
        .f64_observable_gauge(name)
        .with_description(help)
        .with_callback(move |observer| {
            for (labels, value) in read(&source) {
                observer.observe(value, &labels);
            }
        })
        .build();
}

/// A gauge of one value.
fn gauge<S: Source>(
    source: &S,
    name: impl Into<Cow<'static, str>>,
    help: &'static str,
    read: fn(&S) -> f64,
) {
    gauges(source, name, help, move |source| vec![(Vec::new(), read(source))]);
}

fn flag(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

fn refuses(dependency: &DependencySnapshot) -> f64 {
    flag(matches!(dependency.breaker.state, BreakerState::Open | BreakerState::ForcedOpen))
}

/// The calls of a dependency and its breaker.
fn guarded(dependency: &Dependency, name: &str) {
    gauge(dependency, format!("{name}_calls"), "calls in hand", |dependency| {
        dependency.snapshot().places.in_flight as f64
    });
    let places = |what, help, read: fn(&DependencySnapshot) -> f64| {
        gauges(dependency, format!("{name}_{what}"), help, move |dependency| {
            vec![(Vec::new(), read(&dependency.snapshot()))]
        });
    };
    places("calls_limit", "calls that may be in hand now", |d| d.places.limit as f64);
    places("calls_background", "calls in hand that nobody waits for", |d| {
        d.places.background as f64
    });
    places("calls_waiting", "calls that wait for a place", |d| d.places.waiting as f64);
    places("calls_refused", "calls refused for want of a place since the start", |d| {
        d.places.refused as f64
    });
    places("hedges_sent", "second requests of slow reads since the start", |d| {
        d.hedges.sent as f64
    });
    places("hedges_won", "of them answered first", |d| d.hedges.won as f64);
    let breaker = |what, help, read: fn(&Dependency) -> f64| {
        gauge(dependency, format!("{name}_breaker_{what}"), help, read);
    };
    breaker("refusing", "1 while its breaker refuses calls", |d| refuses(&d.snapshot()));
    breaker("opened", "times its breaker opened since the start", |d| {
        d.snapshot().breaker.opened as f64
    });
    breaker("rejected", "calls its breaker refused since the start", |d| {
        d.snapshot().breaker.rejected as f64
    });
}

impl Instruments {
    /// The supervision tree: restarts, panics, messages in flight.
    pub fn observe_tree(&self, tree: &TreeHandle) {
        let of_actors = |name, help, read: fn(&NodeSnapshot) -> Option<f64>| {
            gauges(tree, name, help, move |tree| {
                let tree = tree.snapshot();
                let actors = tree.walk().into_iter();
                let named =
                    |node: &NodeSnapshot| vec![KeyValue::new("actor", node.name.to_string())];
                actors.filter_map(|node| Some((named(node), read(node)?))).collect()
            });
        };
        of_actors("actor_restarts", "restarts since the start", |n| Some(n.restarts as f64));
        of_actors("actor_panics", "panics since the start", |n| Some(n.panics as f64));
        of_actors("actor_mailbox_in_flight", "messages accepted and not yet answered", |n| {
            n.mailbox.map(|mailbox| mailbox.in_flight as f64)
        });
    }

    /// The cell: runs, waiting runs, launchers started and lost.
    pub fn observe_cell(&self, cell: &ExecutionHandle) {
        gauge(cell, "cell_runs", "runs that hold a place", |c| c.stats().running as f64);
        gauge(cell, "cell_queue", "runs that wait for a place", |c| c.stats().queued as f64);
        gauge(cell, "cell_launcher_starts", "launchers started", |c| {
            c.stats().launcher_starts as f64
        });
        gauge(cell, "cell_launcher_losses", "launchers that died", |c| {
            c.stats().launcher_losses as f64
        });
    }

    /// Neo4j: whether it serves, its calls, its breaker.
    pub fn observe_neo4j(&self, client: &Neo4jClient) {
        gauge(client, "neo4j_up", "1 while the server answers", |client| {
            flag(client.state().problem().is_none())
        });
        gauge(client, "neo4j_connections_max", "most connections at once", |client| {
            client.options().pool_max as f64
        });
        guarded(client.dependency(), "neo4j");
    }

    /// Redis: whether it serves, its calls, its breaker.
    pub fn observe_redis(&self, client: &RedisClient) {
        gauge(client, "redis_up", "1 while the server answers", |client| flag(client.is_up()));
        guarded(client.dependency(), "redis");
    }

    /// The cache: where answers came from, what is held.
    pub fn observe_cache(&self, cache: &CacheHandle) {
        let of_spaces = |name, help, read: fn(&NamespaceStats) -> Vec<(&'static str, u64)>| {
            gauges(cache, name, help, move |cache| {
                let values = |stats: NamespaceStats| {
                    let namespace = KeyValue::new("namespace", stats.namespace.name());
                    let labels = move |what| vec![namespace.clone(), KeyValue::new("what", what)];
                    let read = read(&stats).into_iter();
                    read.map(move |(what, value)| (labels(what), value as f64))
                };
                cache.stats().into_iter().flat_map(values).collect()
            });
        };
        of_spaces("cache_answers", "answers since the start, by where they came from", |stats| {
            let (local, shared) = (stats.hits, stats.shared_hits);
            vec![("local", local), ("redis", shared), ("computed", stats.misses)]
        });
        of_spaces("cache_events", "what else happened since the start", |stats| {
            vec![
                ("renewed_early", stats.renewed),
                ("redis_failed", stats.shared_errors),
                ("waited_for_other_node", stats.lease_waits),
                ("evicted", stats.evictions),
                ("invalidated", stats.invalidations),
            ]
        });
        of_spaces("cache_held", "entries and bytes on this node", |stats| {
            vec![("entries", stats.entries), ("bytes", stats.bytes)]
        });
    }

    /// How far the copy of the audit in Neo4j is.
    pub fn observe_shipping(&self, shipping: &ShippingHandle) {
        gauge(shipping, "audit_shipping_lag_events", "events that wait for Neo4j", |shipping| {
            shipping.status().lag_events as f64
        });
        gauge(shipping, "audit_shipping_lag_seconds", "age of the oldest of them", |shipping| {
            shipping.status().lag_seconds
        });
        gauge(shipping, "audit_shipping_events", "events shipped since the start", |shipping| {
            shipping.status().events_shipped as f64
        });
        gauge(shipping, "audit_shipping_failures", "attempts that failed since the start", |s| {
            s.status().failures as f64
        });
    }

    /// Sandboxes that stay: open ones, steps, ends by their reason.
    pub fn observe_sandboxes(&self, sandboxes: &SandboxesHandle) {
        gauge(sandboxes, "sandboxes_open", "sandboxes that stay, open now", |sandboxes| {
            sandboxes.stats().open as f64
        });
        gauge(sandboxes, "sandboxes_created", "sandboxes opened", |s| s.stats().created as f64);
        gauge(sandboxes, "sandbox_steps", "steps taken in sandboxes", |s| s.stats().steps as f64);
        gauges(sandboxes, "sandboxes_ended", "sandboxes that ended, by why", |sandboxes| {
            let ended = sandboxes.stats().ended.into_iter();
            ended.map(|(why, count)| (vec![KeyValue::new("reason", why)], count as f64)).collect()
        });
    }

    /// The configuration: whether its files can be used.
    pub fn observe_config(&self, reload: &Reload) {
        gauge(reload, "config_problems", "mistakes that keep the files out of force", |reload| {
            reload.standing().problem.len() as f64
        });
    }

    /// The job queue: lanes, and what this node did.
    pub fn observe_jobs(&self, jobs: &JobsHandle) {
        let of_lanes = |name, help, read: fn(&LaneDepth) -> u64| {
            gauges(jobs, name, help, move |jobs| {
                let stats = jobs.stats();
                let lanes = Lane::ALL.into_iter().zip(&stats.depths);
                let labels = |lane: Lane| vec![KeyValue::new("lane", lane.as_str())];
                lanes.map(|(lane, depth)| (labels(lane), read(depth) as f64)).collect()
            });
        };
        of_lanes("jobs_queued", "jobs that wait, delayed ones included", |d| d.queued);
        of_lanes("jobs_running", "jobs in the hands of workers, on all nodes", |d| d.running);
        of_lanes("jobs_dead_letters", "jobs an operator should look at", |d| d.dead);
        of_lanes("jobs_oldest_ms", "age of the oldest job that could run", |d| d.oldest_ms);
        gauge(jobs, "jobs_in_hand", "jobs in hand on this node", |j| j.stats().in_hand as f64);
        gauge(jobs, "jobs_attempts", "attempts begun by this node", |j| j.stats().begun as f64);
        gauge(jobs, "jobs_retries", "jobs this node sent round again", |j| {
            j.stats().retries as f64
        });
        gauge(jobs, "jobs_reaped", "jobs this node took from workers that died", |j| {
            j.stats().reaped as f64
        });
    }
}
