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
    #[serde(skip_serializing_if = "Option::is_none")]
    extensions: Option<Extensions>,
    /// Log messages of running calls.
    logging: Nothing,
    prompts: Listed,
    resources: Watched,
    tools: Listed,
}

/// Of which changes `subscriptions/listen` and the streams of sessions can tell.
pub struct Listenable {
    pub tools: bool,
    pub prompts: bool,
    pub resources: bool,
}

/// The tools of a caller change with its roles, prompts with the operator's folder. Which resources there
/// are is not told, only changes of one ([`Watched`]).
pub const LISTENABLE: Listenable = Listenable { tools: true, prompts: true, resources: false };

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    list_changed: bool,
}

/// Changes of single resources can be subscribed to.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Watched {
    subscribe: bool,
    list_changed: bool,
}

/// `{}`: the capability without its options.
#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
struct Extensions {
    #[serde(rename = "io.modelcontextprotocol/tasks")]
    tasks: Nothing,
    /// Pages that show results.
    #[serde(rename = "io.modelcontextprotocol/ui")]
    ui: Nothing,
}

impl Capabilities {
    /// The capabilities: the same in every era, and the extensions of 2026-07-28.
    pub fn new(revision: Revision) -> Self {
        Self {
            completions: Nothing {},
            extensions: revision
                .is_modern()
                .then_some(Extensions { tasks: Nothing {}, ui: Nothing {} }),
            logging: Nothing {},
            prompts: Listed { list_changed: LISTENABLE.prompts },
            resources: Watched { subscribe: true, list_changed: LISTENABLE.resources },
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
        capabilities: Capabilities::new(Revision::V2026_07_28),
        instructions: &endpoint.identity.instructions,
        ttl_ms: endpoint.options.discover_ttl_ms,
        cache_scope: "public",
        meta: &endpoint.result_meta,
    };
    wire::success(id, result).map_err(|error| Failure::of(exchange.revision, error))
}
