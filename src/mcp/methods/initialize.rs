//! `initialize` (legacy): negotiates a revision and opens a session.

use serde::Serialize;
use serde_json::value::RawValue;

use super::discover::Capabilities;
use crate::error::{ApiError, Code};
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::input::ClientCan;
use crate::mcp::params::Params;
use crate::mcp::respond::Reply;
use crate::mcp::revision::Revision;
use crate::mcp::wire::{self, is_object, text};
use crate::mcp::{Host, NewSession};

/// Most bytes of `capabilities` or `clientInfo`: they are kept as long as the session.
const KEPT_BYTES_MAX: usize = 16 * 1024;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Initialized<'a> {
    protocol_version: &'static str,
    capabilities: Capabilities,
    server_info: &'a RawValue,
    instructions: &'a str,
}

pub async fn answer<H: Host>(exchange: Exchange<H>, id: &RawValue, params: &Params<'_>) -> Reply {
    let new = match read(params) {
        Ok(new) => new,
        Err(failure) => return Reply::failure(Some(id), &failure),
    };
    let endpoint = &exchange.endpoint;
    // Tasks came with 2026-07-28.
    let can = ClientCan { tasks: false, ..ClientCan::read(Some(new.client_capabilities)) };
    let revision = new.revision;
    let session = match endpoint.host.create_session(&exchange.caller, new).await {
        Ok(session) => session,
        Err(error) => return Reply::failure(Some(id), &Failure::http(error)),
    };
    if can != ClientCan::default() {
        endpoint.live.set_can(&session, can);
    }
    let server_info = match revision {
        Revision::V2025_03_26 => &endpoint.server_info_plain,
        _ => &endpoint.server_info,
    };
    let result = Initialized {
        protocol_version: revision.as_str(),
        capabilities: Capabilities::new(revision),
        server_info,
        instructions: &endpoint.identity.instructions,
    };
    let outcome = wire::success(id, result).map_err(|error| Failure::of(revision, error));
    Reply::to_request(id, outcome).with_session(session)
}

/// The session the client asks for: its revision if it has sessions and we speak it, else our newest.
fn read<'a>(params: &Params<'a>) -> Result<NewSession<'a>, Failure> {
    params.check_shape(Revision::V2026_07_28)?;
    let asked = params.protocol_version.and_then(text);
    let object = |raw: Option<&'a RawValue>| raw.filter(|raw| is_object(raw));
    let (capabilities, info) = (object(params.capabilities), object(params.client_info));
    let (Some(asked), Some(client_capabilities), Some(client_info)) = (asked, capabilities, info)
    else {
        return Err(invalid(
            "initialize needs protocolVersion (a string), capabilities and clientInfo (objects)",
        ));
    };
    let longest = client_capabilities.get().len().max(client_info.get().len());
    if longest > KEPT_BYTES_MAX {
        return Err(invalid("capabilities and clientInfo must have at most 16384 bytes each"));
    }
    let revision = Revision::parse_legacy(&asked).unwrap_or(Revision::LATEST_LEGACY);
    Ok(NewSession { revision, client_capabilities, client_info })
}

fn invalid(message: &str) -> Failure {
    Failure::bad_request(ApiError::new(Code::InvalidArguments, message))
}
