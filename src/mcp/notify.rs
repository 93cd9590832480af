//! From the events of a call to `notifications/progress` and `notifications/message`.
//!
//! Written straight to bytes, like every message of this layer. What a client did not ask for in its
//! request (a progress token; a log level, in 2026-07-28) or for its session (`logging/setLevel`, before)
//! is never sent.

use serde::Serialize;
use serde_json::value::RawValue;

use super::input::ClientCan;
use super::input::session::Asks;
use crate::tools::events::{self, CallEvent, EventSink, Events, LogLevel, Wanted};

/// What the sender of a request wants to hear before its answer.
#[derive(Clone, Debug, Default)]
pub struct Listening {
    /// The name by which it knows the request's progress.
    pub progress_token: Option<Box<RawValue>>,
    /// The least level of log messages.
    pub level: Option<LogLevel>,
    /// What it may be asked on the stream of its call; nothing where there is no stream.
    pub can: ClientCan,
}

impl Listening {
    /// A queue for what is wanted; `None` when nothing is.
    pub fn open(self) -> Option<(EventSink, Notices)> {
        let wanted = Wanted { progress: self.progress_token.is_some(), level: self.level };
        let (sink, events) = events::channel(wanted)?;
        Some((sink, Notices { events: Some(events), token: self.progress_token, asks: None }))
    }

    /// The same for a call that may ask its client; there is a stream to ask in also when nothing is wanted.
    pub fn open_to_ask(self, asks: Asks) -> (Option<EventSink>, Notices) {
        let wanted = Wanted { progress: self.progress_token.is_some(), level: self.level };
        let (sink, events) = events::channel(wanted).unzip();
        (sink, Notices { events, token: self.progress_token, asks: Some(asks) })
    }
}

/// The events of one call, as messages, and what it asks.
pub struct Notices {
    events: Option<Events>,
    token: Option<Box<RawValue>>,
    asks: Option<Asks>,
}

impl Notices {
    /// Waits for a message.
    pub async fn ready(&self) {
        let event = async {
            match &self.events {
                Some(events) => events.ready().await,
                None => std::future::pending().await,
            }
        };
        match &self.asks {
            None => event.await,
            Some(asks) => tokio::select! {
                () = event => {}
                () = asks.ready() => {}
            },
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        let asks = self.asks.as_ref().is_none_or(Asks::is_empty);
        asks && self.events.as_ref().is_none_or(Events::is_empty)
    }

    /// The next message, a JSON object; events before what is asked after them.
    pub fn take(&self) -> Option<Vec<u8>> {
        while let Some(event) = self.events.as_ref().and_then(Events::take) {
            if let Some(message) = self.write(&event) {
                return Some(message);
            }
        }
        self.asks.as_ref()?.take()
    }

    fn write(&self, event: &CallEvent) -> Option<Vec<u8>> {
        match event {
            CallEvent::Progress { progress, total, message } => {
                let progress_token = self.token.as_deref()?;
                let message = message.as_deref();
                let params =
                    Progress { progress_token, progress: *progress, total: *total, message };
                notification("notifications/progress", params)
            }
            CallEvent::Log { level, logger, text } => {
                let params = Log { level: level.as_str(), logger, data: text };
                notification("notifications/message", params)
            }
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Progress<'a> {
    progress_token: &'a RawValue,
    progress: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct Log<'a> {
    level: &'static str,
    logger: &'static str,
    data: &'a str,
}

#[derive(Serialize)]
struct Notification<P> {
    jsonrpc: &'static str,
    method: &'static str,
    params: P,
}

/// One notification; `None` when it cannot be encoded, which no text of ours is.
pub fn notification<P: Serialize>(method: &'static str, params: P) -> Option<Vec<u8>> {
    serde_json::to_vec(&Notification { jsonrpc: "2.0", method, params }).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn said(notices: &Notices) -> Vec<Value> {
        std::iter::from_fn(|| notices.take())
            .map(|bytes| serde_json::from_slice(&bytes).unwrap())
            .collect()
    }

    #[test]
    fn progress_goes_under_the_client_s_own_token_and_type() {
        for token in ["7", "\"a\""] {
            let progress_token = Some(RawValue::from_string(token.to_owned()).unwrap());
            let (sink, notices) =
                Listening { progress_token, ..Listening::default() }.open().unwrap();
            sink.progress(1.5, None, Some("half".into()));
            sink.log(LogLevel::Error, "x", "not asked for".into());
            let token: Value = serde_json::from_str(token).unwrap();
            let params = json!({"progressToken": token, "progress": 1.5, "message": "half"});
            let expected =
                json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
            assert_eq!(said(&notices), [expected]);
        }
    }

    #[test]
    fn log_messages_carry_level_and_logger() {
        let (sink, notices) =
            Listening { level: Some(LogLevel::Info), ..Listening::default() }.open().unwrap();
        sink.progress(1.0, None, None);
        sink.log(LogLevel::Debug, "x", "too quiet".into());
        sink.log(LogLevel::Info, "stdout", "a\n".into());
        let params = json!({"level": "info", "logger": "stdout", "data": "a\n"});
        let expected =
            json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params});
        assert_eq!(said(&notices), [expected]);
    }
}
