//! `GET /api/v1/artifacts/{id}`: the bytes of a file that a run left in `out/`. Its owner only, on
//! whatever node it lives.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::Path;
use serde_json::Map;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::node::Handle;
use uuid::Uuid;

use super::Authenticated;
use crate::error::{ApiError, Code};
use crate::tools::artifacts::HANDLE_KIND;

/// The content, as an opaque download: never rendered in the engine's own origin.
pub async fn download(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let Some(id) = which(&auth, &id).await? else { return elsewhere(auth, &id).await };
    auth.require_rate("artifacts/read").await?;
    let (store, owner) = (auth.state.artifacts.clone(), auth.caller.id().clone());
    let resource = format!("artifact:{id}");
    let open = |_| async move {
        let opened = tokio::task::spawn_blocking(move || store.open(&owner, id)).await;
        Ok(opened.map_err(|error| {
            ApiError::new(Code::Crashed, "reading the artifact crashed").caused_by(error)
        })??)
    };
    let kind = EventType::DataRead;
    let (_, content) = auth.on_own("artifacts/read", kind, resource, Map::new(), open).await?;
    Ok(answer(content))
}

/// Which of this node's; `None` = it is another node's. Ids of before there were nodes are this node's.
async fn which(auth: &Authenticated, id: &str) -> Result<Option<Uuid>, ApiError> {
    if let Ok(id) = Uuid::parse_str(id) {
        return Ok(Some(id));
    }
    match Handle::parse(HANDLE_KIND, id) {
        Ok(_) if auth.state.forwarder.elsewhere(id).is_some() => Ok(None),
        Ok(handle) if handle.node == auth.state.engine.nodes.own().id => Ok(Some(handle.id)),
        _ => {
            auth.require_rate("artifacts/read").await?;
            Err(ApiError::new(Code::NotFound, "no such artifact"))
        }
    }
}

/// Asks the node it lives on, which checks whose it is, counts and records. What cannot be asked there is
/// counted and recorded here.
async fn elsewhere(auth: Authenticated, id: &str) -> Result<HttpResponse, ApiError> {
    let handle = Handle::parse(HANDLE_KIND, id)
        .map_err(|error| ApiError::new(Code::NotFound, "no such artifact").caused_by(error))?;
    let (node, deadline) = (handle.node.clone(), auth.deadline());
    let fetched = auth.state.forwarder.artifact(&auth.origin, &node, &handle, deadline).await;
    match fetched {
        Ok(content) => Ok(answer(content)),
        Err(error) if error.code == Code::NodeGone => {
            auth.require_rate("artifacts/read").await?;
            Err(auth.refused("artifacts/read", error).await)
        }
        Err(error) => Err(error),
    }
}

fn answer(content: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((CONTENT_DISPOSITION, "attachment"))
        .body(content)
}
