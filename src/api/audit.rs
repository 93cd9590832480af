//! `GET /api/v1/audit`: the trail, newest first; `GET /api/v1/audit/export`: the trail as a file, oldest
//! first, streamed as the client reads. Administrators only.

use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use chrono::{DateTime, Utc};
use serde::Serialize;
use ultimate_mcp_actors::audit::{EventType, ExportFormat, Filter, LIMIT_MAX, Page};
use ultimate_mcp_actors::node::NodeId;

use super::Authenticated;
use crate::error::{ApiError, Problem};

/// Parameters this route takes; others are mistakes, not silence.
const KNOWN: &str = "type, user, tool, success, start, end, cursor, limit";

/// The same of an export.
const EXPORT_KNOWN: &str = "format, type, user, tool, success, start, end";

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

/// The trail as a file. The export itself is recorded before the first byte of it is sent.
pub async fn export(auth: Authenticated, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    auth.require_admin("audit/export").await?;
    let (filter, format) = export_of(request.query_string())?;
    let details = [
        ("format".to_owned(), format.extension().into()),
        ("query".to_owned(), request.query_string().chars().take(512).collect::<String>().into()),
    ];
    let audit = &auth.state.engine.audit;
    let (kind, resource) = (EventType::DataRead, "audit".to_owned());
    let begin = |_| async { Ok(audit.export(filter, format)?) };
    let details = details.into_iter().collect();
    let export = auth.on_own("audit/export", kind, resource, details, begin).await?;
    // An error in the midst of it breaks the connection off: half an export never looks like a whole.
    let pieces = futures_util::stream::unfold(export, |mut export| async move {
        let piece = export.next().await?.map(Bytes::from);
        if let Err(error) = &piece {
            tracing::error!(error = error as &dyn std::error::Error, "an export was cut short");
        }
        Some((piece.map_err(|error| std::io::Error::other(error.to_string())), export))
    });
    let name = format!("attachment; filename=\"audit.{}\"", format.extension());
    Ok(HttpResponse::Ok()
        .content_type(format.media_type())
        .insert_header(("Content-Disposition", name))
        .streaming(pieces))
}

/// Filter and format of an export: a page's parameters without `cursor` and `limit`.
fn export_of(query: &str) -> Result<(Filter, ExportFormat), ApiError> {
    let mut format = ExportFormat::JsonLines;
    let filter = read(query, |filter, name, value| match name {
        "format" => {
            format = ExportFormat::parse(&value).ok_or("must be jsonl or csv".to_owned())?;
            Ok(())
        }
        "cursor" | "limit" => Err(format!("unknown parameter; known are {EXPORT_KNOWN}")),
        _ => set(filter, name, value, EXPORT_KNOWN),
    })?;
    Ok((filter, format))
}

/// Reads the query string of a page.
fn filter(query: &str) -> Result<Filter, ApiError> {
    read(query, |filter, name, value| set(filter, name, value, KNOWN))
}

/// Reads a query string; every mistake is reported.
fn read(
    query: &str,
    mut set: impl FnMut(&mut Filter, &str, String) -> Result<(), String>,
) -> Result<Filter, ApiError> {
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

fn set(filter: &mut Filter, name: &str, value: String, known: &str) -> Result<(), String> {
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
        _ => return Err(format!("unknown parameter; known are {known}")),
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
    fn an_export_takes_a_format_and_no_page() {
        let (filter, format) = export_of("format=csv&user=ada").unwrap();
        assert_eq!((filter.user.as_deref(), format), (Some("ada"), ExportFormat::Csv));
        assert_eq!(export_of("").unwrap().1, ExportFormat::JsonLines);
        let error = export_of("format=xml&limit=1&cursor=x&colour=red").unwrap_err();
        let paths: Vec<&str> = error.problems.iter().map(|p| p.path.as_str()).collect();
        assert_eq!(paths, ["format", "limit", "cursor", "colour"]);
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
