//! `GET /api/v1/audit`: the trail, newest first. Administrators only.

use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::Serialize;
use ultimate_mcp_actors::audit::{Filter, LIMIT_MAX, Page};
use ultimate_mcp_actors::node::NodeId;

use super::Authenticated;
use crate::error::{ApiError, Problem};

/// Parameters this route takes; others are mistakes, not silence.
const KNOWN: &str = "type, user, tool, success, start, end, cursor, limit";

/// One page of events.
pub async fn query(auth: Authenticated, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    auth.require_admin("audit/read").await?;
    let filter = filter(request.query_string())?;
    let page = auth.state.engine.audit.query(filter, auth.deadline()).await?;
    let node = &auth.state.engine.nodes.own().id;
    Ok(HttpResponse::Ok().json(OfNode { node, page }))
}

/// A page, and the node whose trail it is: each node has its own.
#[derive(Serialize)]
struct OfNode<'a> {
    node: &'a NodeId,
    #[serde(flatten)]
    page: Page,
}

/// Reads the query string; every mistake is reported.
fn filter(query: &str) -> Result<Filter, ApiError> {
    let mut filter = Filter::default();
    let mut problems = Vec::new();
    let pairs = actix_web::web::Query::<Vec<(String, String)>>::from_query(query)
        .map_err(|error| ApiError::invalid_arguments(vec![problem("query", error.to_string())]))?;
    for (name, value) in pairs.into_inner() {
        if let Err(what) = set(&mut filter, &name, value) {
            problems.push(problem(&name, what));
        }
    }
    match problems.is_empty() {
        true => Ok(filter),
        false => Err(ApiError::invalid_arguments(problems)),
    }
}

fn set(filter: &mut Filter, name: &str, value: String) -> Result<(), String> {
    match name {
        "type" => filter.event_type = Some(Filter::parse_type(&value).map_err(|e| e.to_string())?),
        "user" => filter.user = Some(value),
        "tool" => filter.tool = Some(value),
        "success" => {
            filter.success = Some(value.parse().map_err(|_| "must be true or false".to_owned())?);
        }
        "start" => filter.start = Some(time(&value)?),
        "end" => filter.end = Some(time(&value)?),
        "cursor" => filter.cursor = Some(value),
        "limit" => {
            let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
            filter.limit = limit.ok_or(format!("must be a number from 1 to {LIMIT_MAX}"))?;
        }
        _ => return Err(format!("unknown parameter; known are {KNOWN}")),
    }
    Ok(())
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed.map(|t| t.to_utc()).map_err(|_| {
        "must be a time like 2026-11-22T18:00:00Z (RFC 3339; write + as %2B)".to_owned()
    })
}

fn problem(path: &str, problem: impl Into<String>) -> Problem {
    Problem { path: path.chars().take(64).collect(), problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_in_the_query_is_named() {
        let error =
            filter("type=nope&limit=1001&start=yesterday&colour=red&success=maybe").unwrap_err();
        let paths: Vec<&str> = error.problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["type", "limit", "start", "colour", "success"]);
    }

    #[test]
    fn a_full_query_is_understood() {
        let read = filter(
            "type=code_execution&user=ada%40example.org&tool=execute_code&success=true&start=2026-01-01T00:00:00Z&end=2026-12-31T00:00:00%2B01:00&limit=1000",
        );
        let read = read.unwrap();
        assert_eq!((read.user.as_deref(), read.limit), (Some("ada@example.org"), 1000));
        assert!(read.start < read.end);
    }
}
