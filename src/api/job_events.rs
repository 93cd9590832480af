//! `GET /api/v1/jobs/{id}/events`: what happens to a job, as it happens.
//!
//! NDJSON, or SSE for who accepts `text/event-stream`. Begins after `Last-Event-ID` (or `?after=`), ends
//! with the job's last event, after five minutes or when the node stops, beats every ten seconds in between. Events older than
//! the job's ring are gone; the gap shows in the numbers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{ACCEPT, CACHE_CONTROL, HeaderName};
use actix_web::web::{Bytes, Path};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::unfold;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use ultimate_mcp_actors::jobs::Job;

use super::Authenticated;
use super::jobs::{pairs, readable};
use crate::error::{ApiError, Code, Problem};
use crate::jobs::EventView;
use crate::state::AppState;

/// Streams open at once.
const STREAMS_MAX: usize = 256;
/// Longest life of one stream; a client goes on with `Last-Event-ID`.
const LIFE_MAX: Duration = Duration::from_secs(300);
/// Longest silence.
const BEAT: Duration = Duration::from_secs(10);
/// Longest time between two looks at a job that another node may be running.
const LOOK: Duration = Duration::from_secs(1);
/// Shortest time between two looks, however much happens to other jobs.
const PAUSE: Duration = Duration::from_millis(50);

static STREAMS: std::sync::LazyLock<Arc<Semaphore>> =
    std::sync::LazyLock::new(|| Arc::new(Semaphore::new(STREAMS_MAX)));

struct Watch {
    state: Arc<AppState>,
    job: Job,
    /// Events up to this one were sent.
    seen: u64,
    sse: bool,
    ends: Instant,
    beaten: Instant,
    ready: VecDeque<Bytes>,
    _place: OwnedSemaphorePermit,
}

/// The stream.
pub async fn stream(
    auth: Authenticated,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    auth.require_rate("jobs/events").await?;
    let seen = after(&request)?;
    let job = readable(&auth, &id).await?.job;
    let place = Arc::clone(&STREAMS).try_acquire_owned().map_err(|_| {
        ApiError::new(Code::Overloaded, format!("{STREAMS_MAX} streams are open, the most at once"))
    })?;
    let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
    let sse = accepts.is_some_and(|accepts| accepts.contains("text/event-stream"));
    let now = Instant::now();
    let mut watch = Watch {
        state: Arc::clone(&auth.state),
        job,
        seen,
        sse,
        ends: now + LIFE_MAX,
        beaten: now,
        ready: VecDeque::new(),
        _place: place,
    };
    watch.collect();
    let body = unfold(watch, |mut watch| async move {
        let bytes = watch.next().await?;
        Some((Ok::<Bytes, std::convert::Infallible>(bytes), watch))
    });
    let kind = if sse { "text/event-stream" } else { "application/x-ndjson" };
    Ok(HttpResponse::Ok()
        .content_type(kind)
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(body))
}

/// Where to go on: the header of EventSource, or the parameter.
fn after(request: &HttpRequest) -> Result<u64, ApiError> {
    let wrong = |path: &str, problem: &str| {
        let (path, problem) = (path.chars().take(64).collect(), problem.to_owned());
        ApiError::invalid_arguments(vec![Problem { path, problem }])
    };
    let mut after = 0;
    for (name, value) in pairs(request)? {
        if name != "after" {
            return Err(wrong(&name, "unknown parameter; known is after"));
        }
        after = value.parse().map_err(|_| wrong("after", "must be the id of an event"))?;
    }
    if let Some(last) = request.headers().get("last-event-id") {
        let text = last.to_str().ok().and_then(|text| text.parse().ok());
        after = text.ok_or_else(|| wrong("Last-Event-ID", "must be the id of an event"))?;
    }
    Ok(after)
}

impl Watch {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                self.beaten = Instant::now();
                return Some(bytes);
            }
            let now = Instant::now();
            let closing = self.state.engine.jobs.is_closing();
            if self.job.status.state.is_final() || now >= self.ends || closing {
                return None;
            }
            if now >= self.beaten + BEAT {
                self.beaten = now;
                let beat = if self.sse { ": beat\n\n" } else { "{\"event\":\"heartbeat\"}\n" };
                return Some(Bytes::from_static(beat.as_bytes()));
            }
            let jobs = &self.state.engine.jobs;
            jobs.moved(LOOK).await;
            tokio::time::sleep(PAUSE).await;
            match jobs.get(self.job.id(), None).await {
                Ok(Some(view)) => self.job = view.job,
                Ok(None) => return None,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "a watched job cannot be read"
                    );
                    return None;
                }
            }
            self.collect();
        }
    }

    fn collect(&mut self) {
        for event in self.job.status.events.iter().filter(|event| event.id > self.seen) {
            let json = serde_json::json!(EventView::from(event));
            let text = match self.sse {
                true => format!("id: {}\nevent: {}\ndata: {json}\n\n", event.id, event.kind),
                false => format!("{json}\n"),
            };
            self.ready.push_back(Bytes::from(text));
        }
        self.seen = self.seen.max(self.job.status.event_count);
    }
}
