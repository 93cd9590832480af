//! What a stream without an end of its own waits for: changes, the clock, and the end of its right to be.
//!
//! A stream outlives the request that opened it, so the request's token is looked at again and again:
//! whoever is revoked, banned, expired is no longer told anything. The same look finds that the caller's
//! roles, and with them its tools, have changed.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use actix_web::web::Data;
use tokio::time::{Instant, sleep_until};

use super::endpoint::Endpoint;
use super::hub::{Heard, Listener};
use super::stream::BEAT;
use super::{Host, ToolList};
use crate::error::ApiError;
use crate::origin::Origin;

/// How often the token is looked at: this long at most a stream outlives it.
const LOOK: Duration = Duration::from_secs(2);

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Tick {
    /// The hub said something.
    Heard(Heard),
    /// The caller's tools are others than before.
    ToolsChanged,
    /// Nothing for a while.
    Beat,
    /// The caller may not listen any more.
    Ended,
}

/// A stream's eyes and ears.
pub struct Watch<H: Host> {
    pub(super) endpoint: Data<Endpoint<H>>,
    pub(super) caller: H::Caller,
    headers: HeaderMap,
    origin: Origin,
    listener: Listener,
    tools: Arc<ToolList>,
    look_at: Instant,
    beat_at: Instant,
}

impl<H: Host> Watch<H> {
    /// Takes a place among the open streams. `headers` are those of the request, with its token.
    ///
    /// # Errors
    /// There are too many streams.
    pub fn begin(
        endpoint: Data<Endpoint<H>>,
        caller: H::Caller,
        headers: &HeaderMap,
        origin: Origin,
    ) -> Result<Self, ApiError> {
        let listener = endpoint.hub.listen(endpoint.host.caller_id(&caller))?;
        let tools = endpoint.host.tools(&caller);
        let (headers, now) = (headers.clone(), Instant::now());
        let (look_at, beat_at) = (now + LOOK, now + BEAT);
        Ok(Self { endpoint, caller, headers, origin, listener, tools, look_at, beat_at })
    }

    /// Waits for the next thing that happens. Safe to drop at any time.
    pub async fn next(&mut self) -> Tick {
        loop {
            tokio::select! {
                biased;
                heard = self.listener.next() => return Tick::Heard(heard),
                () = sleep_until(self.look_at.min(self.beat_at)) => {}
            }
            let now = Instant::now();
            if now >= self.beat_at {
                self.beat_at = now + BEAT;
                return Tick::Beat;
            }
            self.look_at = now + LOOK;
            let host = &self.endpoint.host;
            let Ok(caller) = host.authenticate(&self.headers, &self.origin).await else {
                return Tick::Ended;
            };
            let tools = host.tools(&caller);
            self.caller = caller;
            let before = std::mem::replace(&mut self.tools, tools);
            if !Arc::ptr_eq(&before, &self.tools) && !before.is_same(&self.tools) {
                return Tick::ToolsChanged;
            }
        }
    }
}
