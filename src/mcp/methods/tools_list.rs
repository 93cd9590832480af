//! `tools/list`: the tools this caller may call, in pages. Depends on the token, hence privately
//! cacheable only.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::mcp::Host;
use crate::mcp::cursor::{self, List};
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::params::Params;
use crate::mcp::tool_list::Page;
use crate::mcp::wire::{self, text};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    tools: &'a Page<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<&'a str>,
    #[serde(flatten)]
    modern: Option<Modern<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Modern<'a> {
    result_type: &'static str,
    ttl_ms: u64,
    cache_scope: &'static str,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

pub fn answer<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let (endpoint, revision) = (&exchange.endpoint, exchange.revision);
    let after = match params.cursor {
        None => None,
        Some(cursor) => {
            let after = text(cursor).and_then(|cursor| cursor::parse(List::Tools, &cursor));
            Some(after.ok_or_else(|| {
                Failure::invalid_params(revision, "cursor must be a nextCursor of tools/list")
            })?)
        }
    };
    let tools = endpoint.host.tools(&exchange.caller);
    let page = tools.page(after.as_deref(), revision, endpoint.options.page_entries_max);
    let modern = revision.is_modern().then(|| Modern {
        result_type: "complete",
        ttl_ms: endpoint.options.tools_ttl_ms,
        cache_scope: "private",
        meta: &endpoint.result_meta,
    });
    let result = Listed { tools: &page, next_cursor: page.next.as_deref(), modern };
    wire::success(id, result).map_err(|error| Failure::of(revision, error))
}
