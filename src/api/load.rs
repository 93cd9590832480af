//! `GET /api/v1/limits` and `GET /api/v1/queues`: what may be used and what is; what waits, and where.
//! Administrators only. Both read counters and ask nobody.

use actix_web::HttpResponse;
use serde_json::{Value, json};
use ultimate_mcp_actors::jobs::Lane;

use super::Authenticated;
use crate::error::ApiError;
use crate::state::AppState;

/// Limits in force on this node, each beside its present use.
pub async fn limits(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("limits/read").await?;
    let state = &auth.state;
    let (engine, ceilings) = (&state.engine, &state.ceilings);
    let roles: serde_json::Map<String, Value> = engine
        .authorization
        .snapshot()
        .policy()
        .roles
        .iter()
        .map(|(name, role)| (name.clone(), json!(role.limits)))
        .collect();
    let (runs, open) = (engine.execution.stats(), engine.sandboxes.stats().open);
    let sandboxes = engine.sandboxes.options();
    let jobs = engine.jobs.options();
    let waiting: u64 = engine.jobs.stats().depths.iter().map(|d| d.queued + d.running).sum();
    Ok(HttpResponse::Ok().json(json!({
        "calls": state.admission.usage(),
        "runs": {
            "running": runs.running,
            "running_max": ceilings.runs_max,
            "running_per_caller_max": ceilings.runs_per_caller_max,
            "queued": runs.queued,
            "queued_max": ceilings.queue_max,
            "queued_per_caller_max": ceilings.queued_per_caller_max,
        },
        "sandboxes": {
            "open": open,
            "open_max": sandboxes.total_max,
            "open_per_caller_max": sandboxes.per_caller_max,
        },
        "sessions": {
            "open_max": ceilings.sessions_max,
            "open_per_caller_max": ceilings.sessions_per_caller_max,
        },
        "jobs": {
            "held": waiting,
            "held_max": jobs.total_max,
            "held_per_caller_max": jobs.per_caller_max,
            "workers": jobs.workers,
        },
        "roles": roles,
    })))
}

/// Everything that can fill up: mailboxes, runs, jobs, the audit and its copy.
pub async fn queues(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("queues/read").await?;
    let engine = &auth.state.engine;
    let tree = engine.tree.snapshot();
    let mailboxes: Vec<Value> = tree
        .walk()
        .into_iter()
        .filter_map(|node| {
            let mailbox = node.mailbox?;
            let fill = mailbox.in_flight as f64 / mailbox.capacity.max(1) as f64;
            Some(json!({
                "name": node.name,
                "in_flight": mailbox.in_flight,
                "capacity": mailbox.capacity,
                "fill": fill,
                "lost": mailbox.lost,
            }))
        })
        .collect();
    let runs = engine.execution.stats();
    Ok(HttpResponse::Ok().json(json!({
        "mailboxes": mailboxes,
        "runs": {
            "running": runs.running,
            "queued": runs.queued,
            "queued_max": auth.state.ceilings.queue_max,
            "failed": runs.failed,
            "finished": runs.finished,
        },
        "jobs": jobs(&auth.state),
        "audit": engine.audit.stats(),
        "audit_shipping": engine.shipping.as_ref().map(|shipping| shipping.status()),
    })))
}

fn jobs(state: &AppState) -> Value {
    let stats = state.engine.jobs.stats();
    let lanes: Vec<Value> = Lane::ALL
        .into_iter()
        .zip(&stats.depths)
        .map(|(lane, depth)| {
            json!({
                "lane": lane.as_str(),
                "queued": depth.queued,
                "running": depth.running,
                "oldest_ms": depth.oldest_ms,
                "dead_letters": depth.dead,
            })
        })
        .collect();
    let dead_letters: u64 = stats.depths.iter().map(|depth| depth.dead).sum();
    json!({
        "lanes": lanes,
        "in_hand": stats.in_hand,
        "dead_letters": dead_letters,
        "store_up": stats.store_up,
    })
}
