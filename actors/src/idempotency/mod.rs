//! Idempotency keys: the same call, sent again, is answered again and not run again.
//!
//! ```text
//! begin → Fresh: run, then Claim::answer (or ::release when nothing was done)
//!       → Answered: the first run's answer        → Different: the key belongs to another request
//!       → Running: wait or refuse                  → Unknown: it began and nobody knows how it ended
//! ```
//! The key is durable before the run begins, so a process that is killed in between leaves a key that says
//! so, and the run is never repeated. Called by the face's `tools_call`. Two stores keep the same promise:
//! SQLite in the data directory, and Redis where the nodes share one. Refuses to run when the key cannot
//! be stored.

mod actor;
mod error;
mod options;
mod shared;
mod store;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;

use self::actor::Local;
use self::shared::Shared;
use crate::deadline::Deadline;
use crate::ids::CallerId;
use crate::redis::RedisClient;
use crate::supervision::Supervisor;

pub use self::error::IdempotencyError;
pub use self::options::IdempotencyOptions;

/// Longest key.
pub const KEY_BYTES_MAX: usize = 128;

/// How long an answer may take to be stored. Its own time: the call's deadline may be what ended it.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// After its deadline and this long a run that has not ended never will: its process is gone.
const LEASE_SLACK: Duration = Duration::from_secs(10);

/// A caller's own name for one call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(Arc<str>);

impl IdempotencyKey {
    /// Checks and takes a key.
    ///
    /// # Errors
    /// [`IdempotencyError::BadKey`].
    pub fn parse(text: &str) -> Result<Self, IdempotencyError> {
        let visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        match visible && !text.is_empty() && text.len() <= KEY_BYTES_MAX {
            true => Ok(Self(text.into())),
            false => Err(IdempotencyError::BadKey),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is to be run once.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Whose.
    pub caller: CallerId,
    /// The caller's name for it.
    pub key: IdempotencyKey,
    /// Digest of everything that is asked for.
    pub request: [u8; 32],
    /// Whether a run that was cut off may simply be run again: it has no lasting effects.
    pub harmless: bool,
}

/// What is known of an attempt.
#[derive(Debug)]
pub enum Begun {
    /// It is the first: run it.
    Fresh(Claim),
    /// It was run, and this was the answer; `None` when it was too large to be kept.
    Answered(Option<Vec<u8>>),
    /// It is running.
    Running,
    /// It began, and how it ended is unknown.
    Unknown,
    /// The key was used for another request.
    Different,
}

/// What a store says to a new attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Standing {
    Fresh,
    Answered(Option<Vec<u8>>),
    Running,
    Unknown,
    Different,
}

/// How a claimed run ended.
#[derive(Clone, Debug)]
enum End {
    /// With this answer; `None` when it is too large.
    Answered(Option<Vec<u8>>),
    /// Nothing was done: the key is free again.
    Released,
    /// Nobody knows.
    Unknown,
}

/// Where keys are kept.
trait Store: Send + Sync {
    /// Claims the key for this run, durably, or says what is there. The claim's number is the run's own.
    fn begin(
        &self,
        attempt: Attempt,
        claim: u64,
        lease: Duration,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Standing, IdempotencyError>>;

    /// Ends a claim; one that is not (or no longer) there is no error.
    fn end(
        &self,
        attempt: Attempt,
        claim: u64,
        end: End,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<(), IdempotencyError>>;
}

/// The way to the keys. Cheap to clone.
#[derive(Clone)]
pub struct IdempotencyHandle {
    store: Arc<dyn Store>,
    answer_bytes_max: usize,
}

/// The right to run, and the duty to say how it ended. Dropped without a word, the run was cut off.
pub struct Claim {
    store: Arc<dyn Store>,
    /// `None` once it has ended.
    attempt: Option<Attempt>,
    claim: u64,
    answer_bytes_max: usize,
}

impl IdempotencyHandle {
    /// In Redis where there is one, else in the file at `path`, by an actor started as `idempotency`.
    ///
    /// # Errors
    /// When the file cannot be made or the actor cannot be started.
    pub async fn start(
        supervisor: &Supervisor,
        path: &Path,
        options: IdempotencyOptions,
        redis: Option<RedisClient>,
    ) -> Result<Self, IdempotencyError> {
        let answer_bytes_max = options.answer_kb_max.saturating_mul(1024);
        let store: Arc<dyn Store> = match redis {
            Some(redis) => Arc::new(Shared::new(redis, options)),
            None => Arc::new(Local::start(supervisor, path, options).await?),
        };
        Ok(Self { store, answer_bytes_max })
    }

    /// Claims the key, durably, or says what is known. `deadline` is the call's.
    ///
    /// # Errors
    /// The key cannot be stored, or there are too many. Then nothing may be run.
    pub async fn begin(
        &self,
        attempt: Attempt,
        deadline: Deadline,
    ) -> Result<Begun, IdempotencyError> {
        // 64 random bits: no two claims share a number.
        let bits = uuid::Uuid::new_v4().as_u128();
        let claim = ((bits ^ (bits >> 64)) as u64) >> 1;
        let lease = deadline.remaining().saturating_add(LEASE_SLACK);
        let (store, answer_bytes_max) = (self.store.clone(), self.answer_bytes_max);
        // Made before the key is on its way: a caller who leaves meanwhile leaves no key behind.
        let begun = Attempt { harmless: true, ..attempt.clone() };
        let mut guard = Claim { store, attempt: Some(begun), claim, answer_bytes_max };
        let harmless = attempt.harmless;
        let said = self.store.begin(attempt, claim, lease, deadline).await;
        if let Some(attempt) = &mut guard.attempt {
            attempt.harmless = harmless;
        }
        if !matches!(said, Ok(Standing::Fresh)) {
            let attempt = guard.attempt.take();
            if let (Err(_), Some(attempt)) = (&said, attempt) {
                // It may have been stored all the same.
                guard.end_later(attempt, End::Released);
            }
        }
        Ok(match said? {
            Standing::Fresh => Begun::Fresh(guard),
            Standing::Answered(answer) => Begun::Answered(answer),
            Standing::Running => Begun::Running,
            Standing::Unknown => Begun::Unknown,
            Standing::Different => Begun::Different,
        })
    }
}

impl Claim {
    /// The run ended with this answer; stored when this returns.
    ///
    /// # Errors
    /// The store is down: a repetition will hear that the outcome is unknown.
    pub async fn answer(mut self, answer: Vec<u8>) -> Result<(), IdempotencyError> {
        let answer = Some(answer).filter(|answer| answer.len() <= self.answer_bytes_max);
        self.end(End::Answered(answer)).await
    }

    /// Nothing was done: the key is free for another try.
    ///
    /// # Errors
    /// The store is down: a repetition will hear that the outcome is unknown.
    pub async fn release(mut self) -> Result<(), IdempotencyError> {
        self.end(End::Released).await
    }

    async fn end(&mut self, end: End) -> Result<(), IdempotencyError> {
        let Some(attempt) = self.attempt.take() else { return Ok(()) };
        self.store.end(attempt, self.claim, end, Deadline::after(ANSWER_MAX)).await
    }

    fn end_later(&self, attempt: Attempt, end: End) {
        let ending = self.store.end(attempt, self.claim, end, Deadline::after(ANSWER_MAX));
        tokio::spawn(async move {
            if let Err(error) = ending.await {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the end of a call with an idempotency key was not stored");
            }
        });
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        let end = if attempt.harmless { End::Released } else { End::Unknown };
        self.end_later(attempt, end);
    }
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Claim").field("claim", &self.claim).finish_non_exhaustive()
    }
}
