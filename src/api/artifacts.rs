//! `GET /api/v1/artifacts/{id}`: the bytes of a file that a run left in `out/`. Its owner only.

use actix_web::HttpResponse;
use actix_web::http::header::CONTENT_DISPOSITION;
use actix_web::web::Path;

use super::Authenticated;
use crate::error::ApiError;

/// The content, as an opaque download: never rendered in the engine's own origin.
pub async fn download(auth: Authenticated, id: Path<String>) -> Result<HttpResponse, ApiError> {
    let content = auth.state.artifacts.open(auth.caller.id(), &id).await?;
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header((CONTENT_DISPOSITION, "attachment"))
        .body(content))
}
