//! Keys in the Redis the nodes share.
//!
//! ```text
//! <prefix>idem:{<caller>}:<key>   hash: request, state, claim, lease, answer; gone after ttl_seconds
//! <prefix>idem:{<caller>}         sorted set of the caller's keys by expiry, to count them
//! ```
//! `<caller>` and `<key>` are digests. Time is that of Redis, one for all nodes. A key is as durable as
//! Redis makes it: with `appendfsync always` and a replica that acknowledged, it survives what the node's
//! own file would.

use std::sync::LazyLock;
use std::time::Duration;

use aws_lc_rs::digest;
use futures_util::future::BoxFuture;

use super::error::IdempotencyError;
use super::options::IdempotencyOptions;
use super::{Attempt, End, Standing, Store};
use crate::deadline::Deadline;
use crate::hex;
use crate::redis::redis::{ErrorKind, RedisError as Wire};
use crate::redis::{RedisClient, RedisError, Script};

/// ARGV: request, claim, lease, ttl, most keys.
const BEGIN: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local row = redis.call('HMGET', KEYS[1], 'request', 'state', 'claim', 'lease')
if row[1] then
  if row[1] ~= ARGV[1] then return {'different'} end
  if row[3] == ARGV[2] then return {'fresh'} end
  if row[2] == 'answered' then return {'answered', redis.call('HGET', KEYS[1], 'answer')} end
  if row[2] == 'running' and tonumber(row[4]) > now then return {'running'} end
  return {'unknown'}
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[5]) then return {'full'} end
local lease = string.format('%.0f', now + ARGV[3])
local expires = string.format('%.0f', now + ARGV[4])
redis.call('HSET', KEYS[1], 'request', ARGV[1], 'state', 'running', 'claim', ARGV[2], 'lease', lease)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('ZADD', KEYS[2], expires, KEYS[1])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return {'fresh'}
";

/// ARGV: claim, end, answer (when there is one).
const END: &str = r"
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return 0 end
if ARGV[2] == 'released' then
  if redis.call('HGET', KEYS[1], 'state') == 'running' then
    redis.call('DEL', KEYS[1])
    redis.call('ZREM', KEYS[2], KEYS[1])
  end
  return 1
end
redis.call('HSET', KEYS[1], 'state', ARGV[2])
if ARGV[3] then redis.call('HSET', KEYS[1], 'answer', ARGV[3]) end
return 1
";

static BEGIN_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(BEGIN));
static END_SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(END));

pub(super) struct Shared {
    redis: RedisClient,
    options: IdempotencyOptions,
}

impl Shared {
    pub(super) fn new(redis: RedisClient, options: IdempotencyOptions) -> Self {
        Self { redis, options }
    }

    /// Of the attempt, and of the caller's set.
    fn keys(&self, attempt: &Attempt) -> (String, String) {
        let tag = format!("{{{}}}", digest_of(attempt.caller.as_str()));
        let key = digest_of(attempt.key.as_str());
        (self.redis.key(&["idem", &tag, &key]), self.redis.key(&["idem", &tag]))
    }
}

impl Store for Shared {
    fn begin(
        &self,
        attempt: Attempt,
        claim: u64,
        lease: Duration,
        deadline: Deadline,
    ) -> BoxFuture<'static, Result<Standing, IdempotencyError>> {
        let (row, set) = self.keys(&attempt);
        let most = self.options.entries_per_caller_max;
        let args: [Vec<u8>; 5] = [
            attempt.request.to_vec(),
            claim.to_string().into(),
            lease.as_millis().to_string().into(),
            (self.options.ttl_seconds * 1000).to_string().into(),
            most.to_string().into(),
        ];
        let redis = self.redis.clone();
        Box::pin(async move {
            let keys = [row.as_str(), set.as_str()];
            // Sent again it finds its own claim.
            let said: Vec<Option<Vec<u8>>> =
                redis.script(deadline, true, &BEGIN_SCRIPT, &keys, &args[..]).await?;
            let mut said = said.into_iter();
            match said.next().flatten().as_deref() {
                Some(b"fresh") => Ok(Standing::Fresh),
                Some(b"answered") => Ok(Standing::Answered(said.next().flatten())),
                Some(b"running") => Ok(Standing::Running),
                Some(b"unknown") => Ok(Standing::Unknown),
                Some(b"different") => Ok(Standing::Different),
                Some(b"full") => Err(IdempotencyError::TooManyOfCaller(most)),
                _ => {
                    let odd = (ErrorKind::UnexpectedReturnType, "not a word of the script");
                    Err(RedisError::Reply(Wire::from(odd)).into())
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
        let (row, set) = self.keys(&attempt);
        let mut args: Vec<Vec<u8>> = vec![claim.to_string().into()];
        match end {
            End::Answered(answer) => {
                args.push(b"answered".to_vec());
                args.extend(answer);
            }
            End::Released => args.push(b"released".to_vec()),
            End::Unknown => args.push(b"unknown".to_vec()),
        }
        let redis = self.redis.clone();
        Box::pin(async move {
            let keys = [row.as_str(), set.as_str()];
            let _: i64 = redis.script(deadline, true, &END_SCRIPT, &keys, &args[..]).await?;
            Ok(())
        })
    }
}

/// 128 bits of a SHA-256: any text becomes a key, and no two share one by chance.
fn digest_of(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    hex::encode(&digest.as_ref()[..16])
}
