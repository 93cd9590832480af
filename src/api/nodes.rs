//! `GET /api/v1/nodes`: which nodes there are, and whether they agree. Administrators only.

use std::collections::BTreeSet;

use actix_web::HttpResponse;
use serde_json::{Value, json};
use ultimate_mcp_actors::node::NodeStatus;

use super::Authenticated;
use crate::error::ApiError;

/// Each node with its versions; `differ` says that nodes in service run other settings or programs.
pub async fn list(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("nodes/list").await?;
    let nodes = &auth.state.engine.nodes;
    let (list, own) = (nodes.list(), &nodes.own().id);
    let mut versions = BTreeSet::new();
    let rows: Vec<Value> = list
        .nodes
        .iter()
        .map(|node| {
            let status = nodes.status(node);
            if status != NodeStatus::Gone {
                versions.insert((&node.words.config_version, &node.words.version));
            }
            json!({
                "id": node.id,
                "this": node.id == *own,
                "status": match status {
                    NodeStatus::Up => "up",
                    NodeStatus::Leaving => "leaving",
                    NodeStatus::Gone => "gone",
                },
                "url": node.words.url,
                "version": node.words.version,
                "config_version": node.words.config_version,
                "started_at": node.words.started_at,
                "seen_ms_ago": node.age_ms,
            })
        })
        .collect();
    Ok(HttpResponse::Ok().json(json!({
        "node": own,
        "shared": nodes.is_shared(),
        "differ": versions.len() > 1,
        "id_taken": list.id_taken,
        "stale": list.error,
        "sharing": auth.state.engine.authorization.sharing(),
        "nodes": rows,
    })))
}
