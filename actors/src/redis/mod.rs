//! Redis, shared by the nodes: one client for a single server, sentinels and a cluster.
//!
//! Called by what the nodes share: cache, limits, idempotency keys, sessions, jobs. Every command is
//! bounded in time: a server that is stopped, half-open or gone costs its callers at most the command's
//! time, and microseconds once the breaker is open. Refuses to repeat what may have taken effect unless
//! the caller says that it may be repeated.
//!
//! Commands of one thread share one multiplexed connection: no checkout, no hop to another thread. A
//! pool that pings at checkout would double the round trips. Futures of commands live on the heap: they are
//! large, and one allocation costs nothing beside a round trip.

mod connect;
mod error;
mod link;
mod options;
mod script;
mod subscription;
#[cfg(test)]
mod tests;
mod watch;

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
pub use deadpool_redis::redis;
use deadpool_redis::redis::{Cmd, FromRedisValue, Pipeline, ToRedisArgs, cmd, from_redis_value};
use tokio::sync::{Notify, watch as state};

use self::connect::Connector;
use self::link::Link;
use self::watch::Standing;
use crate::deadline::Deadline;
use crate::faults;
use crate::resilience::{BreakerObserver, BreakerState, Dependency, Repeat};

pub use self::error::RedisError;
pub use self::options::{Password, RedisMode, RedisOptions};
pub use self::script::Script;
pub use self::subscription::{Notice, Subscription};
pub use self::watch::RedisHealth;

/// A connection to a cluster is replaced at most this often.
const REPLACE_EVERY: Duration = Duration::from_secs(1);

/// The way to Redis. Cheap to clone; connects when first needed and again whenever it has to.
#[derive(Clone)]
pub struct RedisClient {
    inner: Arc<Inner>,
}

struct Inner {
    options: RedisOptions,
    connector: Arc<Connector>,
    slots: Vec<Slot>,
    dependency: Dependency,
    standing: state::Receiver<Standing>,
    /// A connection turned out to be of no use, or an answer came too late to be waited for.
    trouble: Notify,
    /// Whether the last answer came within the patience of those who can do without.
    prompt: AtomicBool,
    /// For work that outlives a command.
    own: Weak<Inner>,
}

/// A connection and the right to replace it.
#[derive(Default)]
struct Slot {
    link: ArcSwapOption<Link>,
    connecting: tokio::sync::Mutex<()>,
    /// A connection to a cluster is being replaced, or was just now.
    replacing: AtomicBool,
}

/// A connection of one's own, for commands that block.
pub struct Dedicated {
    link: Link,
}

impl RedisClient {
    /// Makes the client; connects in the background. Needs a runtime around it.
    ///
    /// # Errors
    /// Options that no server could satisfy; an absent server or a wrong password is not among them.
    pub fn new(options: RedisOptions, observer: BreakerObserver) -> Result<Self, RedisError> {
        if let Some(mistake) = options.mistakes().into_iter().next() {
            return Err(RedisError::Options(format!("{}: {}", mistake.key, mistake.message)));
        }
        if !options.is_configured() {
            return Err(RedisError::Options("urls is empty".to_owned()));
        }
        let connector = Arc::new(Connector::new(&options)?);
        let slots = (0..options.pool_max).map(|_| Slot::default()).collect();
        let (sender, standing) = state::channel(Standing::unknown());
        let trouble = Notify::new();
        let dependency = Dependency::new("redis", options.resilience.clone(), observer);
        let inner = Arc::new_cyclic(|own| {
            let own = own.clone();
            let prompt = AtomicBool::new(true);
            Inner { options, connector, slots, dependency, standing, trouble, prompt, own }
        });
        tokio::spawn(watch::watch(Arc::downgrade(&inner), sender));
        Ok(Self { inner })
    }

    /// Runs one command. `repeatable`: may it be sent again when nobody knows whether it took effect?
    ///
    /// # Errors
    /// Redis away or late, or the command is refused.
    pub async fn run<T: FromRedisValue>(
        &self,
        deadline: Deadline,
        repeatable: bool,
        command: &Cmd,
    ) -> Result<T, RedisError> {
        let repeat = if is_read(command) { Repeat::Reads } else { repeatable.into() };
        // A second request beside the first would queue behind it on the same connection; one after the
        // first takes the connection that is there.
        let under_way = AtomicUsize::new(0);
        let once = || {
            let (hops, here) = UnderWay::begin(&under_way);
            async move {
                let _here = here;
                self.inner.once_at(hops, command).await
            }
        };
        let value = Box::pin(self.inner.guarded(deadline, repeat, once)).await?;
        from_redis_value(value).map_err(|error| RedisError::Reply(error.into()))
    }

    /// Runs several commands in one round trip; all keys must be in one slot. Atomic when the pipeline
    /// says so.
    ///
    /// # Errors
    /// As [`RedisClient::run`].
    pub async fn pipeline<T: FromRedisValue>(
        &self,
        deadline: Deadline,
        repeatable: bool,
        pipeline: &Pipeline,
    ) -> Result<T, RedisError> {
        let once = || async {
            let (slot, link) = self.inner.link().await?;
            let answer = (*link).clone().pipeline(pipeline).await;
            self.inner.judged(slot, &link, answer)
        };
        Box::pin(self.inner.guarded(deadline, repeatable.into(), once)).await
    }

    /// Runs a script, which is atomic; all keys must be in one slot.
    ///
    /// # Errors
    /// As [`RedisClient::run`].
    pub async fn script<T: FromRedisValue>(
        &self,
        deadline: Deadline,
        repeatable: bool,
        script: &Script,
        keys: &[&str],
        args: impl ToRedisArgs,
    ) -> Result<T, RedisError> {
        let by_hash = script.by_hash(keys, &args);
        let once = || async {
            match self.inner.once(&by_hash).await {
                // It did not run: Redis has restarted or another node has taken over.
                Err(RedisError::Command(error)) if is_noscript(&error) => {
                    self.inner.once(&script.by_text(keys, &args)).await
                }
                other => other,
            }
        };
        let value = Box::pin(self.inner.guarded(deadline, repeatable.into(), once)).await?;
        from_redis_value(value).map_err(|error| RedisError::Reply(error.into()))
    }

    /// Asks for what can be done without: waits `patience_ms` at most, and not at all from the first answer
    /// that took longer until the watcher got one in time. So a silent Redis costs the calls in hand one
    /// such wait, and later ones nothing.
    ///
    /// # Errors
    /// [`RedisError::NotAsked`] while it is slow or away; otherwise those of `ask`.
    pub async fn promptly<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        ask: impl FnOnce(Deadline) -> F,
    ) -> Result<T, RedisError> {
        let inner = &*self.inner;
        if !inner.prompt.load(Ordering::Relaxed) {
            return Err(RedisError::NotAsked { retry_after: watch::ASK_EVERY });
        }
        let answer = ask(Deadline::after(Duration::from_millis(inner.options.patience_ms))).await;
        if matches!(answer, Err(RedisError::Deadline)) {
            inner.prompt.store(false, Ordering::Relaxed);
            inner.trouble.notify_one();
        }
        answer
    }

    /// A connection of one's own whose commands may take `block_max` beside the usual time.
    ///
    /// # Errors
    /// Redis away or late.
    pub async fn dedicated(
        &self,
        deadline: Deadline,
        block_max: Duration,
    ) -> Result<Dedicated, RedisError> {
        let answer_max = self.inner.command_timeout().saturating_add(block_max);
        let connect = || async {
            let link = self.inner.connector.link(answer_max).await;
            link.map_err(RedisError::connecting)
        };
        let link = Box::pin(self.inner.guarded(deadline, Repeat::AfterAnything, connect)).await?;
        Ok(Dedicated { link })
    }

    /// Listens on channels (without the prefix; use [`RedisClient::key`] for their names).
    pub fn subscribe(&self, channels: Vec<String>) -> Subscription {
        let inner = &self.inner;
        Subscription::start(inner.connector.clone(), channels, inner.command_timeout())
    }

    /// A key with the installation's prefix, its parts joined by colons. Parts in braces, `{…}`, decide
    /// the slot in a cluster: keys used together must share one.
    pub fn key(&self, parts: &[&str]) -> String {
        let mut key = self.inner.options.key_prefix.clone();
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                key.push(':');
            }
            key.push_str(part);
        }
        key
    }

    /// Whether commands on several keys must keep to one slot.
    pub fn is_cluster(&self) -> bool {
        self.inner.options.mode == RedisMode::Cluster
    }

    /// Whether it answered when last asked. Costs nothing.
    pub fn is_up(&self) -> bool {
        self.inner.standing.borrow().up == Some(true)
    }

    /// How it stood when last asked, at most about a second ago. Costs nothing.
    pub fn health(&self) -> RedisHealth {
        let standing = self.inner.standing.borrow().clone();
        RedisHealth {
            mode: self.inner.options.mode,
            up: standing.up,
            reason: standing.reason,
            for_seconds: standing.since.elapsed().as_secs_f64(),
            dependency: self.inner.dependency.snapshot(),
        }
    }

    /// Other limits of attempts, retries and breaker while it runs; see [`Dependency::reconfigure`].
    pub fn reconfigure(&self, options: &RedisOptions) {
        self.inner.dependency.reconfigure(options.resilience.clone());
    }

    /// The guard in front of it, for operators.
    pub fn dependency(&self) -> &Dependency {
        &self.inner.dependency
    }

    /// Resolves when it answers.
    pub async fn up(&self) {
        let mut standing = self.inner.standing.clone();
        // The sender lives as long as the client does.
        let _ = standing.wait_for(|standing| standing.up == Some(true)).await;
    }
}

impl fmt::Debug for RedisClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisClient").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Dedicated {
    /// Runs one command; after an error that [`RedisError::is_outage`] take a new connection.
    ///
    /// # Errors
    /// As [`RedisClient::run`]; nothing is sent twice.
    pub async fn run<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, RedisError> {
        let value = self.link.query(command).await.map_err(RedisError::command)?;
        from_redis_value(value).map_err(|error| RedisError::Reply(error.into()))
    }
}

impl Inner {
    fn command_timeout(&self) -> Duration {
        Duration::from_millis(self.options.command_timeout_ms)
    }

    async fn guarded<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        deadline: Deadline,
        repeat: Repeat,
        operation: impl FnMut() -> F,
    ) -> Result<T, RedisError> {
        let answer = self.dependency.call_as(deadline, repeat, operation).await;
        answer.map_err(RedisError::from)
    }

    async fn once(&self, command: &Cmd) -> Result<redis::Value, RedisError> {
        self.once_at(0, command).await
    }

    /// On the connection that many after this thread's own.
    async fn once_at(&self, hops: usize, command: &Cmd) -> Result<redis::Value, RedisError> {
        let (slot, link) = self.link_at(hops).await?;
        if faults::passes_with_error_later("redis.before_send").await {
            return Err(RedisError::Away(broken_pipe()));
        }
        let answer = (*link).clone().query(command).await;
        if faults::passes_with_error_later("redis.after_reply").await {
            return Err(RedisError::Unknown(broken_pipe()));
        }
        self.judged(slot, &link, answer)
    }

    /// Makes an error ours, and lets go of a connection that is of no more use.
    fn judged<T>(
        &self,
        slot: usize,
        link: &Arc<Link>,
        answer: redis::RedisResult<T>,
    ) -> Result<T, RedisError> {
        let error = match answer {
            Ok(value) => return Ok(value),
            Err(error) => RedisError::command(error),
        };
        if error.spoils_connection() && matches!(**link, Link::Cluster(_)) {
            self.replace(slot, link);
        } else if error.spoils_connection() {
            // Only this one: another caller may have replaced it already.
            self.slots[slot].link.rcu(|current| match current {
                Some(current) if Arc::ptr_eq(current, link) => None,
                other => other.clone(),
            });
            self.trouble.notify_one();
        }
        Err(error)
    }

    /// The other nodes of a cluster are well, so its connection is used until there is a new one, which
    /// knows who serves the slots now.
    fn replace(&self, slot: usize, old: &Arc<Link>) {
        let current = self.slots[slot].link.load();
        let known = current.as_ref().is_some_and(|current| Arc::ptr_eq(current, old));
        if !known || self.slots[slot].replacing.swap(true, Ordering::AcqRel) {
            return;
        }
        let Some(inner) = self.own.upgrade() else { return };
        tokio::spawn(async move {
            if let Ok(link) = inner.connector.link(inner.command_timeout()).await {
                inner.slots[slot].link.store(Some(Arc::new(link)));
            }
            tokio::time::sleep(REPLACE_EVERY).await;
            inner.slots[slot].replacing.store(false, Ordering::Release);
        });
    }

    /// This thread's connection, made if there is none.
    async fn link(&self) -> Result<(usize, Arc<Link>), RedisError> {
        self.link_at(0).await
    }

    /// The connection that many after this thread's own.
    async fn link_at(&self, hops: usize) -> Result<(usize, Arc<Link>), RedisError> {
        let index = thread_number().wrapping_add(hops) % self.slots.len();
        let slot = &self.slots[index];
        if let Some(link) = slot.link.load_full() {
            return Ok((index, link));
        }
        let _alone = slot.connecting.lock().await;
        if let Some(link) = slot.link.load_full() {
            return Ok((index, link));
        }
        let link = self.connector.link(self.command_timeout()).await;
        let link = Arc::new(link.map_err(RedisError::connecting)?);
        slot.link.store(Some(link.clone()));
        Ok((index, link))
    }

    /// Asks, and says how long the answer took. Counts for the breaker like any command; past one that is
    /// not closed, to know the reason, and then helps it to close.
    async fn probe(&self) -> Result<Duration, RedisError> {
        let bound = Duration::from_millis(self.options.connect_timeout_ms).saturating_mul(2);
        let deadline = Deadline::after(bound.saturating_add(self.command_timeout()));
        let ping = cmd("PING");
        let guarded = || self.guarded(deadline, Repeat::WithoutEffect, || self.once(&ping));
        let asked = Instant::now();
        if self.dependency.breaker().state() == BreakerState::Closed {
            return guarded().await.map(|_| asked.elapsed());
        }
        let answer = tokio::time::timeout_at(deadline.instant(), self.once(&ping)).await;
        answer.unwrap_or(Err(RedisError::Deadline))?;
        let took = asked.elapsed();
        self.dependency.close_by(deadline, || self.once(&ping)).await;
        Ok(took)
    }
}

/// Counts an attempt while it lives.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    /// With the number of those before it.
    fn begin(count: &'a AtomicUsize) -> (usize, Self) {
        (count.fetch_add(1, Ordering::Relaxed), Self(count))
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether the command only reads one key or a few and is over at once.
fn is_read(command: &Cmd) -> bool {
    const READS: [&[u8]; 6] = [b"GET", b"MGET", b"HGET", b"HMGET", b"HGETALL", b"EXISTS"];
    let name = command.args_iter().next();
    let redis::Arg::Simple(name) = name.unwrap_or(redis::Arg::Cursor) else { return false };
    READS.iter().any(|read| read.eq_ignore_ascii_case(name))
}

/// What a fault point says that a connection does.
fn broken_pipe() -> redis::RedisError {
    std::io::Error::from(std::io::ErrorKind::BrokenPipe).into()
}

fn is_noscript(error: &redis::RedisError) -> bool {
    error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript)
}

/// Threads are numbered as they come, so that each has a connection driven by its own runtime.
fn thread_number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: Cell<Option<usize>> = const { Cell::new(None) };
    }
    OWN.with(|own| {
        let number = own.get().unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed));
        own.set(Some(number));
        number
    })
}
