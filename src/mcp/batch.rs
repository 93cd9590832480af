//! Batches: arrays of messages, which only 2025-03-26 has. Bounded in number; answered in order, one
//! after the other, under the limits that hold for single requests.

use std::fmt;

use actix_web::http::header::HeaderMap;
use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::endpoint::{Exchange, enter, heed, heed_response};
use super::era::{self, Era};
use super::failure::Failure;
use super::meta::Meta;
use super::params::Params;
use super::respond::Reply;
use super::wire::{Message, Request};
use super::{Host, methods};
use crate::error::{ApiError, Code};
use crate::time_limit;

/// Answers an array of messages.
pub async fn handle<H: Host>(
    mut exchange: Exchange<H>,
    headers: &HeaderMap,
    array: &RawValue,
) -> Reply {
    let messages = match admit(&mut exchange, headers, array).await {
        Ok(messages) => messages,
        Err(failure) => return Reply::failure(Some(RawValue::NULL), &failure),
    };
    // Of all of them together; each may have its own in `_meta`.
    match time_limit::of_headers(headers) {
        Ok(limit) => exchange.origin.limit(limit),
        Err(error) => {
            return Reply::failure(Some(RawValue::NULL), &refused(error.public));
        }
    }
    let mut answers = Vec::new();
    for message in messages {
        let reply = match Message::parse_element(message) {
            Ok(Message::Request(request)) => answer(exchange.clone(), headers, &request).await,
            Ok(Message::Notification(note)) => {
                heed(&exchange, &note.method, &Params::read(note.params));
                continue;
            }
            Ok(Message::Response(response)) => {
                heed_response(&exchange, &response);
                continue;
            }
            Ok(Message::Batch(_)) => {
                Reply::failure(Some(RawValue::NULL), &refused("a batch holds no batch"))
            }
            Err(malformed) => Reply::failure(Some(malformed.id), &malformed.failure),
        };
        answers.extend(reply.into_body());
    }
    if answers.is_empty() {
        return Reply::accepted();
    }
    let mut body = vec![b'['];
    body.extend(answers.join(&b','));
    body.push(b']');
    Reply::json(body)
}

/// The messages, if the session may send several.
async fn admit<'a, H: Host>(
    exchange: &mut Exchange<H>,
    headers: &HeaderMap,
    array: &'a RawValue,
) -> Result<Vec<&'a RawValue>, Failure> {
    match era::of_message(headers, false, None)? {
        Era::Session(session) => enter(exchange, session).await?,
        Era::Modern | Era::Initialize => return Err(Failure::not_a_request()),
    }
    if !exchange.revision.has_batches() {
        return Err(Failure::not_a_request());
    }
    let most = exchange.endpoint.options.batch_messages_max;
    let messages =
        read(array, most).ok_or_else(|| refused(format!("a batch holds 1 to {most} messages")))?;
    Ok(messages)
}

async fn answer<H: Host>(
    mut exchange: Exchange<H>,
    headers: &HeaderMap,
    request: &Request<'_>,
) -> Reply {
    let params = Params::read(request.params);
    let meta = Meta::read(&params);
    if request.method == "initialize" || meta.declares_version() {
        let failure = refused("initialize and 2026-07-28 requests must not be in a batch");
        return Reply::failure(Some(request.id), &failure);
    }
    exchange.origin.trace = meta.trace().or(exchange.origin.trace);
    exchange.origin.idempotency_key = match meta.idempotency_key() {
        Ok(key) => key,
        Err(failure) => return Reply::failure(Some(request.id), &failure),
    };
    match meta.time_limit(headers) {
        Ok(limit) => exchange.origin.limit(limit),
        Err(failure) => return Reply::failure(Some(request.id), &failure),
    }
    methods::legacy(exchange, request, &params).await
}

fn refused(message: impl Into<String>) -> Failure {
    Failure::bad_request(ApiError::new(Code::InvalidRequest, message))
}

/// The elements; `None` when there are none or more than `most`, without collecting more.
fn read(array: &RawValue, most: usize) -> Option<Vec<&RawValue>> {
    struct Bounded(usize);
    impl<'de> Visitor<'de> for Bounded {
        type Value = Vec<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "an array of 1 to {} messages", self.0)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut elements = Vec::new();
            while let Some(element) = from.next_element::<&'de RawValue>()? {
                if elements.len() == self.0 {
                    return Err(A::Error::invalid_length(self.0 + 1, &self));
                }
                elements.push(element);
            }
            Ok(elements)
        }
    }
    let mut from = serde_json::Deserializer::from_str(array.get());
    from.deserialize_seq(Bounded(most)).ok().filter(|elements| !elements.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_and_never_empty() {
        let parse = |json: &'static str| {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            read(raw, 2).map(|elements| elements.len())
        };
        assert_eq!(parse("[1,{}]"), Some(2));
        assert_eq!(parse("[]"), None);
        assert_eq!(parse("[1,2,3]"), None);
    }
}
