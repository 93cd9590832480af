//! GET: the stream of a legacy session, on which the server speaks first (2025 revisions, Streamable
//! HTTP, "Listening for Messages from the Server").
//!
//! One stream per session; a new one takes the place of the one before, which may be a connection that
//! died unnoticed. Messages have ids, and `Last-Event-ID` continues after one of them as far as the
//! session still keeps what followed. An open stream keeps its session alive.

use actix_web::http::header::HeaderMap;
use actix_web::web::Data;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use ultimate_mcp_actors::ids::SessionId;

use super::endpoint::Endpoint;
use super::failure::Failure;
use super::headers::single;
use super::hub::{Heard, ListChanged};
use super::live::{Next, StreamHandle};
use super::respond::Reply;
use super::session_watch::SessionWatch;
use super::stream::Part;
use super::watch::{Tick, Watch};
use super::{Host, era, media, session, session_watch};
use crate::error::{ApiError, Code};
use crate::origin::Origin;

/// Opens the stream; 405 for a request without a session.
///
/// # Errors
/// HTTP 404 for a session that does not exist, 406 when the client takes no stream, 400 for an unreadable
/// `Last-Event-ID`, 429 and 503 when there are too many streams.
pub async fn open<H: Host>(
    endpoint: Data<Endpoint<H>>,
    caller: H::Caller,
    headers: &HeaderMap,
    mut origin: Origin,
) -> Result<Reply, Failure> {
    let Some(id) = era::of_bodyless(headers)? else { return Ok(Reply::method_not_allowed("POST")) };
    let (session, _) = session::find(&*endpoint.host, &caller, id).await?;
    media::check_stream(headers)?;
    let after = after(headers)?;
    origin.session_id = Some(session.clone());
    let watch = Watch::begin(endpoint.clone(), caller, headers, origin).map_err(Failure::http)?;
    let stream = endpoint.live.open(&session, after);
    let pump = Pump { watch, stream, session, subscribed: SessionWatch::default() };
    let parts = unfold(pump, |mut pump| async move { Some((pump.next_part().await?, pump)) });
    Ok(Reply::stream(parts.boxed_local()))
}

fn after(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let refused = || {
        let message = "Last-Event-ID must be the id of an event of this session's stream, once";
        Failure::bad_request(ApiError::new(Code::InvalidRequest, message))
    };
    match single(headers, "last-event-id").map_err(|_| refused())? {
        None => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| refused()),
    }
}

struct Pump<H: Host> {
    watch: Watch<H>,
    stream: StreamHandle,
    session: SessionId,
    subscribed: SessionWatch,
}

impl<H: Host> Pump<H> {
    /// The next part; `None` at the end.
    async fn next_part(&mut self) -> Option<Part> {
        let endpoint = self.watch.endpoint.clone();
        loop {
            let caller = endpoint.host.caller_id(&self.watch.caller);
            self.subscribed.follow(&endpoint.hub, &endpoint.live, caller, &self.session);
            match endpoint.live.next(&mut self.stream) {
                Next::Message(id, message) => return Some(Part::Event(id, message.to_vec())),
                Next::Replaced => return None,
                Next::Wait => {}
            }
            let moved = std::sync::Arc::clone(&self.stream.moved);
            let tick = tokio::select! {
                () = moved.notified() => continue,
                tick = self.watch.next() => tick,
            };
            match tick {
                Tick::Ended | Tick::Heard(Heard::Closing) => return None,
                Tick::ToolsChanged => {
                    session_watch::list_changed(&endpoint.live, &self.session, ListChanged::Tools);
                }
                Tick::Heard(heard) => session_watch::say(&endpoint.live, &self.session, &heard),
                Tick::Beat => {
                    let host = &endpoint.host;
                    let touched = host.touch_session(&self.watch.caller, &self.session).await;
                    // A store that cannot be asked does not end a stream.
                    return (!matches!(touched, Ok(None))).then_some(Part::Beat);
                }
            }
        }
    }
}
