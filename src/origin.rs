//! Where a call comes from: what the audit writes down beside the caller.
//!
//! Made once per request at the border (HTTP, WebSocket), moved with the call. Nothing
//! in it is proof of anything; only a [`crate::auth::Caller`] is.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{AUTHORIZATION, USER_AGENT};
use secrecy::SecretString;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::idempotency::IdempotencyKey;
use ultimate_mcp_actors::ids::{CallId, JobId, SessionId};
use ultimate_mcp_actors::jobs::{Grip, Job};
use ultimate_mcp_actors::node::NodeId;

use crate::forward::Received;
use crate::http::{RequestContext, RequestId};
use crate::mcp::Input;
use crate::telemetry::TraceParent;

/// Longest user agent that is kept, in characters; the rest is cut.
const USER_AGENT_CHARS_MAX: usize = 256;

/// The way a call came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `POST /mcp`.
    McpHttp,
    /// `/mcp/ws`.
    McpWs,
    /// `/api/v1/…`.
    Rest,
    /// A worker of the job queue.
    Job,
    /// A workflow: the call is one of its steps.
    Workflow,
}

impl Transport {
    /// The name in audit details, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Transport::McpHttp => "mcp_http",
            Transport::McpWs => "mcp_ws",
            Transport::Rest => "rest",
            Transport::Job => "job",
            Transport::Workflow => "workflow",
        }
    }
}

/// Where a call comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The request, as in `X-Request-Id`.
    pub request_id: RequestId,
    /// The client's address, as far as it can be trusted; `None` when the transport has none.
    pub ip: Option<IpAddr>,
    /// The client's own description of itself, cut to 256 characters without control characters.
    pub user_agent: Option<Arc<str>>,
    /// The legacy MCP session, once it is known to exist and to be the caller's.
    pub session_id: Option<SessionId>,
    /// The client's trace (W3C Trace Context), from `_meta` or the header.
    pub trace: Option<TraceParent>,
    /// The way in.
    pub transport: Transport,
    /// The client's own name for a call that must be run once.
    pub idempotency_key: Option<IdempotencyKey>,
    /// The job that this call is a run of, as it was claimed.
    pub job: Option<Grip>,
    /// The step of a workflow that this call is.
    pub step: Option<Arc<StepOf>>,
    /// What came with the call of what was asked before, and what may be asked; `None` where nothing can be.
    pub input: Option<Arc<Input>>,
    /// What it takes to send the call on, and who sent it on.
    pub passage: Passage,
}

/// What ties a call to the workflow it is a step of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOf {
    /// The workflow, which is a job.
    pub workflow: JobId,
    /// The step, with its phase: `step:lint`, `compensate:lint`.
    pub step: String,
    /// Which attempt.
    pub attempt: u32,
    /// The call that carries the workflow out.
    pub parent: CallId,
}

/// A call between nodes.
#[derive(Clone, Debug, Default)]
pub struct Passage {
    /// What the client showed as `Authorization`: another node wants to see it as well.
    pub authorization: Option<Arc<SecretString>>,
    /// The node that sent the call here; it is not sent on once more.
    pub forwarded_by: Option<NodeId>,
    /// When the client gives up, as it said itself or told the other node.
    pub until: Option<Deadline>,
}

impl Origin {
    /// Reads the origin of an HTTP request that passed the edge ([`crate::http::edge`]).
    pub fn of(request: &HttpRequest, transport: Transport) -> Self {
        let context = RequestContext::of(request);
        let user_agent = request
            .headers()
            .get(USER_AGENT)
            .map(|value| printable(&String::from_utf8_lossy(value.as_bytes())));
        Self {
            request_id: context.request_id,
            ip: context.client_ip,
            user_agent,
            session_id: None,
            trace: context.trace,
            transport,
            passage: Passage { authorization: authorization(request), ..Passage::default() },
            idempotency_key: None,
            job: None,
            step: None,
            input: None,
        }
    }

    /// The origin of a job's run: the request that enqueued it, by now long answered.
    pub fn of_job(job: &Job) -> Self {
        let request_id = job.spec.request_id.as_deref();
        Self {
            request_id: request_id.and_then(RequestId::known).unwrap_or_else(RequestId::mint),
            ip: None,
            user_agent: None,
            session_id: None,
            trace: job.spec.trace.as_deref().and_then(TraceParent::parse),
            transport: Transport::Job,
            passage: Passage::default(),
            idempotency_key: None,
            job: Some(job.grip()),
            step: None,
            input: None,
        }
    }

    /// What another node vouches for, in place of what its own request looks like.
    pub fn vouched(mut self, received: Received) -> Self {
        self.ip = received.client_ip;
        self.session_id = received.session_id;
        self.passage.forwarded_by = Some(received.from);
        self.limit(Some(received.time_left));
        self
    }

    /// The client waits no longer than this from now.
    pub fn limit(&mut self, span: Option<Duration>) {
        let Some(span) = span else { return };
        let until = Deadline::after(span);
        self.passage.until = Some(self.passage.until.map_or(until, |before| before.min(until)));
    }

    /// This deadline, or the client's own when that is earlier.
    pub fn within(&self, deadline: Deadline) -> Deadline {
        self.passage.until.map_or(deadline, |until| until.min(deadline))
    }

    /// The trace id in 32 hex digits, when the client sent a valid `traceparent`.
    pub fn trace_id(&self) -> Option<String> {
        self.trace.map(|trace| trace.trace_id())
    }

    /// The client's `traceparent` as it goes out again on calls we make for it.
    pub fn traceparent(&self) -> Option<String> {
        self.trace.map(|trace| trace.to_string())
    }
}

fn authorization(request: &HttpRequest) -> Option<Arc<SecretString>> {
    let shown = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
    Some(Arc::new(SecretString::from(shown)))
}

/// A text that cannot break a log line.
fn printable(text: &str) -> Arc<str> {
    if text.len() <= USER_AGENT_CHARS_MAX && !text.chars().any(char::is_control) {
        return text.into();
    }
    let clean: String = text
        .chars()
        .take(USER_AGENT_CHARS_MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    clean.into()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_user_agent_cannot_break_a_log_line_or_fill_it() {
        let request =
            TestRequest::default().insert_header((USER_AGENT, "x".repeat(5000))).to_http_request();
        let origin = Origin::of(&request, Transport::Rest);
        assert_eq!(origin.user_agent.unwrap().len(), USER_AGENT_CHARS_MAX);
        assert_eq!(&*printable("a\u{1b}[31mb"), "a\u{fffd}[31mb");
    }
}
