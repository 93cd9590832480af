//! The second tier: the same entries in Redis, for all nodes.
//!
//! ```text
//! <prefix>cache:<namespace>:gen                generation, a random number; written by invalidations
//! <prefix>cache:<namespace>:{<sha-256>}        value with its generation; gone after its life
//! <prefix>cache:<namespace>:{<sha-256>}:lease  who computes it; gone after LEASE
//! channel <prefix>cache:invalidated            "<namespace> <generation>"
//! ```
//! A value counts only if its generation is the one read in the same round trip. Called by the store.
//! Never fails its callers: without Redis every look is a miss and every write is dropped and counted.

use std::sync::Arc;
use std::time::Duration;

use super::entry::{Entry, token};
use super::stats::Namespace;
use crate::deadline::Deadline;
use crate::hex;
use crate::redis::redis::{cmd, pipe};
use crate::redis::{RedisClient, RedisError};

/// How long one node may compute before others stop waiting for it.
const LEASE: Duration = Duration::from_secs(5);

/// How long a node waits for another's result before it computes itself.
pub(super) const LEASE_WAIT: Duration = Duration::from_secs(1);

/// How often it looks meanwhile.
pub(super) const LEASE_LOOK: Duration = Duration::from_millis(20);

/// What a look found.
pub(super) struct Found {
    /// The namespace's generation, as of this very moment.
    pub(super) generation: u64,
    /// The value, if it is of that generation.
    pub(super) entry: Option<Entry>,
}

#[derive(Clone)]
pub(super) struct Shared {
    redis: RedisClient,
    namespace: Namespace,
    generation: Arc<str>,
    /// What every value's key begins with.
    values: Arc<str>,
    patience: Duration,
}

/// The keys of one entry.
pub(super) struct Keys {
    generation: Arc<str>,
    value: String,
}

impl Shared {
    pub(super) fn new(redis: RedisClient, namespace: Namespace) -> Self {
        let key = |last: &str| Arc::from(redis.key(&["cache", namespace.name(), last]));
        let (generation, values) = (key("gen"), key(""));
        // Longer than the client's own limits, so that its verdict counts and the breaker learns.
        Self { redis, namespace, generation, values, patience: Duration::from_secs(3) }
    }

    pub(super) fn client(&self) -> &RedisClient {
        &self.redis
    }

    pub(super) fn keys(&self, digest: &[u8; 32]) -> Keys {
        let value = [&*self.values, "{", &hex::encode(digest), "}"].concat();
        Keys { generation: self.generation.clone(), value }
    }

    /// Generation and value in one round trip.
    pub(super) async fn look(&self, keys: &Keys, lives_max: Duration) -> Result<Found, RedisError> {
        self.redis.promptly(|deadline| self.look_by(deadline, keys, lives_max)).await
    }

    async fn look_by(
        &self,
        deadline: Deadline,
        keys: &Keys,
        lives_max: Duration,
    ) -> Result<Found, RedisError> {
        type Two = (Option<u64>, Option<Vec<u8>>);
        let (generation, bytes): Two = match self.redis.is_cluster() {
            false => {
                let mut both = cmd("MGET");
                both.arg(&*keys.generation).arg(&keys.value);
                self.redis.run(deadline, false, &both).await?
            }
            // Two slots, two nodes, asked at the same time.
            true => {
                let (mut first, mut second) = (cmd("GET"), cmd("GET"));
                first.arg(&*keys.generation);
                second.arg(&keys.value);
                futures_util::try_join!(
                    self.redis.run(deadline, false, &first),
                    self.redis.run(deadline, false, &second),
                )?
            }
        };
        match generation {
            Some(generation) => {
                let entry = bytes.and_then(|b| Entry::from_bytes(&b, generation, lives_max));
                Ok(Found { generation, entry })
            }
            // Never written, or lost: nothing that is there can be trusted.
            None => {
                Ok(Found { generation: self.begin(deadline, &keys.generation).await?, entry: None })
            }
        }
    }

    /// The namespace's generation; begun if there is none.
    pub(super) async fn generation(&self) -> Result<u64, RedisError> {
        let mut get = cmd("GET");
        get.arg(&*self.generation);
        match self.redis.run(self.deadline(), true, &get).await? {
            Some(generation) => Ok(generation),
            None => self.begin(self.deadline(), &self.generation).await,
        }
    }

    /// Of several nodes that begin at once one wins.
    async fn begin(&self, deadline: Deadline, key: &str) -> Result<u64, RedisError> {
        let mut both = pipe();
        both.cmd("SET").arg(key).arg(token()).arg("NX").ignore().cmd("GET").arg(key);
        let (generation,): (u64,) = self.redis.pipeline(deadline, true, &both).await?;
        Ok(generation)
    }

    /// Makes everything stored before count no more, and tells the other nodes.
    pub(super) async fn renew(&self, to: u64) -> Result<(), RedisError> {
        self.renew_by(self.deadline(), to).await
    }

    /// The same for a writer, who does not wait for a slow Redis: the others hear of it later then.
    pub(super) async fn renew_promptly(&self, to: u64) -> Result<(), RedisError> {
        self.redis.promptly(|deadline| self.renew_by(deadline, to)).await
    }

    async fn renew_by(&self, deadline: Deadline, to: u64) -> Result<(), RedisError> {
        let mut set = cmd("SET");
        set.arg(&*self.generation).arg(to);
        // Repeating it would only drop what was stored in between.
        self.redis.run::<()>(deadline, true, &set).await?;
        let mut tell = cmd("PUBLISH");
        tell.arg(channel(&self.redis)).arg(format!("{} {to}", self.namespace.name()));
        // Nodes that do not hear it look by themselves every second.
        let _ = self.redis.run::<i64>(deadline, true, &tell).await;
        Ok(())
    }

    pub(super) async fn store(
        &self,
        keys: &Keys,
        generation: u64,
        entry: &Entry,
    ) -> Result<(), RedisError> {
        let lives_ms = entry.remaining().as_millis() as u64;
        if lives_ms == 0 {
            return Ok(());
        }
        let mut set = cmd("SET");
        set.arg(&keys.value).arg(entry.to_bytes(generation)).arg("PX").arg(lives_ms);
        self.redis.run(self.deadline(), false, &set).await
    }

    /// The right to compute this key, for one node at a time.
    pub(super) async fn lease(&self, keys: &Keys) -> Result<bool, RedisError> {
        let mut set = cmd("SET");
        set.arg(lease_key(keys)).arg(1).arg("NX").arg("PX").arg(LEASE.as_millis() as u64);
        let ask = |deadline| self.redis.run(deadline, false, &set);
        let taken: Option<String> = self.redis.promptly(ask).await?;
        Ok(taken.is_some())
    }

    /// Lets the next one compute. Not waited for by anybody who has the value.
    pub(super) async fn release(&self, keys: &Keys) {
        let mut delete = cmd("DEL");
        delete.arg(lease_key(keys));
        let _ = self.redis.run::<i64>(self.deadline(), false, &delete).await;
    }

    fn deadline(&self) -> Deadline {
        Deadline::after(self.patience)
    }
}

/// Where nodes tell each other of invalidations.
pub(super) fn channel(redis: &RedisClient) -> String {
    redis.key(&["cache", "invalidated"])
}

fn lease_key(keys: &Keys) -> String {
    format!("{}:lease", keys.value)
}
