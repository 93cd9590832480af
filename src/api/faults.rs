//! `/api/v1/faults`: fault points of a build with the feature `faults`; absent from any other. Administrators
//! only, audited.

use actix_web::HttpResponse;
use actix_web::web::Path;
use garde::Validate;
use serde::Deserialize;
use serde_json::{Map, json};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::faults;

use super::authenticated::parse;
use super::{Authenticated, JsonBody};
use crate::error::{ApiError, Problem};

/// How to fail.
#[derive(Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct ArmBody {
    /// In the words of `faults.rs`, e.g. `1*return(crash)`.
    #[garde(length(bytes, min = 1, max = 256))]
    action: String,
}

/// Every point, and how those are armed that are.
pub async fn list(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("faults/list").await?;
    let armed: Map<_, _> = faults::armed().into_iter().map(|(p, a)| (p, json!(a))).collect();
    let points = faults::POINTS.iter().map(
        |(point, place)| json!({ "point": point, "place": place, "action": armed.get(*point) }),
    );
    Ok(HttpResponse::Ok().json(json!({ "points": points.collect::<Vec<_>>() })))
}

/// Arms one point; what it does to this very answer is part of the test.
pub async fn arm(
    auth: Authenticated,
    point: Path<String>,
    body: JsonBody,
) -> Result<HttpResponse, ApiError> {
    auth.require_admin("faults/arm").await?;
    let ArmBody { action } = parse(&body.0)?;
    let details = [("action".to_owned(), json!(action))].into_iter().collect();
    let (name, armed) = (point.clone(), action.clone());
    let work = |_| async move {
        faults::arm(&name, &armed).map_err(|problem| {
            ApiError::invalid_arguments(vec![Problem { path: "action".to_owned(), problem }])
        })
    };
    let (kind, resource) = (EventType::ConfigChange, format!("fault:{point}"));
    auth.on_own("faults/arm", kind, resource, details, work).await?;
    Ok(HttpResponse::Ok().json(json!({ "point": *point, "action": action })))
}

/// Disarms every point.
pub async fn disarm(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_admin("faults/disarm").await?;
    let work = |_| async {
        faults::disarm_all();
        Ok(())
    };
    let (kind, resource) = (EventType::ConfigChange, "fault:*".to_owned());
    auth.on_own("faults/disarm", kind, resource, Map::new(), work).await?;
    Ok(HttpResponse::Ok().json(json!({ "armed": 0 })))
}
