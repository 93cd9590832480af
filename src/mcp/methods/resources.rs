//! `resources/list`, `resources/templates/list`, `resources/read`.

use serde::Serialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::blocks::ContentView;
use super::listing::{Hints, Page};
use crate::error::{ApiError, Code};
use crate::mcp::cursor::List;
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::input::{self, Question};
use crate::mcp::params::Params;
use crate::mcp::revision::Revision;
use crate::mcp::wire::{self, text};
use crate::mcp::{Host, ResourceEntry, TemplateEntry};

/// "Resource not found" of the revisions before 2026-07-28.
const LEGACY_NOT_FOUND: i16 = -32002;

/// The same since 2026-07-28: invalid params.
const NOT_FOUND: i16 = -32602;

/// Answers `resources/list`.
pub async fn list<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let page = Page::read(exchange, params, List::Resources)?;
    let (host, revision) = (&exchange.endpoint.host, exchange.revision);
    let resources = host.resources(&exchange.caller, &exchange.origin, page.deadline).await;
    let resources = page.entries(resources)?;
    page.answer(id, &resources, |entry| &entry.uri, |entry| View::of(entry, revision))
}

/// Answers `resources/templates/list`.
pub async fn templates<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let page = Page::read(exchange, params, List::Templates)?;
    let (host, revision) = (&exchange.endpoint.host, exchange.revision);
    let templates = host.templates(&exchange.caller, &exchange.origin, page.deadline).await;
    let templates = page.entries(templates)?;
    let view = |entry: &TemplateEntry| TemplateView::of(entry, revision);
    page.answer(id, &templates, |entry| entry.uri_template, view)
}

/// Answers `resources/read`.
pub async fn read<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let (endpoint, revision) = (&exchange.endpoint, exchange.revision);
    let Some(uri) = params.uri.and_then(text) else {
        return Err(Failure::invalid_params(revision, "uri must be a string"));
    };
    let deadline = exchange.deadline();
    let content = endpoint.host.resource(&exchange.caller, &exchange.origin, &uri, deadline).await;
    let content = match content {
        Ok(content) => content,
        Err(error) => {
            let question = || Question::new("resources/read", &uri, None);
            return input::refused(exchange, id, question, not_found(error, &uri, revision));
        }
    };
    let ttl_ms = if content.is_fixed { endpoint.options.tools_ttl_ms } else { 0 };
    let result = Contents {
        contents: [ContentView::new(&uri, &content.mime_type, &content.body)
            .with_meta(content.meta.as_ref())],
        modern: Hints::of(exchange, ttl_ms),
    };
    wire::success(id, result).map_err(|error| Failure::of(revision, error))
}

/// What is not there has a code of its own in each era (2026-07-28: -32602 with the URI in `data`).
pub fn not_found(error: ApiError, uri: &str, revision: Revision) -> ApiError {
    match error.code {
        Code::NotFound if revision.is_modern() => {
            error.with_data(json!({ "uri": uri })).with_json_rpc(NOT_FOUND)
        }
        Code::NotFound => error.with_data(json!({ "uri": uri })).with_json_rpc(LEGACY_NOT_FOUND),
        _ => error,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct View<'a> {
    uri: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'a str>,
    description: &'a str,
    mime_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
}

impl<'a> View<'a> {
    fn of(entry: &'a ResourceEntry, revision: Revision) -> Self {
        Self {
            uri: &entry.uri,
            name: &entry.name,
            title: has_titles(revision).then_some(entry.title.as_str()),
            description: &entry.description,
            mime_type: &entry.mime_type,
            size: entry.size,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TemplateView {
    uri_template: &'static str,
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<&'static str>,
    description: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mime_type: Option<&'static str>,
}

impl TemplateView {
    fn of(entry: &TemplateEntry, revision: Revision) -> Self {
        Self {
            uri_template: entry.uri_template,
            name: entry.name,
            title: has_titles(revision).then_some(entry.title),
            description: entry.description,
            mime_type: entry.mime_type,
        }
    }
}

/// `title` came with 2025-06-18.
fn has_titles(revision: Revision) -> bool {
    revision != Revision::V2025_03_26
}

#[derive(Serialize)]
struct Contents<'a> {
    contents: [ContentView<'a>; 1],
    #[serde(flatten)]
    modern: Option<Hints<'a>>,
}
