//! From what a call answered to how the attempt ended, and whether there is another one.

use std::time::Duration;

use serde_json::Value;
use ultimate_mcp_actors::fault::Retry;
use ultimate_mcp_actors::jobs::Millis;

use super::condition::holds;
use super::definition::{Call, TaskId};
use super::journal::{End, Fault};
use super::reference::{Context, size_of};
use super::{DELAY_MS_MAX, RESULT_BYTES_MAX, RESULTS_BYTES_MAX};
use crate::error::{ApiError, Code};
use crate::tools::ToolOutput;

/// Most times a step is repeated that a dying server cut off again and again.
const CUT_OFF_MAX: u32 = 20;
/// Shortest wait before a call that was turned away is made again.
const TURNED_AWAY_MIN: Duration = Duration::from_millis(100);

/// The attempt that is judged.
pub struct Attempt<'a> {
    /// Of what.
    pub task: &'a TaskId,
    /// What it consists of.
    pub call: Call<'a>,
    /// Which.
    pub number: u32,
    /// It may be repeated when nobody knows whether it ran.
    pub repeatable: bool,
    /// The time.
    pub now: Millis,
}

impl Attempt<'_> {
    /// How it ended.
    pub fn end(&self, answer: Result<ToolOutput, ApiError>, context: &Context<'_>) -> End {
        let output = match answer {
            Ok(output) => output,
            Err(error) => return self.refused(&error),
        };
        let bytes = output.structured.get().len();
        let kept = context.progress.kept_bytes.saturating_add(bytes);
        let result: Value = match serde_json::from_str(output.structured.get()) {
            Ok(result) => result,
            Err(error) => return self.failed("internal", error.to_string(), Value::Null, false),
        };
        let fits = bytes <= RESULT_BYTES_MAX && kept <= RESULTS_BYTES_MAX;
        let unexpected = match self.call.expect {
            Some(expect) => {
                let own = Some((self.task.step.as_str(), &result));
                !holds(expect, &Context { own, ..*context }).unwrap_or(false)
            }
            None => false,
        };
        let keep = |result: Value| if fits { result } else { Value::Null };
        match (output.is_error, unexpected) {
            (true, _) => {
                let why = "the tool reported a failure".to_owned();
                self.failed("tool_failed", why, keep(result), true)
            }
            (false, true) => {
                let why = "the result is not what `expect` demands".to_owned();
                self.failed("unexpected_result", why, keep(result), true)
            }
            (false, false) => {
                let omitted_bytes = (!fits).then(|| size_of(&result) as u64);
                End::Completed { result: keep(result), omitted_bytes }
            }
        }
    }

    /// Its arguments could not be put together.
    pub fn unresolved(&self, problem: String) -> End {
        self.failed("bad_reference", problem, Value::Null, false)
    }

    fn refused(&self, error: &ApiError) -> End {
        let (code, message) = (error.code.slug(), error.public.clone());
        match (error.code, error.retry) {
            // A server died in it: repeated for that alone, whatever `retry` says, if it may be.
            (Code::OutcomeUnknown, _) if self.repeatable && self.number < CUT_OFF_MAX => {
                let fault = Fault::new(code, message);
                End::Failed { fault, result: Value::Null, again_at: Some(self.now) }
            }
            (_, Retry::Never) => self.failed(code, message, Value::Null, false),
            (_, Retry::Unsafe) => self.failed(code, message, Value::Null, self.repeatable),
            (_, Retry::Safe | Retry::After(_)) => self.failed(code, message, Value::Null, true),
        }
    }

    fn failed(&self, code: &str, message: String, result: Value, again: bool) -> End {
        let retry = self.call.retry;
        let again = again && self.number < retry.attempts;
        let doubled = retry.delay_ms.saturating_mul(1 << self.number.saturating_sub(1).min(16));
        let again_at = again.then(|| self.now + doubled.min(DELAY_MS_MAX) as Millis);
        End::Failed { fault: Fault::new(code, message), result, again_at }
    }
}

/// When a call that was turned away before anything happened may come back; no attempt is spent on it.
pub fn turned_away(error: &ApiError) -> Option<Duration> {
    match (error.code, error.retry) {
        (Code::RateLimited | Code::Overloaded | Code::Unavailable, Retry::After(after)) => {
            Some(after.max(TURNED_AWAY_MIN))
        }
        _ => None,
    }
}
