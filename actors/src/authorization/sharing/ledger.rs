//! The ledger in Redis: every fact with its rank in one hash, a counter that moves with each change, and
//! a channel on which each change is told.
//!
//! Called by the sharing actor. One script takes facts, so that ranks are compared where they are kept:
//! two nodes that write at once cannot weaken each other.

use std::time::Duration;

use serde::Deserialize;

use super::super::entry::Entry;
use crate::deadline::Deadline;
use crate::redis::redis::cmd;
use crate::redis::{RedisClient, RedisError, Script, Subscription};

/// Longest wait for one command.
const COMMAND_MAX: Duration = Duration::from_secs(2);
/// Facts read with one command, roughly.
const SCAN_COUNT: usize = 1000;

/// ARGV: channel, then field, rank and body of each fact. Answers the counter and, for each fact,
/// whether it is the one that is kept now. Ranks are compared byte by byte.
const TAKE: &str = r"
local answer, news = {0}, {}
for i = 2, #ARGV, 3 do
  local held = redis.call('HGET', KEYS[1], ARGV[i])
  local rank = held and string.match(held, '^([^\n]*)\n')
  if held == ARGV[i + 1] .. '\n' .. ARGV[i + 2] then
    answer[#answer + 1] = 1
  elseif not rank or ARGV[i + 1] > rank then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1] .. '\n' .. ARGV[i + 2])
    answer[#answer + 1] = 1
    news[#news + 1] = ARGV[i + 2]
  else
    answer[#answer + 1] = 0
  end
end
if #news > 0 then
  answer[1] = redis.call('INCR', KEYS[2])
  redis.call('PUBLISH', ARGV[1], cjson.encode({version = answer[1], facts = news}))
end
return answer
";

/// ARGV: field, what stands there, what is to stand there.
const REWRITE: &str = r"
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
end
return 1
";

/// A fact as it is kept: field, rank, body.
pub(super) type Kept = (String, String, String);

/// What a message on the channel says.
#[derive(Deserialize)]
pub(super) struct News {
    /// The counter after the change.
    pub version: i64,
    /// The bodies of the facts.
    pub facts: Vec<String>,
}

pub(super) struct RedisLedger {
    client: RedisClient,
    take: Script,
    rewrite: Script,
    facts: String,
    version: String,
    channel: String,
}

impl RedisLedger {
    pub(super) fn new(client: RedisClient) -> Self {
        // In braces: both keys share a slot in a cluster.
        let key = |part: &str| client.key(&["{authorization}", part]);
        let (facts, version, channel) = (key("facts"), key("version"), key("news"));
        let (take, rewrite) = (Script::new(TAKE), Script::new(REWRITE));
        Self { take, rewrite, facts, version, channel, client }
    }

    pub(super) fn listen(&self) -> Subscription {
        self.client.subscribe(vec![self.channel.clone()])
    }

    /// Offers facts; says which of them are kept: those that outranked what was, or that had come here
    /// on another way.
    pub(super) async fn take(&self, facts: &[Kept]) -> Result<Vec<bool>, RedisError> {
        let mut args: Vec<&str> = vec![&self.channel];
        args.extend(
            facts
                .iter()
                .flat_map(|(field, rank, body)| [field.as_str(), rank.as_str(), body.as_str()]),
        );
        let keys = [self.facts.as_str(), self.version.as_str()];
        // Offering the same fact twice is the same as once.
        let answer: Vec<i64> = self.client.script(bound(), true, &self.take, &keys, args).await?;
        Ok(answer.into_iter().skip(1).map(|taken| taken == 1).collect())
    }

    /// The counter; 0 when Redis knows nothing.
    pub(super) async fn version(&self) -> Result<i64, RedisError> {
        let version: Option<i64> =
            self.client.run(bound(), true, cmd("GET").arg(&self.version)).await?;
        Ok(version.unwrap_or(0))
    }

    /// The counter and then every fact, so that what changes meanwhile has a later number.
    pub(super) async fn read(&self) -> Result<(i64, Vec<Kept>), RedisError> {
        let version = self.version().await?;
        let (mut kept, mut cursor) = (Vec::new(), 0u64);
        loop {
            let mut scan = cmd("HSCAN");
            scan.arg(&self.facts).arg(cursor).arg("COUNT").arg(SCAN_COUNT);
            let (next, pairs): (u64, Vec<(String, String)>) =
                self.client.run(bound(), true, &scan).await?;
            kept.extend(pairs.into_iter().filter_map(|(field, value)| {
                let (rank, body) = value.split_once('\n')?;
                Some((field, rank.to_owned(), body.to_owned()))
            }));
            cursor = next;
            if cursor == 0 {
                return Ok((version, kept));
            }
        }
    }

    /// Replaces the body of a fact that is still as it was; its rank stays.
    pub(super) async fn rewrite(&self, old: &Kept, body: &str) -> Result<(), RedisError> {
        let (field, rank, old) = old;
        let (old, new) = (format!("{rank}\n{old}"), format!("{rank}\n{body}"));
        let args = [field.as_str(), &old, &new];
        self.client.script(bound(), true, &self.rewrite, &[&self.facts], &args).await
    }

    /// Forgets facts that have done their work.
    pub(super) async fn forget(&self, fields: &[String]) -> Result<(), RedisError> {
        self.client.run(bound(), true, cmd("HDEL").arg(&self.facts).arg(fields)).await
    }
}

fn bound() -> Deadline {
    Deadline::after(COMMAND_MAX)
}

pub(super) fn kept(entry: &Entry) -> Kept {
    (entry.field(), entry.rank(), entry.to_json())
}
