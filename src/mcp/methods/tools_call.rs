//! `tools/call`: one tool, once.
//!
//! A tool that ran and failed, and arguments that do not decode, are *results* with `isError`, so that
//! a model reads them and mends its call (SEP-1303); everything else that fails is a JSON-RPC error.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use actix_web::rt;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use ultimate_mcp_actors::deadline::Deadline;

use super::blocks::BlockView;
use crate::error::{ApiError, Code};
use crate::mcp::endpoint::Exchange;
use crate::mcp::failure::Failure;
use crate::mcp::input::session::{self, Asks};
use crate::mcp::input::{self, ClientCan, Input, Question};
use crate::mcp::params::Params;
use crate::mcp::respond::Reply;
use crate::mcp::revision::Revision;
use crate::mcp::stream;
use crate::mcp::task::TaskView;
use crate::mcp::wire::{self, is_object, text};
use crate::mcp::{Called, Host};
use crate::origin::Origin;
use crate::tools::ToolRequest;
use crate::tools::events::EventSink;

/// A call with everything it needs: it outlives the request when its session's rules say so.
pub struct Call<H: Host> {
    exchange: Exchange<H>,
    id: Box<RawValue>,
    name: String,
    arguments: Box<RawValue>,
    deadline: Deadline,
    /// The way to the client of a session that can be asked.
    asks: Option<Asks>,
}

impl<H: Host> Call<H> {
    /// Rung 16, as far as it is the protocol's: a name, and arguments that are an object.
    ///
    /// # Errors
    /// -32602.
    pub fn read(
        exchange: Exchange<H>,
        id: &RawValue,
        params: &Params<'_>,
    ) -> Result<Self, Failure> {
        let revision = exchange.revision;
        let Some(name) = params.name.and_then(text) else {
            return Err(Failure::invalid_params(revision, "name must be a string"));
        };
        let arguments = match params.arguments {
            None => RawValue::from_string("{}".to_owned()).map_err(|error| {
                let error = ApiError::new(Code::Internal, "no empty object").caused_by(error);
                Failure::of(revision, error)
            })?,
            // A caller who may not call the tool learns that first (rung 15): the host refuses.
            Some(raw)
                if is_object(raw)
                    || !exchange.endpoint.host.tools(&exchange.caller).contains(&name) =>
            {
                raw.to_owned()
            }
            Some(_) => {
                return Err(Failure::invalid_params(revision, "arguments must be an object"));
            }
        };
        let deadline = exchange.deadline();
        Ok(Self {
            exchange,
            id: id.to_owned(),
            name: name.into_owned(),
            arguments,
            deadline,
            asks: None,
        })
    }

    /// Whether the client gave it a name of its own, to ask for its answer again.
    pub fn is_keyed(&self) -> bool {
        self.exchange.origin.idempotency_key.is_some()
    }

    /// Runs it here: whoever drops the future, or the streamed answer, cancels the call.
    pub async fn run(mut self) -> Reply {
        match std::mem::take(&mut self.exchange.listening).open() {
            None => self.answer(None).await,
            Some((sink, notices)) => stream::answer(self.boxed(sink), notices).await,
        }
    }

    /// On the heap, and made in a frame of its own: calls that nobody listens to must not carry its room
    /// on their stacks.
    fn boxed(self, sink: EventSink) -> LocalBoxFuture<'static, Reply> {
        Box::pin(async move { self.answer(Some(&sink)).await })
    }

    /// Runs it in a task of its own, which a broken connection does not end; a session's
    /// `notifications/cancelled` does.
    pub async fn run_detached(mut self, id: &RawValue) -> Reply {
        let (id, revision) = (id.to_owned(), self.exchange.revision);
        let listening = std::mem::take(&mut self.exchange.listening);
        let can = listening.can;
        let (sink, notices) = if can == ClientCan::default() {
            listening.open().unzip()
        } else {
            let asks = self.asks.insert(Asks::default()).clone();
            self.exchange.origin.input = Some(Arc::new(Input { can, ..Input::default() }));
            let (sink, notices) = listening.open_to_ask(asks);
            (sink, Some(notices))
        };
        let task = rt::spawn(self.cancellable(sink));
        let work = async move {
            task.await
                .unwrap_or_else(|_| Reply::failure(Some(&id), &Failure::of(revision, crashed())))
        };
        match notices {
            None => work.await,
            Some(notices) => stream::answer(Box::pin(work), notices).await,
        }
    }

    fn cancellable(self, sink: Option<EventSink>) -> LocalBoxFuture<'static, Reply> {
        let session = self.exchange.origin.session_id.as_ref();
        let live = &self.exchange.endpoint.live;
        let in_flight = session.and_then(|session| live.begin(session, self.id.get()));
        Box::pin(async move {
            let Some(mut in_flight) = in_flight else { return self.answer(sink.as_ref()).await };
            tokio::select! {
                biased;
                reply = self.answer(sink.as_ref()) => reply,
                () = in_flight.cancelled() => Reply::nothing(),
            }
        })
    }

    async fn answer(&self, events: Option<&EventSink>) -> Reply {
        let outcome =
            match (self.once(&self.exchange.origin, self.deadline, events).await, &self.asks) {
                (Err(error), Some(asks)) if error.wanted.is_some() => {
                    Box::pin(self.ask(error, asks, events)).await
                }
                (outcome, _) => outcome,
            };
        Reply::to_request(&self.id, self.encode(outcome, self.exchange.revision))
    }

    async fn once(
        &self,
        origin: &Origin,
        deadline: Deadline,
        events: Option<&EventSink>,
    ) -> Result<Called, ApiError> {
        let Exchange { endpoint, caller, .. } = &self.exchange;
        let (name, arguments) = (self.name.as_str(), &*self.arguments);
        let request = ToolRequest { name, arguments, deadline, events };
        let call = endpoint.host.call_tool(caller, origin, request);
        // A panic is an error to one caller; the connection and its other requests live on.
        AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| {
            tracing::error!(tool = self.name, "a tool call panicked");
            Err(crashed())
        })
    }

    /// Asks the client of the session, and calls again with what it said; each time a call of its own.
    async fn ask(
        &self,
        mut error: ApiError,
        asks: &Asks,
        events: Option<&EventSink>,
    ) -> Result<Called, ApiError> {
        for _ in 0..session::ROUNDS_MAX {
            let Some(wanted) = error.wanted.take() else { break };
            let input = session::ask(&self.exchange, asks, *wanted).await?;
            let mut origin = self.exchange.origin.clone();
            origin.input = Some(Arc::new(input));
            match self.once(&origin, self.exchange.deadline(), events).await {
                Err(next) if next.wanted.is_some() => error = next,
                outcome => return outcome,
            }
        }
        Err(error)
    }

    fn encode(
        &self,
        outcome: Result<Called, ApiError>,
        revision: Revision,
    ) -> Result<Vec<u8>, Failure> {
        let meta = revision.is_modern().then_some(&*self.exchange.endpoint.result_meta);
        let encoded = match outcome {
            Ok(Called { task: Some(task), .. }) => wire::success(
                &self.id,
                Created { result_type: "task", task: TaskView::brief(&task), meta },
            ),
            Ok(called) => {
                let failed = called.output.is_error;
                let ending = if failed { Ending::ToolFailed } else { Ending::Succeeded };
                wire::success(&self.id, CallResult::of(revision, ending, &called, meta))
            }
            Err(error) if error.code == Code::InvalidArguments => {
                let text = format!("invalid arguments: {}", error.public);
                problems(&error).and_then(|structured| {
                    let ending = Ending::WrongArguments;
                    let result = CallResult::new(revision, ending, &structured, Some(&text), meta);
                    wire::success(&self.id, result)
                })
            }
            Err(error) => {
                let question = || Question::new("tools/call", &self.name, Some(&*self.arguments));
                return input::refused(&self.exchange, &self.id, question, error);
            }
        };
        encoded.map_err(|error| Failure::of(revision, error))
    }
}

fn crashed() -> ApiError {
    ApiError::new(Code::Crashed, "the tool crashed; whether it took effect is unknown")
}

/// `{"error":{code,message,problems}}`.
fn problems(error: &ApiError) -> Result<Box<RawValue>, ApiError> {
    to_raw_value(&error.to_rest()).map_err(|cause| {
        ApiError::new(Code::Internal, "the problems could not be encoded").caused_by(cause)
    })
}

/// A call whose answer is fetched later.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created<'a> {
    result_type: &'static str,
    #[serde(flatten)]
    task: TaskView<'a>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
}

/// How a call ended that has a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Succeeded,
    /// The tool ran and failed; its structured result conforms to its output schema.
    ToolFailed,
    /// The tool did not run; the structured result is the list of problems.
    WrongArguments,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallResult<'a> {
    content: Vec<BlockView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    structured_content: Option<&'a RawValue>,
    is_error: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    result_type: Option<&'static str>,
    #[serde(rename = "_meta", skip_serializing_if = "Option::is_none")]
    meta: Option<&'a RawValue>,
}

impl<'a> CallResult<'a> {
    /// The result of a call, with everything it shows.
    pub fn of(
        revision: Revision,
        ending: Ending,
        called: &'a Called,
        meta: Option<&'a RawValue>,
    ) -> Self {
        let Called { output, blocks, .. } = called;
        let text = output.text.as_deref();
        let mut result = Self::new(revision, ending, &output.structured, text, meta);
        result.content.extend(blocks.iter().map(BlockView::from));
        result
    }

    /// The result as this revision writes it; the structured JSON is always in it, as
    /// `structuredContent`, as text, or as both.
    ///
    /// Legacy revisions get no `structuredContent` that does not conform to the output schema: the
    /// TypeScript SDK 1.x checks it even with `isError` and would hide the problems from the model.
    /// Nor do they have any that is not an object. `null` is no structured result in any revision.
    fn new(
        revision: Revision,
        ending: Ending,
        structured: &'a RawValue,
        text: Option<&'a str>,
        meta: Option<&'a RawValue>,
    ) -> Self {
        let conforms = ending != Ending::WrongArguments;
        let exists = structured.get() != "null";
        let sent = exists && revision.is_modern()
            || (revision.has_structured_results() && conforms && is_object(structured));
        let json = (exists && (text.is_none() || !sent)).then_some(structured.get());
        let blocks = text.into_iter().chain(json);
        Self {
            content: blocks.map(|text| BlockView::Text { text }).collect(),
            structured_content: sent.then_some(structured),
            is_error: ending != Ending::Succeeded,
            result_type: revision.is_modern().then_some("complete"),
            meta,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const ENDINGS: [Ending; 3] = [Ending::Succeeded, Ending::ToolFailed, Ending::WrongArguments];

    fn result(revision: Revision, ending: Ending, json: &str, text: Option<&str>) -> Value {
        let structured: &RawValue = serde_json::from_str(json).unwrap();
        serde_json::to_value(CallResult::new(revision, ending, structured, text, None)).unwrap()
    }

    #[test]
    fn the_structured_result_is_repeated_as_text() {
        let answer = result(Revision::V2025_06_18, Ending::Succeeded, r#"{"sum": 3}"#, None);
        assert_eq!(answer["structuredContent"], json!({"sum": 3}));
        assert_eq!(answer["content"], json!([{"type": "text", "text": "{\"sum\": 3}"}]));
        assert!(answer.get("resultType").is_none());
    }

    #[test]
    fn no_revision_loses_the_structured_result() {
        for revision in Revision::ALL {
            for (json, ending) in
                ["{\"a\":1}", "[1]"].into_iter().flat_map(|j| ENDINGS.map(|e| (j, e)))
            {
                let answer = result(revision, ending, json, Some("in words"));
                let texts: Vec<_> =
                    answer["content"].as_array().unwrap().iter().map(|b| &b["text"]).collect();
                assert_eq!(texts[0], "in words");
                let structured = answer.get("structuredContent").is_some();
                assert!(structured || texts[1] == json, "{revision}: {answer}");
            }
        }
    }

    #[test]
    fn a_tool_without_a_structured_result_sends_none() {
        for revision in Revision::ALL {
            let answer = result(revision, Ending::Succeeded, "null", Some("words"));
            assert_eq!(answer["content"], json!([{"type": "text", "text": "words"}]));
            assert!(answer.get("structuredContent").is_none(), "{revision}");
        }
    }

    #[test]
    fn a_legacy_client_that_checks_schemas_still_sees_the_problems() {
        let revision = Revision::V2025_11_25;
        let answer = result(revision, Ending::WrongArguments, r#"{"error":{}}"#, Some("words"));
        assert!(answer.get("structuredContent").is_none());
        assert_eq!(answer["isError"], true);
        assert_eq!(answer["content"][1]["text"], r#"{"error":{}}"#);
        let failed = result(revision, Ending::ToolFailed, r#"{"status":"timeout"}"#, None);
        assert_eq!(failed["structuredContent"]["status"], "timeout");
        assert_eq!(failed["isError"], true);
    }
}
