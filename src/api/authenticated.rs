//! The first stage of every route but liveness: no caller, no handler.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use secrecy::SecretString;
use serde_json::{Map, Value};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::deadline::Deadline;

use crate::admission::AdminPermit;
use crate::auth::{Caller, bearer};
use crate::error::{ApiError, Code};
use crate::origin::{Origin, Transport};
use crate::record::{Outcome, Record};
use crate::state::AppState;
use crate::time_limit;

/// Longest an administrative request may take.
const ADMIN_MAX: Duration = Duration::from_secs(10);

/// A verified caller, with where the request comes from and the state it works on.
pub struct Authenticated {
    /// Who calls.
    pub caller: Caller,
    /// From where.
    pub origin: Origin,
    /// The engine.
    pub state: Arc<AppState>,
    /// The token itself, for routes that work on it.
    pub token: SecretString,
}

impl FromRequest for Authenticated {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let state = AppState::of(&request)?;
            let mut origin = Origin::of(&request, Transport::Rest);
            if let Some(received) = state.received(&request, &origin)? {
                origin = origin.vouched(received);
            }
            let caller = state.authenticate(request.headers(), &origin)?;
            origin.limit(time_limit::of_headers(request.headers())?);
            let token = SecretString::from(bearer(request.headers())?);
            Ok(Self { caller, origin, state, token })
        })
    }
}

impl Authenticated {
    /// When an administrative request gives up.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(ADMIN_MAX)
    }

    /// When a call that came here gives up, at the latest when its client does.
    pub fn call_deadline(&self) -> Deadline {
        self.origin.within(self.state.call_deadline())
    }

    /// Runs an administrative action: permission, intent, action, outcome; the twin of
    /// [`crate::tools_call`] for what is not a tool.
    ///
    /// # Errors
    /// Missing permission (recorded), the audit being down (then nothing was done), the action's own.
    pub async fn administer<T, F>(
        &self,
        action: &'static str,
        kind: EventType,
        resource: String,
        details: Map<String, Value>,
        work: impl FnOnce(Deadline) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        self.require_admin(action).await?;
        self.on_own(action, kind, resource, details, work).await
    }

    /// The same for what a caller may do to what is the caller's own: intent, action, outcome.
    ///
    /// # Errors
    /// The audit being down (then nothing was done), the action's own.
    pub async fn on_own<T, F>(
        &self,
        action: &'static str,
        kind: EventType,
        resource: String,
        details: Map<String, Value>,
        work: impl FnOnce(Deadline) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let deadline = self.deadline();
        let audit = &self.state.engine.audit;
        let record =
            Record::of_action(audit, &self.caller, &self.origin, action, kind).on(resource);
        let open = record.begin(deadline).await?;
        let started = Instant::now();
        let result = work(deadline).await;
        let outcome = match &result {
            Ok(_) => Outcome::done(details),
            Err(error) => Outcome::failed(error),
        };
        open.close(outcome, started.elapsed()).await?;
        result
    }

    /// Refuses (and records the refusal) unless the caller administers the system.
    ///
    /// # Errors
    /// Missing permission, or too many operations a minute.
    pub async fn require_admin(&self, action: &'static str) -> Result<AdminPermit, ApiError> {
        match self.state.admission.admit_admin(&self.caller).await {
            Ok(permit) => Ok(permit),
            Err(refusal) => Err(self.refused(action, refusal).await),
        }
    }

    /// Refuses (and records the refusal) when the caller asks too often for what needs no permission.
    ///
    /// # Errors
    /// Too many requests a minute.
    pub async fn require_rate(&self, action: &'static str) -> Result<(), ApiError> {
        match self.state.admission.admit_own(&self.caller).await {
            Ok(()) => Ok(()),
            Err(refusal) => Err(self.refused(action, refusal).await),
        }
    }

    /// Records a refusal and hands it on.
    pub async fn refused(&self, action: &'static str, refusal: ApiError) -> ApiError {
        let audit = &self.state.engine.audit;
        let kind = EventType::AuthzDenied;
        let record = Record::of_action(audit, &self.caller, &self.origin, action, kind);
        record.refused(refusal, self.deadline()).await
    }
}

/// A JSON body of the right type, or every reason why not.
///
/// # Errors
/// Not JSON, unknown or missing fields, values out of range: each with its path.
pub fn parse<T>(body: &[u8]) -> Result<T, ApiError>
where
    T: serde::de::DeserializeOwned + garde::Validate<Context = ()>,
{
    let text = std::str::from_utf8(body)
        .map_err(|e| ApiError::new(Code::ParseError, "the body is not UTF-8").caused_by(e))?;
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        return Err(ApiError::new(Code::ParseError, format!("the body is not JSON: {error}")));
    }
    crate::tools::decode(text)
}
