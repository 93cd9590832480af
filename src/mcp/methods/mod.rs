//! Rung 14 and on: which methods exist in which era, and what each answers. One file per method.

mod blocks;
mod completion;
mod discover;
mod initialize;
mod listen;
mod listing;
mod ping;
mod prompts;
mod resources;
mod set_level;
mod subscribe;
mod tasks;
mod tools_call;
mod tools_list;

use actix_web::http::header::HeaderMap;
use serde_json::value::RawValue;

use super::Host;
use super::endpoint::Exchange;
use super::failure::Failure;
use super::params::Params;
use super::respond::Reply;
use super::wire::Request;

/// A request of 2026-07-28 that passed rungs 1 to 13. Dropping the future cancels the call.
pub async fn modern<H: Host>(
    exchange: Exchange<H>,
    headers: &HeaderMap,
    request: &Request<'_>,
    params: &Params<'_>,
) -> Reply {
    let id = request.id;
    let outcome = match &*request.method {
        "server/discover" => discover::answer(&exchange, id),
        "tools/list" => tools_list::answer(&exchange, id, params),
        "tools/call" => match tools_call::Call::read(exchange, id, params) {
            // With an idempotency key the client may come back for the answer.
            Ok(call) if call.is_keyed() => return call.run_detached(id).await,
            Ok(call) => return call.run().await,
            Err(failure) => Err(failure),
        },
        "subscriptions/listen" => {
            return Box::pin(listen::answer(exchange, headers, id, params)).await;
        }
        "tasks/get" | "tasks/update" | "tasks/cancel" => {
            Box::pin(tasks::answer(&exchange, request, params)).await
        }
        _ => Box::pin(offered(exchange, request, params)).await,
    };
    Reply::to_request(id, outcome)
}

/// A request within a legacy session. A call runs on when the client hangs up: a broken connection
/// cancels nothing before 2026-07-28.
pub async fn legacy<H: Host>(
    exchange: Exchange<H>,
    request: &Request<'_>,
    params: &Params<'_>,
) -> Reply {
    let id = request.id;
    if let Err(failure) = params.check_shape(exchange.revision) {
        return Reply::failure(Some(id), &failure);
    }
    let outcome = match &*request.method {
        "ping" => ping::answer(&exchange, id),
        "logging/setLevel" => set_level::answer(&exchange, id, params),
        "resources/subscribe" => subscribe::subscribe(&exchange, id, params),
        "resources/unsubscribe" => subscribe::unsubscribe(&exchange, id, params),
        "tools/list" => tools_list::answer(&exchange, id, params),
        "tools/call" => match tools_call::Call::read(exchange, id, params) {
            Ok(call) => return call.run_detached(id).await,
            Err(failure) => Err(failure),
        },
        _ => Box::pin(offered(exchange, request, params)).await,
    };
    Reply::to_request(id, outcome)
}

/// The methods beside tools, which both eras have; what is none of them is unknown.
///
/// Boxed, like each of them, so that a call of a tool does not carry room for them.
async fn offered<H: Host>(
    exchange: Exchange<H>,
    request: &Request<'_>,
    params: &Params<'_>,
) -> Result<Vec<u8>, Failure> {
    let id = request.id;
    match &*request.method {
        "prompts/list" => Box::pin(prompts::list(&exchange, id, params)).await,
        "prompts/get" => Box::pin(prompts::get(&exchange, id, params)).await,
        "completion/complete" => Box::pin(completion::answer(&exchange, id, params)).await,
        "resources/list" => Box::pin(resources::list(&exchange, id, params)).await,
        "resources/templates/list" => Box::pin(resources::templates(&exchange, id, params)).await,
        "resources/read" => Box::pin(resources::read(&exchange, id, params)).await,
        unknown => Err(Failure::unknown_method(exchange.revision, unknown)),
    }
}

/// `initialize`, which belongs to no session yet.
pub async fn initialize<H: Host>(
    exchange: Exchange<H>,
    id: &RawValue,
    params: &Params<'_>,
) -> Reply {
    initialize::answer(exchange, id, params).await
}
