//! `ping` (legacy): an empty result.

use serde_json::value::RawValue;

use crate::mcp::Host;
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::wire;

pub fn answer<H: Host>(exchange: &Exchange<H>, id: &RawValue) -> Result<Vec<u8>, Failure> {
    wire::success(id, serde_json::Map::new()).map_err(|error| Failure::of(exchange.revision, error))
}
