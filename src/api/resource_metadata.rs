//! `GET /.well-known/oauth-protected-resource` and `…/mcp`: who issues tokens for this server. Open.
//!
//! Both give the document of `/mcp`, the one protected resource here: clients try the path form first, then
//! the root (MCP 2025-11-25, Protected Resource Metadata Discovery).

use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use crate::error::{ApiError, Code};
use crate::http::ResourceMetadata;

/// The document, which caches may keep for an hour; 404 when no authorization server is configured.
pub async fn document(
    request: HttpRequest,
    metadata: Data<ResourceMetadata>,
) -> Result<HttpResponse, ApiError> {
    let Some(document) = metadata.document(&request) else {
        let message = "no authorization server: tokens come from `ultimate-mcp token create`";
        return Err(ApiError::new(Code::NotFound, message));
    };
    let keep = (CACHE_CONTROL, "public, max-age=3600");
    Ok(HttpResponse::Ok().insert_header(keep).json(document))
}
