//! `/mcp`: the validation ladder, rung by rung (mcp 2026-07-28; rung 1, Host and Origin, is the edge's).
//!
//! The order matters: clients tell a modern server from a legacy one by the *first* thing that is
//! refused, and nothing is read of a request that failed an earlier rung.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header::HeaderMap;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};
use ultimate_mcp_actors::deadline::Deadline;

use super::era::{self, Era};
use super::failure::Failure;
use super::hub::Hub;
use super::input::{self, seal::Sealer};
use super::live::LiveSessions;
use super::meta::{self, Meta};
use super::notify::Listening;
use super::options::McpOptions;
use super::params::Params;
use super::respond::Reply;
use super::revision::Revision;
use super::wire::{Message, Notification, Request, Response};
use super::{Host, batch, header_params, headers, media, methods, session, session_stream};
use crate::http::body::{self, BodyLimits};
use crate::origin::{Origin, Transport};

/// The path of the endpoint.
pub const PATH: &str = "/mcp";

/// Who we say we are.
#[derive(Clone, Debug)]
pub struct Identity {
    /// `serverInfo.name`.
    pub name: String,
    /// `serverInfo.title`, for people (from 2025-06-18).
    pub title: String,
    /// `serverInfo.version`.
    pub version: String,
    /// How a model should use this server.
    pub instructions: String,
}

/// The endpoint: a host, its limits and its name.
pub struct Endpoint<H> {
    pub(super) host: Arc<H>,
    pub(super) options: McpOptions,
    pub(super) body_limits: BodyLimits,
    pub(super) identity: Identity,
    /// Where changes are heard of.
    pub(super) hub: Arc<Hub>,
    /// Seals what an asker wants to remember.
    pub(super) sealer: Sealer,
    /// Legacy sessions that are in use here.
    pub(super) live: Arc<LiveSessions>,
    /// `serverInfo` of 2025-03-26, without a title.
    pub(super) server_info_plain: Box<RawValue>,
    /// `serverInfo` of later revisions.
    pub(super) server_info: Box<RawValue>,
    /// `_meta` of every modern result.
    pub(super) result_meta: Box<RawValue>,
}

impl<H: Host> Endpoint<H> {
    /// An endpoint in front of this host.
    ///
    /// # Errors
    /// The identity cannot be written as JSON, which no text does.
    pub fn new(
        host: Arc<H>,
        options: McpOptions,
        body_limits: BodyLimits,
        identity: Identity,
        hub: Arc<Hub>,
        sealer: Sealer,
    ) -> Result<Self, serde_json::Error> {
        let plain = json!({ "name": identity.name, "version": identity.version });
        let mut full = plain.clone();
        full["title"] = identity.title.as_str().into();
        let meta = json!({ "io.modelcontextprotocol/serverInfo": full });
        Ok(Self {
            host,
            options,
            body_limits,
            identity,
            hub,
            sealer,
            live: Arc::default(),
            server_info_plain: to_raw_value(&plain)?,
            server_info: to_raw_value(&full)?,
            result_meta: to_raw_value(&meta)?,
        })
    }

    /// Registers the endpoint at `/mcp`, for every HTTP method.
    pub fn routes(endpoint: Data<Self>) -> impl FnOnce(&mut ServiceConfig) {
        move |config| {
            config.service(web::resource(PATH).app_data(endpoint).default_service(web::to(
                |request: HttpRequest, payload: Payload, endpoint: Data<Self>| async move {
                    HttpResponse::from(serve(endpoint, request, payload).await)
                },
            )));
        }
    }
}

/// One request on its way: who sent it, from where, in which revision.
pub(super) struct Exchange<H: Host> {
    pub(super) endpoint: Data<Endpoint<H>>,
    pub(super) caller: H::Caller,
    pub(super) origin: Origin,
    pub(super) revision: Revision,
    /// What the sender wants to hear before the answer.
    pub(super) listening: Listening,
}

impl<H: Host> Exchange<H> {
    /// Until when it is worked on: as long as the server gives it, or the client when that is shorter.
    pub(super) fn deadline(&self) -> Deadline {
        self.origin.within(Deadline::after(self.endpoint.options.call_timeout()))
    }
}

impl<H: Host> Clone for Exchange<H> {
    fn clone(&self) -> Self {
        Self {
            endpoint: self.endpoint.clone(),
            caller: self.caller.clone(),
            origin: self.origin.clone(),
            revision: self.revision,
            listening: self.listening.clone(),
        }
    }
}

async fn serve<H: Host>(
    endpoint: Data<Endpoint<H>>,
    request: HttpRequest,
    payload: Payload,
) -> Reply {
    let headers = request.headers();
    let origin = Origin::of(&request, Transport::McpHttp);
    // Rung 2: a valid token.
    let caller = match endpoint.host.authenticate(headers, &origin).await {
        Ok(caller) => caller,
        Err(error) => return Reply::failure(None, &Failure::http(error)),
    };
    // Rung 3: a method that is taken here.
    let answered = match *request.method() {
        Method::POST => {
            let revision = Revision::V2026_07_28;
            let listening = Listening::default();
            let exchange = Exchange { endpoint, caller, origin, revision, listening };
            return post(exchange, headers, payload).await;
        }
        Method::GET => session_stream::open(endpoint, caller, headers, origin).await,
        Method::DELETE => session::end(&*endpoint.host, &caller, headers, &endpoint.live)
            .await
            .map(|ended| if ended { Reply::gone() } else { Reply::method_not_allowed("POST") }),
        _ => Ok(Reply::method_not_allowed("POST, GET, DELETE")),
    };
    answered.unwrap_or_else(|failure| Reply::failure(None, &failure))
}

async fn post<H: Host>(exchange: Exchange<H>, headers: &HeaderMap, mut payload: Payload) -> Reply {
    // Rung 4: media types and size.
    if let Err(failure) = media::check(headers) {
        return Reply::failure(None, &failure);
    }
    let limits = exchange.endpoint.body_limits;
    let body = match body::read(headers, &mut payload, limits).await {
        Ok(body) => body,
        Err(error) => return Reply::failure(None, &Failure::http(error)),
    };
    // Rungs 5 and 6: JSON, and a message.
    match Message::parse(&body) {
        Ok(Message::Request(request)) => handle_request(exchange, headers, request).await,
        Ok(Message::Notification(note)) => handle_notification(exchange, headers, note).await,
        Ok(Message::Response(response)) => handle_response(exchange, headers, &response).await,
        Ok(Message::Batch(array)) => batch::handle(exchange, headers, array).await,
        Err(malformed) => Reply::failure(Some(malformed.id), &malformed.failure),
    }
}

async fn handle_request<H: Host>(
    mut exchange: Exchange<H>,
    headers: &HeaderMap,
    request: Request<'_>,
) -> Reply {
    let id = request.id;
    let params = Params::read(request.params);
    let meta = Meta::read(&params);
    exchange.origin.trace = meta.trace().or(exchange.origin.trace);
    exchange.origin.idempotency_key = match meta.idempotency_key() {
        Ok(key) => key,
        Err(failure) => return Reply::failure(Some(id), &failure),
    };
    match meta.time_limit(headers) {
        Ok(limit) => exchange.origin.limit(limit),
        Err(failure) => return Reply::failure(Some(id), &failure),
    }
    // Rung 7: the era.
    match era::of_message(headers, meta.declares_version(), Some(&request.method)) {
        Ok(Era::Modern) => {
            let checked = check_modern(&exchange, headers, &request.method, &params, &meta);
            let opened =
                checked.and_then(|()| input::open(&mut exchange, &meta, &params, &request.method));
            match opened {
                Ok(()) => {
                    exchange.listening = meta.listening();
                    methods::modern(exchange, headers, &request, &params).await
                }
                Err(failure) => Reply::failure(Some(id), &failure),
            }
        }
        Ok(Era::Initialize) => methods::initialize(exchange, id, &params).await,
        Ok(Era::Session(session)) => match enter(&mut exchange, session).await {
            Ok(()) => {
                exchange.listening.progress_token = meta.listening().progress_token;
                if let Some(session) = &exchange.origin.session_id {
                    let live = &exchange.endpoint.live;
                    (exchange.listening.level, exchange.listening.can) = live.declared(session);
                }
                methods::legacy(exchange, &request, &params).await
            }
            Err(failure) => Reply::failure(Some(id), &failure),
        },
        Err(failure) => Reply::failure(Some(id), &failure),
    }
}

/// Rungs 8 to 13, in their order.
fn check_modern<H: Host>(
    exchange: &Exchange<H>,
    headers: &HeaderMap,
    method: &str,
    params: &Params<'_>,
    meta: &Meta<'_>,
) -> Result<(), Failure> {
    headers::check_routing(headers, method, params)?;
    params.check_shape(exchange.revision)?;
    let version = meta.require()?;
    headers::check_version(headers, &version)?;
    meta::check_supported(&version)?;
    meta.check_optional()?;
    if method == "tools/call"
        && let Some(name) = params.routed_name(method)
    {
        let tools = exchange.endpoint.host.tools(&exchange.caller);
        header_params::check(tools.header_params(&name), headers, params.arguments)?;
    }
    Ok(())
}

/// Joins a legacy session: its revision decides from here on.
pub(super) async fn enter<H: Host>(
    exchange: &mut Exchange<H>,
    session: &str,
) -> Result<(), Failure> {
    let (id, revision) = session::find(&*exchange.endpoint.host, &exchange.caller, session).await?;
    exchange.revision = revision;
    exchange.origin.session_id = Some(id);
    Ok(())
}

/// 202 for every notification of a modern client (2026-07-28 defines no header rules for them, and none
/// that means anything over HTTP) and of a session.
async fn handle_notification<H: Host>(
    mut exchange: Exchange<H>,
    headers: &HeaderMap,
    note: Notification<'_>,
) -> Reply {
    let params = Params::read(note.params);
    let declares_version = Meta::read(&params).declares_version();
    let entered = match era::of_message(headers, declares_version, None) {
        Ok(Era::Session(session)) => enter(&mut exchange, session).await,
        Ok(Era::Modern | Era::Initialize) => Ok(()),
        Err(failure) => Err(failure),
    };
    match entered {
        Ok(()) => {
            heed(&exchange, &note.method, &params);
            Reply::accepted()
        }
        Err(failure) => Reply::failure(Some(RawValue::NULL), &failure),
    }
}

/// Does what a notification of a session asks for: a cancelled call ends.
pub(super) fn heed<H: Host>(exchange: &Exchange<H>, method: &str, params: &Params<'_>) {
    if let (Some(session), Some(id), "notifications/cancelled") =
        (&exchange.origin.session_id, params.request_id, method)
    {
        exchange.endpoint.live.cancel(session, id.get());
    }
}

/// Hands a response within a session to whoever asked; one that nobody waits for is ignored.
pub(super) fn heed_response<H: Host>(exchange: &Exchange<H>, response: &Response<'_>) {
    if let Some(session) = &exchange.origin.session_id {
        exchange.endpoint.live.answered(session, response);
    }
}

/// 202 for a response within a session.
async fn handle_response<H: Host>(
    mut exchange: Exchange<H>,
    headers: &HeaderMap,
    response: &Response<'_>,
) -> Reply {
    let entered = match era::of_message(headers, false, None) {
        Ok(Era::Session(session)) => enter(&mut exchange, session).await,
        Ok(Era::Modern | Era::Initialize) => Err(Failure::not_a_request()),
        Err(failure) => Err(failure),
    };
    match entered {
        Ok(()) => {
            heed_response(&exchange, response);
            Reply::accepted()
        }
        Err(failure) => Reply::failure(Some(RawValue::NULL), &failure),
    }
}
