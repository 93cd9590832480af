//! The one writer of the node's own idempotency keys.
//!
//! Owns: the store `idempotency.db`.
//! Mailbox: `IdempotencyOptions::mailbox` (256); when full, callers hear `Overloaded` and nothing is run.
//! Dies when: a handler panics; a failed write is no death but an error to its caller.
//! Restarted: by its supervisor; it opens the store anew. Runs in hand keep their claims.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Handler, Message, Supervised};
use futures_util::future::BoxFuture;

use super::error::IdempotencyError;
use super::options::IdempotencyOptions;
use super::store::{Said, Store};
use super::{Attempt, End, Standing};
use crate::deadline::Deadline;
use crate::sqlite::create_private;
use crate::supervision::{ChildRef, ChildSpec, Supervisor};

/// How often expired keys are dropped.
const PURGE_PERIOD: Duration = Duration::from_secs(60);

/// Everything a fresh actor is made from.
#[derive(Clone)]
struct Setup {
    path: PathBuf,
    /// This process: claims of another one are of the dead.
    owner: String,
    options: IdempotencyOptions,
}

pub(super) struct KeysActor {
    setup: Setup,
    /// `None` until the first message and after a failed one: the next opens the file anew.
    store: Option<Store>,
}

#[derive(Message)]
#[rtype(result = "Result<Said, Arc<rusqlite::Error>>")]
struct Begin(Attempt, u64, Duration);

#[derive(Message)]
#[rtype(result = "Result<(), Arc<rusqlite::Error>>")]
struct Finish(Attempt, u64, End);

impl KeysActor {
    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Store) -> rusqlite::Result<T>,
    ) -> Result<T, Arc<rusqlite::Error>> {
        let Setup { path, owner, options } = &self.setup;
        let store = match &mut self.store {
            Some(store) => store,
            empty @ None => empty.insert(Store::open(path, owner.clone(), options.clone())?),
        };
        let result = act(store);
        if result.is_err() {
            self.store = None;
        }
        Ok(result?)
    }
}

impl Actor for KeysActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        context.run_interval(PURGE_PERIOD, |actor, _| {
            if let Err(error) = actor.with(|store| store.purge(now_ms())) {
                let error = &*error as &dyn std::error::Error;
                tracing::warn!(error, "expired idempotency keys could not be dropped");
            }
        });
    }
}

impl Supervised for KeysActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.store = None;
    }
}

impl Handler<Begin> for KeysActor {
    type Result = Result<Said, Arc<rusqlite::Error>>;

    fn handle(&mut self, message: Begin, _: &mut Context<Self>) -> Self::Result {
        let Begin(attempt, claim, lease) = message;
        self.with(|store| store.begin(&attempt, claim, lease, now_ms()))
    }
}

impl Handler<Finish> for KeysActor {
    type Result = Result<(), Arc<rusqlite::Error>>;

    fn handle(&mut self, message: Finish, _: &mut Context<Self>) -> Self::Result {
        let Finish(attempt, claim, end) = message;
        self.with(|store| store.end(&attempt, claim, &end))
    }
}

/// The node's own store, behind its actor.
pub(super) struct Local {
    child: ChildRef<KeysActor>,
    options: IdempotencyOptions,
}

impl Local {
    pub(super) async fn start(
        supervisor: &Supervisor,
        path: &Path,
        options: IdempotencyOptions,
    ) -> Result<Self, IdempotencyError> {
        create_private(path).map_err(|error| IdempotencyError::File(Arc::new(error)))?;
        let owner = uuid::Uuid::new_v4().to_string();
        let setup = Setup { path: path.to_owned(), owner, options: options.clone() };
        let spec = ChildSpec::new("idempotency", options.mailbox, move || KeysActor {
            setup: setup.clone(),
            store: None,
        });
        let child = supervisor.spawn(spec.optional()).await;
        let child = child.map_err(|error| IdempotencyError::Spawn(Arc::new(error)))?;
        Ok(Self { child, options })
    }
}

impl super::Store for Local {
    fn begin(
        &self,
        attempt: Attempt,
        claim: u64,
        lease: Duration,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Standing, IdempotencyError>> {
        let (child, options) = (self.child.clone(), self.options.clone());
        Box::pin(async move {
            match child.ask(Begin(attempt, claim, lease), deadline).await?? {
                Said::Standing(standing) => Ok(standing),
                Said::TooMany => Err(IdempotencyError::TooMany(options.entries_max)),
                Said::TooManyOfCaller => {
                    Err(IdempotencyError::TooManyOfCaller(options.entries_per_caller_max))
                }
            }
        })
    }

    fn end(
        &self,
        attempt: Attempt,
        claim: u64,
        end: End,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<(), IdempotencyError>> {
        let child = self.child.clone();
        Box::pin(async move { Ok(child.ask(Finish(attempt, claim, end), deadline).await??) })
    }
}

fn now_ms() -> i64 {
    chrono::Utc::now().timestamp_millis()
}
