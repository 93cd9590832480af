//! `GET /api/v1/artifacts/{id}`: the bytes of a file that a run left in `out/`. Its owner only.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::Path;
use serde_json::Map;
use ultimate_mcp_actors::audit::EventType;

use super::Authenticated;
use crate::error::{ApiError, Code};

/// The content, as an opaque download: never rendered in the engine's own origin.
pub async fn download(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    auth.require_rate("artifacts/read").await?;
    let Ok(id) = uuid::Uuid::parse_str(&id) else {
        return Err(ApiError::new(Code::NotFound, "no such artifact"));
    };
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
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((CONTENT_DISPOSITION, "attachment"))
        .body(content))
}
