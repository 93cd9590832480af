//! Keeps this node's facts and those in Redis the same.
//!
//! Owns: a subscription, and the number of the last change it heard of.
//! Mailbox: none is asked; changes to be told come through a queue of 1024, and what finds no room is
//! told with the next exchange.
//! Dies when: its loop panics.
//! Restarted: by its supervisor; it subscribes and exchanges everything anew. The node serves without it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, AsyncContext, Context, Supervised, WrapFuture};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::time::Instant;

use super::super::actor::{AuthorizationActor, Export, Merge};
use super::super::entry::Entry;
use super::super::erasure::{Erasures, Fate};
use super::super::error::AuthorizationError;
use super::ledger::{Kept, News, RedisLedger, kept};
use super::{SharingStanding, Telling};
use crate::deadline::Deadline;
use crate::redis::{Notice, RedisError};
use crate::supervision::ChildRef;

/// How often the counter is compared: a message that got lost is noticed after two of these.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often everything is exchanged although nothing seems to be missing.
const EXCHANGE_EVERY: Duration = Duration::from_secs(600);
/// How long after a failed exchange the next is tried.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// Longest wait for the actor that owns the store.
const STORE_MAX: Duration = Duration::from_secs(10);
/// Facts merged or told at once.
const CHUNK: usize = 200;

/// Everything a fresh actor is made from.
#[derive(Clone)]
pub(super) struct Setup {
    pub ledger: Arc<RedisLedger>,
    pub tellings: Arc<Mutex<mpsc::Receiver<Telling>>>,
    pub authorization: ChildRef<AuthorizationActor>,
    pub standing: Arc<watch::Sender<SharingStanding>>,
}

/// Why an exchange failed.
#[derive(Debug, thiserror::Error)]
enum ExchangeError {
    #[error(transparent)]
    Redis(#[from] RedisError),
    #[error(transparent)]
    Store(#[from] AuthorizationError),
}

pub(super) struct SharingActor {
    setup: Setup,
}

impl SharingActor {
    pub(super) fn new(setup: Setup) -> Self {
        Self { setup }
    }
}

impl Actor for SharingActor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let setup = self.setup.clone();
        context.spawn(share(setup).into_actor(self));
    }
}

impl Supervised for SharingActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        *self = Self::new(self.setup.clone());
    }
}

/// How this node stands with Redis.
struct Sharer {
    setup: Setup,
    /// Whether messages are heard.
    connected: bool,
    /// Whether nothing is missing on either side.
    in_step: bool,
    /// The number of the last change that was merged.
    seen: i64,
    /// What `seen` was when the counter was last found to differ.
    suspect: Option<i64>,
    exchange_at: Instant,
}

async fn share(setup: Setup) {
    let tellings = Arc::clone(&setup.tellings);
    // The loop before this one may have panicked; its guard is gone with it.
    let mut tellings = tellings.lock().await;
    let mut subscription = setup.ledger.listen();
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let exchange_at = Instant::now();
    let mut sharer =
        Sharer { setup, connected: false, in_step: false, seen: 0, suspect: None, exchange_at };
    loop {
        tokio::select! {
            notice = subscription.next() => match notice {
                Some(notice) => sharer.hear(notice).await,
                None => return,
            },
            telling = tellings.recv() => match telling {
                Some(telling) => sharer.tell(telling).await,
                None => return,
            },
            () = tokio::time::sleep_until(sharer.exchange_at), if sharer.connected => {
                sharer.exchange().await;
            }
            _ = look.tick(), if sharer.in_step => sharer.look().await,
        }
    }
}

impl Sharer {
    async fn hear(&mut self, notice: Notice) {
        match notice {
            Notice::Gained => {
                self.connected = true;
                self.behind("exchanging", Duration::ZERO);
            }
            Notice::Lost => {
                self.connected = false;
                self.behind("redis is away", Duration::ZERO);
            }
            // Before the exchange there is nothing to add to.
            Notice::Message { .. } if !self.in_step => {}
            Notice::Message { payload, .. } => match serde_json::from_slice::<News>(&payload) {
                Ok(news) if news.version <= self.seen => {}
                Ok(news) if news.version == self.seen + 1 => {
                    let facts = news.facts.iter().filter_map(|body| Entry::from_json(body));
                    match self.merge(facts.collect()).await {
                        Ok(()) => self.seen = news.version,
                        Err(error) => self.failed(&error),
                    }
                }
                _ => self.behind("a change was missed", Duration::ZERO),
            },
        }
    }

    async fn tell(&mut self, telling: Telling) {
        if !self.in_step {
            // It is in the store: the exchange that is due will tell it.
            return;
        }
        let facts: Vec<Kept> = telling.entries.iter().map(kept).collect();
        match self.setup.ledger.take(&facts).await {
            // Nobody may be waiting any more.
            Ok(taken) => {
                drop(telling.told.send(taken));
                // What Redis holds about the erased goes with the next exchange, which is now.
                if telling.entries.iter().any(|entry| matches!(entry, Entry::Erase { .. })) {
                    self.exchange_at = Instant::now();
                }
            }
            Err(error) => self.failed(&error.into()),
        }
    }

    /// Everything in both directions: what Redis has and we lack, what we have and Redis lacks.
    async fn exchange(&mut self) {
        match self.exchanged().await {
            Ok(version) => {
                if !self.in_step {
                    tracing::info!(version, "roles, revocations and bans are shared");
                }
                (self.seen, self.in_step, self.suspect) = (version, true, None);
                self.exchange_at = Instant::now() + EXCHANGE_EVERY;
                self.say(None);
            }
            Err(error) => self.failed(&error),
        }
    }

    async fn exchanged(&self) -> Result<i64, ExchangeError> {
        let ledger = &self.setup.ledger;
        let (version, theirs) = ledger.read().await?;
        let now = chrono::Utc::now().timestamp();
        let ours = self.export().await?;
        let (mut ranks, mut over, mut news) = (HashMap::new(), Vec::new(), Vec::new());
        let entries: Vec<Option<Entry>> =
            theirs.iter().map(|(_, _, body)| Entry::from_json(body)).collect();
        let own: Vec<Entry> =
            ours.iter().filter_map(|(_, _, body)| Entry::from_json(body)).collect();
        let erasures = Erasures::of(entries.iter().flatten().chain(&own));
        for ((field, rank, body), entry) in theirs.into_iter().zip(entries) {
            match entry.map(|entry| (entry.is_over(now), erasures.fate(entry))) {
                Some((true, _) | (_, Fate::Goes)) => {
                    over.push(field);
                    continue;
                }
                Some((_, Fate::Loses(entry))) => {
                    ledger.rewrite(&(field.clone(), rank.clone(), body), &entry.to_json()).await?;
                    news.push(entry);
                }
                Some((_, Fate::Stays(entry))) => news.push(entry),
                // A newer node's business.
                None => {}
            }
            ranks.insert(field, rank);
        }
        for fields in over.chunks(CHUNK) {
            ledger.forget(fields).await?;
        }
        while !news.is_empty() {
            let rest = news.split_off(news.len().min(CHUNK));
            self.merge(std::mem::replace(&mut news, rest)).await?;
        }
        // Read before theirs were merged: what came with them, Redis has.
        let lacking: Vec<Kept> = ours
            .into_iter()
            .filter(|(field, rank, _)| ranks.get(field).is_none_or(|theirs| theirs < rank))
            .filter(|(_, _, body)| {
                Entry::from_json(body).is_some_and(|entry| {
                    !entry.is_over(now) && matches!(erasures.fate(entry), Fate::Stays(_))
                })
            })
            .collect();
        for facts in lacking.chunks(CHUNK) {
            ledger.take(facts).await?;
        }
        Ok(version)
    }

    async fn export(&self) -> Result<Vec<Kept>, ExchangeError> {
        let ours = self.setup.authorization.ask(Export, Deadline::after(STORE_MAX)).await;
        Ok(ours.map_err(AuthorizationError::from)??)
    }

    async fn merge(&self, entries: Vec<Entry>) -> Result<(), ExchangeError> {
        let now = chrono::Utc::now().timestamp();
        let entries: Vec<Entry> = entries.into_iter().filter(|e| !e.is_over(now)).collect();
        if entries.is_empty() {
            return Ok(());
        }
        let merged = self.setup.authorization.ask(Merge(entries), Deadline::after(STORE_MAX)).await;
        merged.map_err(AuthorizationError::from)??;
        Ok(())
    }

    /// Compares the counter: messages of the channel are not kept for who was not there. A difference
    /// may be a message on its way; one that stays is one that got lost.
    async fn look(&mut self) {
        match self.setup.ledger.version().await {
            Ok(version) if version == self.seen => self.suspect = None,
            Ok(_) if self.suspect == Some(self.seen) => {
                self.behind("a change was missed", Duration::ZERO);
            }
            Ok(_) => self.suspect = Some(self.seen),
            Err(error) => self.failed(&error.into()),
        }
    }

    fn failed(&mut self, error: &ExchangeError) {
        if self.in_step {
            let error = error as &dyn std::error::Error;
            tracing::warn!(error, "roles, revocations and bans are not shared for now");
        }
        self.behind(&error.to_string(), RETRY_AFTER);
    }

    fn behind(&mut self, reason: &str, retry_after: Duration) {
        self.in_step = false;
        self.exchange_at = Instant::now() + retry_after;
        self.say(Some(reason.to_owned()));
    }

    fn say(&self, reason: Option<String>) {
        let standing = SharingStanding { in_step: self.in_step, reason };
        self.setup.standing.send_replace(standing);
    }
}
