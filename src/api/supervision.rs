//! `GET /api/v1/supervision`: the tree of actors as it is now. `POST …/{name}/restart` restarts one of
//! them, `POST …/drain` makes this node look away from new work. Administrators only; every order is
//! audited.

use actix_web::HttpResponse;
use actix_web::web::Path;
use garde::Validate;
use serde::Deserialize;
use serde_json::{Map, json};
use ultimate_mcp_actors::audit::EventType;

use super::authenticated::parse;
use super::{Authenticated, JsonBody, NAME_BYTES_MAX};
use crate::error::{ApiError, Code};

/// Between the names of a path in the tree; no name contains it.
const LEVEL: char = '.';

/// Which node to drain.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct DrainBody {
    /// Its id, as `/ready` and `/api/v1/nodes` show it: behind a load balancer nobody else knows which
    /// node a request reaches.
    #[garde(length(bytes, min = 1, max = NAME_BYTES_MAX))]
    node: String,
}

/// State, restarts, mailbox, in flight and last failure of every actor.
pub async fn tree(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("supervision/read").await?;
    Ok(HttpResponse::Ok().json(auth.state.engine.tree.snapshot()))
}

/// Restarts a child now. Its queue stays; callers of what it has in hand hear `crashed`.
pub async fn restart(auth: Authenticated, name: Path<String>) -> Result<HttpResponse, ApiError> {
    let action = "supervision/restart";
    auth.require_admin(action).await?;
    let name: String = name.chars().take(NAME_BYTES_MAX).collect();
    let path = name.split(LEVEL).map(str::to_owned).collect();
    let engine = &auth.state.engine;
    let work = |_| async { Ok(engine.restart(path).await?) };
    let resource = format!("actor:{name}");
    auth.on_own(action, EventType::ConfigChange, resource, Map::new(), work).await?;
    let tree = engine.tree.snapshot();
    let last = name.rsplit(LEVEL).next().unwrap_or(&name);
    Ok(HttpResponse::Ok().json(json!({ "name": name, "now": tree.find(last) })))
}

/// Says goodbye as SIGTERM does first: `/ready` answers 503 and other nodes send nothing here any more.
/// What still comes is served, and the process stays. Only a restart of the process undoes it.
pub async fn drain(auth: Authenticated, body: JsonBody) -> Result<HttpResponse, ApiError> {
    let action = "supervision/drain";
    auth.require_admin(action).await?;
    let DrainBody { node } = parse(&body.0)?;
    let state = &auth.state;
    let here = state.engine.nodes.own().id.to_string();
    let work = |_| async {
        if node != here {
            let message = format!("this is node {here}, not {node:?}; ask that node");
            return Err(ApiError::new(Code::Conflict, message));
        }
        state.leave();
        Ok(())
    };
    let resource = format!("node:{here}");
    auth.on_own(action, EventType::ConfigChange, resource, Map::new(), work).await?;
    let engine = &state.engine;
    Ok(HttpResponse::Ok().json(json!({
        "node": here,
        "status": "draining",
        "runs": engine.execution.stats().running,
        "jobs": engine.jobs.stats().in_hand,
        "sandboxes": engine.sandboxes.stats().open,
    })))
}
