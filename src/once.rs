//! A call under an idempotency key: run once, answered as often as it is sent.
//!
//! Used by [`crate::tools_call`] between admission and run. The key belongs to the caller; tool and
//! arguments must be the same again. Refuses (409, typed) a key of another request, one whose run is still
//! going at the deadline, and one whose run began and never ended: that is never run a second time.

use std::future::Future;
use std::time::Duration;

use actix_web::http::header::HeaderMap;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::fault::Retry;
use ultimate_mcp_actors::idempotency::{
    Attempt, Begun, Claim, IdempotencyError, IdempotencyHandle, IdempotencyKey,
};

use crate::auth::Caller;
use crate::error::{ApiError, Code};
use crate::record::Record;
use crate::tools::{Effects, ToolDescriptor, ToolOutput};

/// The header of REST calls (draft-ietf-httpapi-idempotency-key-header).
pub const HEADER: &str = "idempotency-key";

/// A caller who waits for a running call hears that it runs this long before its deadline.
const ANSWER_MARGIN: Duration = Duration::from_millis(250);

/// How often a caller who waits looks, at first and at most.
const LOOK_FIRST: Duration = Duration::from_millis(20);
const LOOK_MAX: Duration = Duration::from_millis(250);

/// The key of a REST request: bare, or quoted as the draft writes it.
///
/// # Errors
/// Two keys, or one out of bounds.
pub fn key_of(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut all = headers.get_all(HEADER);
    let Some(value) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        return Err(ApiError::new(Code::InvalidRequest, "one Idempotency-Key, please"));
    }
    let text = value.to_str().map_err(|_| IdempotencyError::BadKey)?.trim();
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    Ok(Some(IdempotencyKey::parse(bare)?))
}

/// What is to run once.
pub struct Once<'a> {
    /// Where keys are kept.
    pub keys: &'a IdempotencyHandle,
    /// Who calls.
    pub caller: &'a Caller,
    /// The caller's name for it.
    pub key: &'a IdempotencyKey,
    /// What is called.
    pub tool: &'a ToolDescriptor,
    /// With what.
    pub arguments: &'a RawValue,
    /// When the caller stops waiting.
    pub deadline: Deadline,
}

impl Once<'_> {
    /// Runs it, unless that was done before. Replays and refusals are recorded.
    ///
    /// # Errors
    /// The key's own refusals, or what the run answered (the first time or now).
    pub async fn run(
        &self,
        record: &Record,
        run: impl Future<Output = Result<ToolOutput, ApiError>>,
    ) -> Result<ToolOutput, ApiError> {
        let claim = match self.claim().await {
            Ok(Claimed::Ours(claim)) => claim,
            Ok(Claimed::Done(answer)) => {
                let answer = Kept::read(&answer).and_then(Kept::restored);
                // What is told again may be a failure: the trail says what the caller hears.
                record.replayed((&answer).into(), self.deadline).await?;
                return answer;
            }
            Err(refusal) => return Err(record.refused(refusal, self.deadline).await),
        };
        let result = run.await;
        let ended = match Kept::of(&result) {
            Some(kept) => claim.answer(kept).await,
            None => claim.release().await,
        };
        if let Err(error) = ended {
            // The caller has an answer; only a repetition will not.
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "the answer of a call with an idempotency key was not kept");
        }
        result
    }

    /// Waits while another run of the same call is going.
    async fn claim(&self) -> Result<Claimed, ApiError> {
        let attempt = Attempt {
            caller: self.caller.id().clone(),
            key: self.key.clone(),
            request: self.digest()?,
            harmless: self.tool.effects == Effects::None,
        };
        let mut pause = LOOK_FIRST;
        loop {
            let refusal = match self.keys.begin(attempt.clone(), self.deadline).await? {
                Begun::Fresh(claim) => return Ok(Claimed::Ours(claim)),
                Begun::Answered(Some(answer)) => return Ok(Claimed::Done(answer)),
                Begun::Running => {
                    let left = self.deadline.remaining().saturating_sub(ANSWER_MARGIN);
                    if left.is_zero() {
                        let text = "the call with this idempotency key is still running";
                        ApiError::new(Code::CallInProgress, text)
                    } else {
                        tokio::time::sleep(pause.min(left)).await;
                        pause = (pause * 2).min(LOOK_MAX);
                        continue;
                    }
                }
                Begun::Answered(None) => ApiError::new(
                    Code::Conflict,
                    "the call with this idempotency key was carried out, but its answer was too \
                     large to be kept; it was not repeated",
                ),
                Begun::Unknown => ApiError::new(
                    Code::OutcomeUnknown,
                    "the call with this idempotency key began, and how it ended is unknown; it was \
                     not repeated: look at its effects, then call with a new key",
                ),
                Begun::Different => ApiError::new(
                    Code::IdempotencyKeyReused,
                    "this idempotency key was used for another tool or other arguments; use a new \
                     one for each call",
                ),
            };
            return Err(refusal);
        }
    }

    /// The same JSON in another order or spacing is the same request.
    fn digest(&self) -> Result<[u8; 32], ApiError> {
        let arguments: Value = serde_json::from_str(self.arguments.get()).map_err(|error| {
            ApiError::new(Code::InvalidArguments, format!("arguments: not JSON: {error}"))
        })?;
        let text = format!("{}\n{arguments}", self.tool.name);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        Ok(bytes)
    }
}

enum Claimed {
    Ours(Claim),
    Done(Vec<u8>),
}

/// An answer, as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    structured: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default)]
    is_error: bool,
    /// Slug and message of an error after which effects are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<(String, String)>,
}

impl Kept {
    /// `None` when nothing was done, so that the same call may be tried again.
    fn of(result: &Result<ToolOutput, ApiError>) -> Option<Vec<u8>> {
        let kept = match result {
            Ok(output) => Self {
                structured: Some(output.structured.clone()),
                text: output.text.clone(),
                is_error: output.is_error,
                error: None,
            },
            Err(error) if error.retry == Retry::Unsafe => Self {
                structured: None,
                text: None,
                is_error: false,
                error: Some((error.code.slug().to_owned(), error.public.clone())),
            },
            Err(_) => return None,
        };
        // It holds nothing that cannot be encoded; if it did, the outcome would be unknown to others.
        serde_json::to_vec(&kept).ok().or(Some(Vec::new()))
    }

    fn read(bytes: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(bytes).map_err(|error| damaged().caused_by(error))
    }

    fn restored(self) -> Result<ToolOutput, ApiError> {
        if let Some((slug, public)) = self.error {
            let code = Code::ALL.iter().find(|code| code.slug() == slug);
            let error = ApiError::new(*code.unwrap_or(&Code::Internal), public);
            return Err(ApiError { retry: Retry::Unsafe, ..error });
        }
        let structured = self.structured.ok_or_else(damaged)?;
        let (text, is_error) = (self.text, self.is_error);
        Ok(ToolOutput { structured, text, is_error, audit: serde_json::Map::new() })
    }
}

fn damaged() -> ApiError {
    let text = "the call was carried out, but its kept answer cannot be read; it was not repeated";
    ApiError::new(Code::OutcomeUnknown, text)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn header(values: &[&str]) -> Result<Option<String>, Code> {
        let mut request = TestRequest::default();
        for value in values {
            request = request.append_header((HEADER, *value));
        }
        let key = key_of(request.to_http_request().headers());
        key.map(|key| key.map(|key| key.as_str().to_owned())).map_err(|error| error.code)
    }

    #[test]
    fn a_key_is_read_bare_or_quoted_and_bounded() {
        assert_eq!(header(&[]), Ok(None));
        assert_eq!(header(&["a-1"]), Ok(Some("a-1".to_owned())));
        assert_eq!(header(&["\"a-1\""]), Ok(Some("a-1".to_owned())));
        assert_eq!(header(&["a", "b"]), Err(Code::InvalidRequest));
        for bad in ["", "\"\"", "a b", &"x".repeat(129)] {
            assert_eq!(header(&[bad]), Err(Code::InvalidArguments), "{bad}");
        }
    }

    #[test]
    fn answers_come_back_as_they_were_and_what_was_not_done_is_not_kept() {
        let output = ToolOutput {
            structured: RawValue::from_string(r#"{"b":1,"a":[1.50]}"#.to_owned()).unwrap(),
            text: Some("text".to_owned()),
            is_error: true,
            audit: serde_json::Map::new(),
        };
        let kept = Kept::of(&Ok(output)).unwrap();
        let back = Kept::read(&kept).unwrap().restored().unwrap();
        assert_eq!(back.structured.get(), r#"{"b":1,"a":[1.50]}"#);
        assert_eq!((back.text.as_deref(), back.is_error), (Some("text"), true));

        let late = ApiError::new(Code::DeadlineExceeded, "too late");
        let kept = Kept::of(&Err(late)).unwrap();
        let error = Kept::read(&kept).unwrap().restored().unwrap_err();
        assert_eq!((error.code, error.retry), (Code::DeadlineExceeded, Retry::Unsafe));
        for undone in [Code::Unavailable, Code::Overloaded, Code::InvalidArguments] {
            assert!(Kept::of(&Err(ApiError::new(undone, ""))).is_none(), "{undone:?}");
        }
        assert_eq!(Kept::read(b"").err().map(|error| error.code), Some(Code::OutcomeUnknown));
    }
}
