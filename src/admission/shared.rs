//! Rate limits that all nodes keep together: the same GCRA as [`super::rate`], in one script.
//!
//! Called by admission when the nodes share a Redis. Both buckets of a call, that for everything and that
//! for the tool, are one round trip. Answers `None` when Redis cannot be asked; the node then counts for
//! itself. Refuses nothing on its own account: buckets that are full again expire in Redis.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_actors::redis::{RedisClient, RedisError, Script};

use crate::tools::hash::sha256_hex;

/// Length of the caller's digest in keys; enough that no two callers share one by chance.
const CALLER_DIGITS: usize = 32;

/// One interval is what one call costs; a bucket of n calls per minute holds n. Times are whole
/// microseconds, which a Lua number holds exactly until the year 2255.
const SOURCE: &str = r"
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000000 + time[2]
end
for bucket = 1, 2 do
  local rate = tonumber(ARGV[bucket + 1])
  local interval = math.floor(60000000 / rate)
  local full_at = tonumber(redis.call('GET', KEYS[bucket]) or now)
  local earliest = full_at - interval * (rate - 1)
  if now < earliest then
    return {bucket, earliest - now}
  end
  full_at = math.max(full_at, now) + interval
  local lives_ms = math.ceil((full_at - now) / 1000)
  redis.call('SET', KEYS[bucket], string.format('%.0f', full_at), 'PX', lives_ms)
end
return {0, 0}
";

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(SOURCE));

/// Which of a call's two buckets is empty, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Both had room.
    Both,
    /// The bucket for everything is empty.
    NotOfAll(Duration),
    /// The tool's is; the call was taken out of the one for everything all the same.
    NotOfTool(Duration),
}

/// All buckets of all nodes. Cheap to clone.
#[derive(Clone)]
pub(super) struct SharedRates {
    redis: RedisClient,
}

impl SharedRates {
    pub(super) fn new(redis: RedisClient) -> Self {
        Self { redis }
    }

    /// Takes one call out of both buckets; `None` when Redis cannot be asked.
    pub(super) async fn take(
        &self,
        caller: &CallerId,
        tool: &str,
        (for_all, for_tool): (NonZeroU32, NonZeroU32),
    ) -> Option<Taken> {
        match self.take_at(caller, tool, (for_all, for_tool), None).await {
            Ok(taken) => Some(taken),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "this node counts for itself");
                None
            }
        }
    }

    /// By the clock of Redis, which is one for all nodes, or at a given time.
    async fn take_at(
        &self,
        caller: &CallerId,
        tool: &str,
        (for_all, for_tool): (NonZeroU32, NonZeroU32),
        now_us: Option<u64>,
    ) -> Result<Taken, RedisError> {
        // In braces: both buckets of a caller are in one slot. A digest, so that any name is a key.
        let digest = sha256_hex(caller.as_str().as_bytes());
        let tag = format!("{{{}}}", &digest[..CALLER_DIGITS]);
        let (all_rate, tool_rate) = (for_all.to_string(), for_tool.to_string());
        let all = self.redis.key(&["rate", &tag, "", &all_rate]);
        let own = self.redis.key(&["rate", &tag, tool, &tool_rate]);
        let now = now_us.map_or(String::new(), |now| now.to_string());
        let (keys, args) = ([all.as_str(), own.as_str()], [now, all_rate, tool_rate]);
        // Not repeated when nobody knows: a call must not be counted twice.
        let ask = |deadline| self.redis.script(deadline, false, &SCRIPT, &keys, &args);
        let (bucket, wait_us): (u8, u64) = self.redis.promptly(ask).await?;
        let wait = Duration::from_micros(wait_us);
        Ok(match bucket {
            0 => Taken::Both,
            1 => Taken::NotOfAll(wait),
            _ => Taken::NotOfTool(wait),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use governor::clock::FakeRelativeClock;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, TestRunner};
    use ultimate_mcp_actors::redis::{RedisMode, RedisOptions};
    use ultimate_mcp_testkit::{Redis, RedisCluster};

    use super::super::rate::{Limited, Rates};
    use super::*;

    fn rates(urls: Vec<String>, mode: RedisMode) -> SharedRates {
        // More patience than anybody needs: a busy machine must not look like a slow Redis.
        with(RedisOptions {
            command_timeout_ms: 5_000,
            patience_ms: 5_000,
            urls,
            mode,
            ..Default::default()
        })
    }

    fn with(options: RedisOptions) -> SharedRates {
        SharedRates::new(RedisClient::new(options, Arc::new(|_: &str, _| {})).unwrap())
    }

    fn caller(name: &str) -> CallerId {
        CallerId::parse(name).unwrap()
    }

    fn rate(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    /// What a node that counts for itself says.
    fn local(
        rates: &Rates<FakeRelativeClock>,
        caller: &CallerId,
        tool: &'static str,
        limits: (u32, u32),
    ) -> Taken {
        let wait = |limited| match limited {
            Limited::Until(wait) => wait,
            Limited::Full => panic!("few callers"),
        };
        if let Err(limited) = rates.take(caller, "", rate(limits.0)) {
            return Taken::NotOfAll(wait(limited));
        }
        match rates.take(caller, tool, rate(limits.1)) {
            Ok(()) => Taken::Both,
            Err(limited) => Taken::NotOfTool(wait(limited)),
        }
    }

    /// Rates that divide a minute into whole microseconds; others differ by less than one per call.
    const RATES: [u32; 8] = [1, 2, 3, 6, 20, 60, 240, 600];

    #[test]
    fn one_node_and_all_nodes_decide_alike() {
        let redis = Redis::start();
        let system = actix_rt::System::new();
        let shared = system.block_on(async { rates(vec![redis.url()], RedisMode::Single) });
        let case = std::cell::Cell::new(0);
        let steps = proptest::collection::vec((0u64..40_000_000, 0..3usize, 0..2usize), 1..60);
        let limits = (0..RATES.len(), 0..RATES.len());
        let mut runner = TestRunner::new(Config { cases: 40, ..Config::default() });
        let outcome = runner.run(&(steps, limits), |(steps, (all, own))| {
            let case = case.replace(case.get() + 1);
            let clock = FakeRelativeClock::default();
            let alone = Rates::new(1000, clock.clone());
            // Far from the present, so that what is stored does not expire by the server's clock.
            let mut now_us = 1_000_000_000_000_000;
            for (index, (pause_us, who, tool)) in steps.into_iter().enumerate() {
                // Mostly bursts, sometimes a pause.
                let pause_us = if index % 4 == 0 { pause_us } else { pause_us % 1000 };
                now_us += pause_us;
                clock.advance(Duration::from_micros(pause_us));
                let who = caller(&format!("{case}-{who}"));
                let tool = ["lint", "run"][tool];
                let limits = (RATES[all], RATES[own]);
                let mine = local(&alone, &who, tool, limits);
                let rates = (rate(limits.0), rate(limits.1));
                let ours = system
                    .block_on(shared.take_at(&who, tool, rates, Some(now_us)))
                    .map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
                prop_assert_eq!(mine, ours, "step {} of {:?}", index, limits);
            }
            Ok(())
        });
        outcome.unwrap();
    }

    #[actix_rt::test]
    async fn nodes_share_one_bucket_and_it_is_one_round_trip() {
        let redis = Redis::start();
        let nodes = [0, 1, 2].map(|_| rates(vec![redis.url()], RedisMode::Single));
        let limits = (rate(60), rate(30));
        let mut admitted = 0;
        for n in 0..60 {
            let taken = nodes[n % 3].take(&caller("ada"), "t", limits).await.unwrap();
            admitted += usize::from(taken == Taken::Both);
        }
        assert!((30..=31).contains(&admitted), "{admitted}");
        let stats = redis.cli(&["info", "commandstats"]);
        let calls = |verb: &str| {
            let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{verb}:")));
            line.and_then(|line| line.split(['=', ',']).nth(1)?.parse::<u32>().ok()).unwrap_or(0)
        };
        assert_eq!(calls("evalsha") + calls("eval"), 60 + 1, "one unknown script was sent again");
    }

    #[actix_rt::test]
    async fn both_buckets_are_in_one_slot_of_a_cluster_whatever_the_caller_is_called() {
        let cluster = RedisCluster::start();
        let shared = rates(cluster.urls(), RedisMode::Cluster);
        for name in ["ada", "b}o{b", "a:b", "x{y}z"] {
            let Ok(who) = CallerId::parse(name) else { continue };
            let taken = shared.take(&who, "t", (rate(2), rate(1))).await;
            assert_eq!(taken, Some(Taken::Both), "{name}");
            let taken = shared.take(&who, "t", (rate(2), rate(1))).await;
            assert!(matches!(taken, Some(Taken::NotOfTool(_))), "{name}");
            let taken = shared.take(&who, "t", (rate(2), rate(1))).await;
            assert!(matches!(taken, Some(Taken::NotOfAll(_))), "{name}");
        }
    }

    #[actix_rt::test]
    async fn without_redis_nobody_waits_long_and_soon_nobody_waits() {
        let redis = Redis::start();
        let shared = with(RedisOptions {
            urls: vec![redis.url()],
            command_timeout_ms: 300,
            ..Default::default()
        });
        let take = || async { shared.take(&caller("ada"), "t", (rate(60), rate(60))).await };
        let started = Instant::now();
        while take().await.is_none() {
            assert!(started.elapsed() < Duration::from_secs(10));
            // The connection is made on this thread too.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        redis.pause();
        for _ in 0..10 {
            let asked = Instant::now();
            assert_eq!(take().await, None);
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
        let asked = Instant::now();
        assert_eq!(take().await, None);
        assert!(asked.elapsed() < Duration::from_millis(100), "{:?}", asked.elapsed());
        redis.resume();
        let started = Instant::now();
        while take().await.is_none() {
            assert!(started.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
