//! `logging/setLevel` (legacy): from now on calls of the session are accompanied by their log messages.

use serde_json::value::RawValue;

use crate::mcp::Host;
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::params::Params;
use crate::mcp::wire::{self, text};
use crate::tools::events::LogLevel;

/// # Errors
/// -32602 for what is no level.
pub fn answer<H: Host>(
    exchange: &Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let revision = exchange.revision;
    let level = params.level.and_then(text).and_then(|name| LogLevel::parse(&name));
    let Some(level) = level else {
        let levels = LogLevel::ALL.map(LogLevel::as_str).join(", ");
        return Err(Failure::invalid_params(revision, format!("level must be one of {levels}")));
    };
    if let Some(session) = &exchange.origin.session_id {
        exchange.endpoint.live.set_level(session, level);
    }
    let nothing = serde_json::Map::new();
    wire::success(id, nothing).map_err(|error| Failure::of(revision, error))
}
