//! `POST /api/v1/tools/{name}?stream=1`: what happens while the tool runs, one JSON object a line.
//!
//! The events are those of MCP's progress and log messages and wait in the same bounded queue
//! ([`crate::tools::events`]); the last line is the outcome. A call that fails before it said anything is an
//! ordinary answer with its status. The call runs in a task of its own, so that a reader that stops reading
//! holds up nobody; one that hangs up cancels it, unless the call has an idempotency key.

use std::convert::Infallible;
use std::time::Duration;

use actix_web::http::header::{CACHE_CONTROL, HeaderName};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream::unfold;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

use super::Authenticated;
use super::jobs::pairs;
use crate::error::{ApiError, Code, Problem};
use crate::tools::events::{self, CallEvent, Events, LogLevel, Wanted};
use crate::tools::{ToolOutput, ToolRequest};
use crate::tools_call::tools_call;

/// Every `event` a line can have.
pub(super) const EVENTS: [&str; 6] = ["output", "progress", "log", "heartbeat", "result", "error"];
/// Longest silence.
const BEAT: Duration = Duration::from_secs(10);
/// Shortest time between two events: what comes faster is joined while it waits.
const PAUSE: Duration = Duration::from_millis(20);

type Outcome = Result<ToolOutput, ApiError>;

/// Whether the request asks for lines.
///
/// # Errors
/// Another parameter, or another value.
pub(super) fn wanted(request: &HttpRequest) -> Result<bool, ApiError> {
    let wrong = |path: &str, problem: &str| {
        let (path, problem) = (path.chars().take(64).collect(), problem.to_owned());
        ApiError::invalid_arguments(vec![Problem { path, problem }])
    };
    let mut wanted = false;
    for (name, value) in pairs(request)? {
        wanted = match (name.as_str(), value.as_str()) {
            ("stream", "1") => true,
            ("stream", "0") => false,
            ("stream", _) => return Err(wrong("stream", "must be 0 or 1")),
            _ => return Err(wrong(&name, "unknown parameter; known is stream")),
        };
    }
    Ok(wanted)
}

/// Calls the tool; the answer begins with the first thing that happens.
pub(super) async fn call(
    auth: Authenticated,
    name: String,
    arguments: Box<RawValue>,
) -> Result<HttpResponse, ApiError> {
    let wanted = Wanted { progress: true, level: Some(LogLevel::Info) };
    let Some((sink, events)) = events::channel(wanted) else {
        return Err(ApiError::new(Code::Internal, "there is no queue for events"));
    };
    let deadline = auth.call_deadline();
    let once = auth.origin.idempotency_key.is_some();
    let task = actix_rt::spawn(async move {
        let (arguments, events) = (&*arguments, Some(&sink));
        let request = ToolRequest { name: &name, arguments, deadline, events };
        tools_call(&auth.state, &auth.caller, &auth.origin, request).await
    });
    let mut run = Run { task, once };
    let first = tokio::select! {
        biased;
        () = events.ready() => None,
        outcome = run.outcome() => Some(outcome?),
        () = sleep(BEAT) => None,
    };
    let lines = Lines { run, events, outcome: first.map(Ok), next: Instant::now(), over: false };
    let body = unfold(lines, |mut lines| async move {
        let line = lines.next().await?;
        Some((Ok::<Bytes, Infallible>(line), lines))
    });
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header((HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(body))
}

/// The call's task, which ends with its reader.
struct Run {
    task: JoinHandle<Outcome>,
    /// A client that sends its key again wants the answer of the first run, so that one goes on.
    once: bool,
}

impl Run {
    async fn outcome(&mut self) -> Outcome {
        (&mut self.task).await.unwrap_or_else(|error| {
            let crashed = "the call crashed; whether it had effects is unknown";
            Err(ApiError::new(Code::Crashed, crashed).caused_by(error))
        })
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.once {
            self.task.abort();
        }
    }
}

struct Lines {
    run: Run,
    events: Events,
    /// The outcome, once it is there; its events go first.
    outcome: Option<Outcome>,
    /// When the next event may go.
    next: Instant,
    over: bool,
}

impl Lines {
    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        loop {
            if self.outcome.is_some()
                && let Some(event) = self.events.take()
            {
                return Some(line(&event));
            }
            if let Some(outcome) = self.outcome.take() {
                self.over = true;
                return Some(last(outcome));
            }
            let (events, next) = (&self.events, self.next);
            let paced = async {
                events.ready().await;
                sleep_until(next).await;
            };
            tokio::select! {
                biased;
                outcome = self.run.outcome() => self.outcome = Some(outcome),
                () = paced => if let Some(event) = self.events.take() {
                    self.next = Instant::now() + PAUSE;
                    return Some(line(&event));
                },
                () = sleep(BEAT) => {
                    return Some(Bytes::from_static(b"{\"event\":\"heartbeat\"}\n"));
                }
            }
        }
    }
}

fn line(event: &CallEvent) -> Bytes {
    let json = match event {
        CallEvent::Progress { progress, total, message } => {
            json!({ "event": "progress", "progress": progress, "total": total, "message": message })
        }
        CallEvent::Log { logger: logger @ ("stdout" | "stderr"), text, .. } => {
            json!({ "event": "output", "stream": logger, "text": text })
        }
        CallEvent::Log { level, logger, text } => {
            json!({ "event": "log", "level": level.as_str(), "logger": logger, "text": text })
        }
    };
    Bytes::from(format!("{json}\n"))
}

/// The outcome. A result is spliced, and JSON outside of strings has no line ends that matter.
fn last(outcome: Outcome) -> Bytes {
    let text = match outcome {
        Ok(ToolOutput { structured, is_error, .. }) => {
            let result = structured.get().replace(['\n', '\r'], " ");
            format!("{{\"event\":\"result\",\"is_error\":{is_error},\"result\":{result}}}\n")
        }
        Err(error) => {
            let mut json = error.to_rest();
            json["event"] = "error".into();
            json["status"] = error.code.http().into();
            format!("{json}\n")
        }
    };
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_stream_is_asked_for_by_one_word_and_nothing_else_is_overlooked() {
        let asks =
            |query: &str| wanted(&TestRequest::with_uri(&format!("/x?{query}")).to_http_request());
        assert!(asks("stream=1").unwrap());
        assert!(!asks("").unwrap() && !asks("stream=0").unwrap());
        for wrong in ["stream", "stream=yes", "Stream=1", "stream=1&tail=5"] {
            assert_eq!(asks(wrong).unwrap_err().code, Code::InvalidArguments, "{wrong}");
        }
    }

    #[test]
    fn an_outcome_is_one_line_whatever_its_json_looks_like() {
        let structured = RawValue::from_string("{\n \"a\": \"b\\nc\"\r\n}".to_owned()).unwrap();
        let output =
            ToolOutput { structured, text: None, is_error: true, audit: Default::default() };
        let text = String::from_utf8(last(Ok(output)).to_vec()).unwrap();
        assert_eq!(text.matches('\n').count(), 1);
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read, json!({ "event": "result", "is_error": true, "result": { "a": "b\nc" } }));
        let failed = last(Err(ApiError::new(Code::DeadlineExceeded, "too late")));
        let read: serde_json::Value = serde_json::from_slice(&failed).unwrap();
        assert_eq!((&read["event"], &read["status"]), (&json!("error"), &json!(504)));
        assert_eq!(read["error"]["code"], "deadline_exceeded");
    }
}
