//! The life of one reading that is no tool's: admission, intent, reading within the deadline, outcome;
//! the twin of [`crate::tools_call`].
//!
//! A reading has no lasting effects, so its intent may share the outcome's commit.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use serde_json::{Map, Value};
use ultimate_mcp_actors::audit::EventType;

use super::Ask;
use crate::error::{ApiError, Code};
use crate::record::{Outcome, Record};

/// Longest name of what is read that the audit keeps, in characters.
const NAME_CHARS_MAX: usize = 256;

/// What is to be read.
pub struct Reading<'a> {
    /// The method, as in the audit and for the rate.
    pub action: &'static str,
    /// What it takes; `None` = a valid token.
    pub permission: Option<&'static str>,
    /// Which one.
    pub resource: &'a str,
}

/// What was read, and facts for the audit: sizes, kinds, never contents.
pub type Read<T> = (T, Map<String, Value>);

impl Ask<'_> {
    /// Reads, and answers only after the outcome is durable.
    ///
    /// # Errors
    /// A refusal (recorded), the work's own error, the audit being down, the deadline.
    pub(super) async fn read<T>(
        &self,
        reading: Reading<'_>,
        work: LocalBoxFuture<'_, Result<Read<T>, ApiError>>,
    ) -> Result<T, ApiError> {
        let Reading { action, permission, resource } = reading;
        let (audit, kind) = (&self.state.engine.audit, EventType::DataRead);
        let name: String = resource.chars().take(NAME_CHARS_MAX).collect();
        let record = Record::of_action(audit, self.caller, self.origin, action, kind).on(name);
        let admission = &self.state.admission;
        if let Err(refusal) = admission.admit_reading(self.caller, action, permission).await {
            return Err(record.refused(refusal, self.state.call_deadline()).await);
        }
        let open = record.open();
        let rest = async {
            let started = Instant::now();
            let (result, outcome) = match self.guarded(work).await {
                Ok((value, facts)) => (Ok(value), Outcome::done(facts)),
                Err(error) => {
                    let outcome = Outcome::failed(&error);
                    (Err(error), outcome)
                }
            };
            open.close(outcome, started.elapsed()).await.and(result)
        };
        // However little time the client gives: what is to be recorded is.
        let intent = record.intent_in_company(self.state.call_deadline());
        let (intent, result) = futures_util::join!(intent, rest);
        intent.and(result)
    }

    /// Within the deadline; a panic becomes an error to this caller alone.
    async fn guarded<T>(
        &self,
        work: LocalBoxFuture<'_, Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        if self.deadline.is_past() {
            return Err(ApiError::not_begun());
        }
        let work = AssertUnwindSafe(work).catch_unwind();
        match tokio::time::timeout_at(self.deadline.instant(), work).await {
            Ok(Ok(result)) => result,
            Ok(Err(_panic)) => Err(ApiError::new(Code::Crashed, "the reading crashed")),
            Err(_elapsed) => {
                Err(ApiError::new(Code::DeadlineExceeded, "the reading did not finish in time"))
            }
        }
    }
}
