//! Which requests wait for their answer.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::HashMap;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::Notify;

/// Most requests that are looked after; the server refuses long before.
const REQUESTS_MAX: usize = 1024;
/// A stream without an end of its own: nobody waits for its answer.
const ENDLESS: &str = "subscriptions/listen";

/// Requests in flight by id, as it was written.
#[derive(Default)]
pub struct Flight {
    /// Whether the end of input waits for the answer.
    waiting: RefCell<HashMap<String, bool>>,
    landed: Notify,
}

#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Cancelled<'a> {
    #[serde(borrow, rename = "requestId")]
    request_id: &'a RawValue,
}

impl Flight {
    /// A message of the client.
    pub fn departs(&self, text: &str) {
        let Ok(Peek { id, method: Some(method), params }) = serde_json::from_str(text) else {
            return;
        };
        let mut waiting = self.waiting.borrow_mut();
        match id {
            Some(id) if waiting.len() < REQUESTS_MAX => {
                waiting.insert(id.get().to_owned(), method != ENDLESS);
            }
            Some(_) => {}
            None if method == "notifications/cancelled" => {
                let cancelled =
                    params.and_then(|p| serde_json::from_str::<Cancelled<'_>>(p.get()).ok());
                if let Some(cancelled) = cancelled {
                    waiting.remove(cancelled.request_id.get());
                    self.landed.notify_one();
                }
            }
            None => {}
        }
    }

    /// A message of the server.
    pub fn lands(&self, json: &[u8]) {
        let Ok(Peek { id: Some(id), method: None, .. }) = serde_json::from_slice(json) else {
            return;
        };
        self.waiting.borrow_mut().remove(id.get());
        self.landed.notify_one();
    }

    /// Waits until every answer that will come is there.
    pub async fn landed(&self) {
        while self.waiting.borrow().values().any(|awaited| *awaited) {
            self.landed.notified().await;
        }
    }

    /// The ids of all that wait, once.
    pub fn take(&self) -> Vec<Box<RawValue>> {
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        waiting.into_keys().filter_map(|id| RawValue::from_string(id).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn waits(flight: &Flight) -> bool {
        flight.landed().now_or_never().is_none()
    }

    #[test]
    fn a_request_waits_for_its_own_answer_and_nothing_else_does() {
        let flight = Flight::default();
        for text in [
            r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
            r#"{"jsonrpc":"2.0","id":9,"method":"subscriptions/listen"}"#,
            r#"{"jsonrpc":"2.0","id":8,"result":{}}"#,
            "no JSON",
            "[]",
        ] {
            flight.departs(text);
            assert!(!waits(&flight), "{text}");
        }
        flight.departs(r#"{"id":1,"method":"tools\/call"}"#);
        flight.departs(r#"{"id":"1","method":"tools/call"}"#);
        flight.lands(br#"{"id":1,"result":{}}"#);
        flight.lands(br#"{"id":"1","method":"a request of the server's"}"#);
        assert!(waits(&flight));
        flight.lands(br#"{"id":"1","error":{}}"#);
        assert!(!waits(&flight));
    }

    #[test]
    fn a_cancelled_request_waits_for_nothing_and_what_is_left_is_known() {
        let flight = Flight::default();
        flight.departs(r#"{"id":"a","method":"x"}"#);
        flight.departs(r#"{"id":2,"method":"x"}"#);
        flight.departs(r#"{"method":"notifications/cancelled","params":{"requestId":"a"}}"#);
        let left: Vec<_> = flight.take().iter().map(|id| id.get().to_owned()).collect();
        assert_eq!(left, ["2"]);
        assert!(!waits(&flight));
    }
}
