//! `/mcp/ws`: the protocol over one WebSocket (subprotocol `mcp`), in both eras.
//!
//! One JSON-RPC message per text frame; requests run side by side and are answered in any order. The
//! token is that of the upgrade; it is looked at for every request and every two seconds, and the socket
//! is closed with its right to be. A request without modern metadata needs `initialize` before it: then a
//! session of the engine lives as long as the connection. Requests in flight and the bytes of a message
//! are bounded; a client that does not read stops being read. When the connection ends, modern requests
//! are cancelled, calls of a session run on.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use actix_web::web::{self, Bytes, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse, rt};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tokio::time::Instant;
use ultimate_mcp_actors::ids::SessionId;

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::headers::single;
use super::hub::{Change, Heard, ListChanged};
use super::live::{Next, StreamHandle};
use super::respond::Reply;
use super::revision::Revision;
use super::session_watch::SessionWatch;
use super::stream::{BEAT, Part};
use super::watch::{Tick, Watch};
use super::ws_request::{self, Incoming};
use super::{Host, session_watch};
use crate::error::{ApiError, Code};
use crate::origin::{Origin, Transport};

/// The path.
pub const PATH: &str = "/mcp/ws";
/// The subprotocol, which a client must offer.
const PROTOCOL: &str = "mcp";
/// Requests of one socket that run at once; further ones are refused.
const IN_FLIGHT_MAX: usize = 32;
/// Answers, refusals too, that wait to be written; beyond it the socket is not read.
const WAITING_MAX: usize = 64;

impl<H: Host> Endpoint<H> {
    /// Registers the WebSocket at `/mcp/ws`.
    pub fn socket_routes(endpoint: Data<Self>) -> impl FnOnce(&mut ServiceConfig) {
        move |config| {
            config.service(web::resource(PATH).app_data(endpoint).default_service(web::to(
                |request: HttpRequest, payload: Payload, endpoint: Data<Self>| async move {
                    upgrade(endpoint, request, payload).await.unwrap_or_else(|failure| {
                        HttpResponse::from(Reply::failure(None, &failure))
                    })
                },
            )));
        }
    }
}

async fn upgrade<H: Host>(
    endpoint: Data<Endpoint<H>>,
    request: HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, Failure> {
    let headers = request.headers();
    let origin = Origin::of(&request, Transport::McpWs);
    let caller = endpoint.host.authenticate(headers, &origin).await.map_err(Failure::http)?;
    if request.method() != actix_web::http::Method::GET {
        return Ok(Reply::method_not_allowed("GET").into());
    }
    let refused =
        |message: &str| Failure::bad_request(ApiError::new(Code::InvalidRequest, message));
    let offered = single(headers, "sec-websocket-protocol")?.unwrap_or("");
    if !offered.split(',').any(|protocol| protocol.trim() == PROTOCOL) {
        return Err(refused("offer the subprotocol mcp (Sec-WebSocket-Protocol)"));
    }
    let watch = Watch::begin(endpoint.clone(), caller, headers, origin.clone());
    let watch = watch.map_err(Failure::http)?;
    let opened = actix_ws::handle_with_protocols(&request, payload, &[PROTOCOL]);
    let (response, session, stream) =
        opened.map_err(|_| refused("this path takes a WebSocket handshake (RFC 6455)"))?;
    let bytes_max = endpoint.body_limits.bytes_max;
    let stream = stream.max_frame_size(bytes_max).aggregate_continuations();
    let socket = Socket {
        shared: Rc::new(Shared {
            endpoint,
            headers: headers.clone(),
            origin,
            session: RefCell::default(),
            cancels: RefCell::default(),
        }),
        watch,
        session,
        answers: FuturesUnordered::new(),
        running: Rc::default(),
        heard_at: Instant::now(),
        told: None,
        subscribed: SessionWatch::default(),
    };
    rt::spawn(socket.run(stream.max_continuation_size(bytes_max)));
    Ok(response)
}

/// What the requests of one socket share.
pub(super) struct Shared<H: Host> {
    pub(super) endpoint: Data<Endpoint<H>>,
    pub(super) headers: HeaderMap,
    pub(super) origin: Origin,
    /// Of a connection that sent `initialize`.
    pub(super) session: RefCell<Option<(SessionId, Revision)>>,
    /// Modern requests in flight, by id as it was written.
    cancels: RefCell<HashMap<String, oneshot::Sender<()>>>,
}

struct Socket<H: Host> {
    shared: Rc<Shared<H>>,
    watch: Watch<H>,
    session: actix_ws::Session,
    answers: FuturesUnordered<LocalBoxFuture<'static, ()>>,
    /// Counts requests that run, by clones.
    running: Rc<()>,
    /// When the client was last heard of.
    heard_at: Instant,
    /// What the engine says to the connection's session.
    told: Option<StreamHandle>,
    /// What that session is subscribed to.
    subscribed: SessionWatch,
}

impl<H: Host> Socket<H> {
    async fn run(mut self, mut stream: AggregatedMessageStream) {
        let reason = self.serve(&mut stream).await;
        let session = self.session.clone();
        // An error means that the client is gone.
        let _ = session.close(reason).await;
        let ended = self.shared.session.borrow_mut().take();
        if let Some((id, _)) = ended {
            let host = &self.shared.endpoint.host;
            if let Err(error) = host.remove_session(&self.watch.caller, &id).await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the session of a closed socket ends by its idle time");
            }
            self.shared.endpoint.live.forget(&id);
        }
    }

    /// Until the end; answers why it is closed. Dropping the answers cancels what they contain.
    async fn serve(&mut self, stream: &mut AggregatedMessageStream) -> Option<CloseReason> {
        let mut leaving = false;
        loop {
            if leaving && self.answers.is_empty() {
                return Some(CloseCode::Away.into());
            }
            self.tell().await;
            let told = self.told.as_ref().map(|told| Arc::clone(&told.moved));
            let spoken = async {
                match told {
                    Some(moved) => moved.notified().await,
                    None => std::future::pending().await,
                }
            };
            let read = !leaving && self.answers.len() < WAITING_MAX;
            tokio::select! {
                tick = self.watch.next() => match tick {
                    Tick::Ended => return Some(CloseCode::Policy.into()),
                    // What runs may end; subscriptions end by themselves.
                    Tick::Heard(Heard::Closing) => leaving = true,
                    Tick::Heard(heard) => self.heard(&heard),
                    Tick::ToolsChanged => self.heard(&Heard::Change(Change::List(ListChanged::Tools))),
                    Tick::Beat => self.beat().await?,
                },
                message = stream.recv(), if read => {
                    self.heard_at = Instant::now();
                    match message? {
                        Ok(AggregatedMessage::Text(text)) => self.take(text.into_bytes()),
                        Ok(AggregatedMessage::Binary(_)) => return Some(CloseCode::Unsupported.into()),
                        Ok(AggregatedMessage::Ping(bytes)) => self.session.pong(&bytes).await.ok()?,
                        Ok(AggregatedMessage::Pong(_)) => {}
                        Ok(AggregatedMessage::Close(reason)) => return reason,
                        Err(ProtocolError::Overflow | ProtocolError::Io(_)) => {
                            return Some(CloseCode::Size.into());
                        }
                        Err(_) => return Some(CloseCode::Protocol.into()),
                    }
                }
                Some(()) = self.answers.next(), if !self.answers.is_empty() => {}
                () = spoken => {}
            }
        }
    }

    /// A sign of life for the connection and its session; `None` when the client gives none.
    async fn beat(&mut self) -> Option<()> {
        if self.heard_at.elapsed() > 3 * BEAT {
            return None;
        }
        let session = self.shared.session.borrow().clone();
        if let Some((id, _)) = session {
            let host = &self.shared.endpoint.host;
            // A store that cannot be asked now may be asked at the next beat.
            let _ = host.touch_session(&self.watch.caller, &id).await;
        }
        self.session.ping(b"").await.ok()
    }

    /// Passes on what was said to the connection's session.
    async fn tell(&mut self) {
        if self.told.is_none()
            && let Some((id, _)) = &*self.shared.session.borrow()
        {
            self.told = Some(self.shared.endpoint.live.open(id, Some(0)));
        }
        if let Some((id, _)) = &*self.shared.session.borrow() {
            let endpoint = &self.shared.endpoint;
            let caller = endpoint.host.caller_id(&self.watch.caller);
            self.subscribed.follow(&endpoint.hub, &endpoint.live, caller, id);
        }
        while let Some(told) = &mut self.told
            && let Next::Message(_, message) = self.shared.endpoint.live.next(told)
        {
            send(&mut self.session, message.to_vec()).await;
        }
    }

    fn heard(&self, heard: &Heard) {
        if let Some((id, _)) = &*self.shared.session.borrow() {
            session_watch::say(&self.shared.endpoint.live, id, heard);
        }
    }

    /// Takes one message; what it needs done is done beside others.
    fn take(&mut self, text: Bytes) {
        let mut out = self.session.clone();
        let incoming = ws_request::read(&text);
        match incoming {
            Incoming::Request { id, .. } if Rc::strong_count(&self.running) > IN_FLIGHT_MAX => {
                let message = format!("{IN_FLIGHT_MAX} requests are in flight, the most at once");
                let failure = Failure::http(ApiError::new(Code::Overloaded, message));
                let reply = Reply::failure(Some(id), &failure);
                self.answers.push(Box::pin(async move { deliver(&mut out, reply).await }));
            }
            Incoming::Request { id, modern } => {
                let (id, place) = (id.get().to_owned(), Rc::clone(&self.running));
                let (cancel, cancelled) = oneshot::channel();
                if modern {
                    self.shared.cancels.borrow_mut().entry(id.clone()).or_insert(cancel);
                }
                let shared = Rc::clone(&self.shared);
                self.answers.push(Box::pin(async move {
                    let answer = async {
                        let reply = ws_request::answer(&shared, &text).await;
                        deliver(&mut out, reply).await;
                    };
                    tokio::select! {
                        biased;
                        () = answer => {}
                        Ok(()) = cancelled => {}
                    }
                    shared.cancels.borrow_mut().remove(&id);
                    drop(place);
                }));
            }
            Incoming::Cancelled { id } => {
                if let Some(cancel) = self.shared.cancels.borrow_mut().remove(id.get()) {
                    // An error means that the request has just ended.
                    let _ = cancel.send(());
                }
                if let Some((session, _)) = &*self.shared.session.borrow() {
                    self.shared.endpoint.live.cancel(session, id.get());
                }
            }
            Incoming::Response(response) => {
                if let Some((session, _)) = &*self.shared.session.borrow() {
                    self.shared.endpoint.live.answered(session, &response);
                }
            }
            Incoming::Nothing => {}
            Incoming::Malformed(reply) => {
                self.answers.push(Box::pin(async move { deliver(&mut out, reply).await }));
            }
        }
    }
}

/// Writes an answer, all of its messages; waits while the client does not read.
async fn deliver(out: &mut actix_ws::Session, reply: Reply) {
    let mut parts = match reply.into_messages() {
        Ok(parts) => parts,
        Err(None) => return,
        Err(Some(json)) => return send(out, json).await,
    };
    while let Some(part) = parts.next().await {
        match part {
            Part::Message(json) | Part::Event(_, json) => send(out, json).await,
            Part::Beat => {}
        }
    }
}

async fn send(out: &mut actix_ws::Session, json: Vec<u8>) {
    // JSON is UTF-8; an error means that the socket is closed, which its reader hears of.
    if let Ok(text) = String::from_utf8(json) {
        let _ = out.text(text).await;
    }
}
