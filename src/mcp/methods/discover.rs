//! `server/discover` (2026-07-28): what this server speaks and can do. The same for everybody, hence
//! publicly cacheable.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::mcp::Host;
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::revision::Revision;
use crate::mcp::wire;

/// What the server can do; only what is really there.
#[derive(Serialize)]
pub struct Capabilities {
    completions: Nothing,
    /// Log messages of running calls.
    logging: Nothing,
    prompts: Nothing,
    resources: Nothing,
    tools: Listed,
}

/// Of which changes `subscriptions/listen` and the streams of sessions can tell.
pub struct Listenable {
    pub tools: bool,
    pub prompts: bool,
    pub resources: bool,
    pub resource_updates: bool,
}

/// The tools of a caller change with its roles; nothing else that changes is served yet.
pub const LISTENABLE: Listenable =
    Listenable { tools: true, prompts: false, resources: false, resource_updates: false };

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    list_changed: bool,
}

/// `{}`: the capability without its options.
#[derive(Serialize)]
struct Nothing {}

impl Capabilities {
    /// The capabilities, the same in every era.
    pub fn new() -> Self {
        Self {
            completions: Nothing {},
            logging: Nothing {},
            prompts: Nothing {},
            resources: Nothing {},
            tools: Listed { list_changed: LISTENABLE.tools },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Discovery<'a> {
    result_type: &'static str,
    supported_versions: [&'static str; 4],
    capabilities: Capabilities,
    instructions: &'a str,
    ttl_ms: u64,
    cache_scope: &'static str,
    #[serde(rename = "_meta")]
    meta: &'a RawValue,
}

pub fn answer<H: Host>(exchange: &Exchange<H>, id: &RawValue) -> Result<Vec<u8>, Failure> {
    let endpoint = &exchange.endpoint;
    let result = Discovery {
        result_type: "complete",
        supported_versions: Revision::ALL.map(Revision::as_str),
        capabilities: Capabilities::new(),
        instructions: &endpoint.identity.instructions,
        ttl_ms: endpoint.options.discover_ttl_ms,
        cache_scope: "public",
        meta: &endpoint.result_meta,
    };
    wire::success(id, result).map_err(|error| Failure::of(exchange.revision, error))
}
