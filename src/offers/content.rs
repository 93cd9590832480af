//! `resources/read`: from what a URI names to its content.

use std::borrow::Cow;

use chrono::{Days, NaiveTime};
use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use ultimate_mcp_actors::audit::Filter;
use uuid::Uuid;

use super::catalogue::Document;
use super::reading::{Read, Reading};
use super::target::Target;
use super::{Ask, artifacts, junit, pages};
use crate::error::{ApiError, Code};
use crate::mcp::{Body, Content};

/// The method, as in the audit and for the rate.
const ACTION: &str = "resources/read";
/// Most events of a day.
const EVENTS_MAX: usize = 200;
/// Most relationships of a node.
const NEIGHBOURS_MAX: usize = 200;
/// A node with what is around it.
const NEIGHBOURHOOD: &str =
    "MATCH (n:Entity {key: $key}) OPTIONAL MATCH (n)-[r]-(m) RETURN n, r, m";

/// The content of the resource, for this caller.
///
/// # Errors
/// `NotFound`, the same for what is not there and what is somebody else's; `Forbidden`; a rate; what keeps
/// the content from being read.
pub async fn read(ask: Ask<'_>, uri: &str) -> Result<Content, ApiError> {
    let target = Target::parse(uri);
    let permission = target.as_ref().map(Target::permission);
    let work = match target {
        // Tools can do these; permission, rate and audit are the tools' own.
        Some(Target::Node(key)) => return neighbourhood(&ask, &key).await,
        Some(Target::Run(id)) => return Ok(json_text(&job(&ask, id).await?)),
        Some(Target::TestReport(id)) => return test_report(&ask, id).await,
        None => async { Err(missing()) }.boxed_local(),
        Some(Target::Document(document)) => async move { done(fixed(document)) }.boxed_local(),
        Some(Target::Page(kind)) => async move { done(pages::page(kind)) }.boxed_local(),
        Some(Target::Api) => {
            async { done(json_text(&crate::api::openapi::build(ask.state, ask.caller))) }
                .boxed_local()
        }
        Some(Target::GraphSchema) => graph_schema(&ask).boxed_local(),
        Some(Target::Artifact(handle)) => {
            let ask = &ask;
            async move { artifacts::read(ask, &handle).await }.boxed_local()
        }
        Some(Target::Audit(date)) => day(&ask, date).boxed_local(),
    };
    ask.read(Reading { action: ACTION, permission, resource: uri }, work).await
}

fn fixed(document: &'static Document) -> Content {
    let body = Body::Text(Cow::Borrowed(document.text));
    Content { mime_type: Cow::Borrowed("text/markdown"), body, is_fixed: true, meta: None }
}

fn done(content: Content) -> Result<Read<Content>, ApiError> {
    Ok((content, Map::new()))
}

fn missing() -> ApiError {
    ApiError::new(Code::NotFound, "no such resource, or it is not yours")
}

fn json_text(value: &Value) -> Content {
    let body = Body::Text(value.to_string().into());
    Content { mime_type: Cow::Borrowed("application/json"), body, is_fixed: false, meta: None }
}

/// Size and schema of the graph, without what concerns its file.
async fn graph_schema(ask: &Ask<'_>) -> Result<Read<Content>, ApiError> {
    let stats = ask.state.engine.graph.stats(ask.deadline).await?;
    done(json_text(&json!({
        "nodes": stats.nodes,
        "relationships": stats.relationships,
        "labels": stats.labels,
        "relationship_types": stats.relationship_types,
        "property_keys": stats.property_keys,
        "indexes": stats.indexes,
        "identifiers": "^[A-Za-z_][A-Za-z0-9_:-]{0,63}$",
        "every_node_has": { "label": "Entity", "unique_property": "key" },
    })))
}

/// The newest events of a day in UTC.
async fn day(ask: &Ask<'_>, date: chrono::NaiveDate) -> Result<Read<Content>, ApiError> {
    let start = date.and_time(NaiveTime::MIN).and_utc();
    let end = start.checked_add_days(Days::new(1));
    let filter = Filter { start: Some(start), end, limit: EVENTS_MAX, ..Filter::default() };
    let page = ask.state.engine.audit.query(filter, ask.deadline).await?;
    let node = &ask.state.engine.nodes.own().id;
    done(json_text(&json!({ "node": node, "date": date, "page": page })))
}

/// A call of `graph_query`: permission, rate, cache and audit are its own.
async fn neighbourhood(ask: &Ask<'_>, key: &str) -> Result<Content, ApiError> {
    let call = json!({
        "cypher": NEIGHBOURHOOD, "parameters": { "key": key }, "row_limit": NEIGHBOURS_MAX,
    });
    let answer: Value = ask.tool("graph_query", &call).await?;
    let rows = answer["rows"].as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(first) = rows.first() else { return Err(missing()) };
    let neighbours: Vec<Value> = rows
        .iter()
        .filter(|row| !row["r"].is_null())
        .map(|row| json!({ "relationship": row["r"], "node": row["m"] }))
        .collect();
    let truncated = &answer["truncated"];
    Ok(json_text(&json!({
        "node": first["n"], "neighbours": neighbours, "truncated": truncated,
    })))
}

/// A call of `job_result`, which shows callers their own jobs only.
async fn job(ask: &Ask<'_>, id: Uuid) -> Result<Value, ApiError> {
    ask.tool("job_result", &json!({ "job_id": id })).await
}

async fn test_report(ask: &Ask<'_>, id: Uuid) -> Result<Content, ApiError> {
    let job = job(ask, id).await?;
    if job["tool"] != "run_tests" || job["result"].is_null() {
        let message = "there is no report: the job runs no tests, or has not completed";
        return Err(ApiError::new(Code::NotFound, message));
    }
    let body = Body::Text(junit::report(&job["result"]).into());
    Ok(Content { mime_type: Cow::Borrowed("application/xml"), body, is_fixed: false, meta: None })
}
