//! `GET /api/v1/supervision`: the tree of actors as it is now. Administrators only.

use actix_web::HttpResponse;

use super::Authenticated;
use crate::error::ApiError;

/// State, restarts, mailbox, in flight and last failure of every actor.
pub async fn tree(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("supervision/read").await?;
    Ok(HttpResponse::Ok().json(auth.state.engine.tree.snapshot()))
}
