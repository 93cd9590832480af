//! The registry of nodes in Redis: one hash, in which each node writes that it is there.
//!
//! Called by the actor. Times are Redis's own, so that the clocks of the nodes do not matter.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::id::NodeId;
use crate::deadline::Deadline;
use crate::redis::{RedisClient, RedisError, Script};

/// Longest wait for one command.
const COMMAND_MAX: Duration = Duration::from_secs(1);
/// How long a node that is gone stays in the list, in milliseconds: an operator can see who is missing.
const FORGET_AFTER_MS: u64 = 24 * 3600 * 1000;

/// ARGV: node, what it says, milliseconds to forget after. Answers what stood there for the node before,
/// then node, age in milliseconds and words of each.
const SAY: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HGET', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now) .. '\n' .. ARGV[2])
local answer, all = {before or ''}, redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local at, words = string.match(all[i + 1], '^(%d+)\n(.*)$')
  if not at or now - tonumber(at) > tonumber(ARGV[3]) then
    redis.call('HDEL', KEYS[1], all[i])
  else
    answer[#answer + 1] = all[i]
    answer[#answer + 1] = string.format('%.0f', now - tonumber(at))
    answer[#answer + 1] = words
  end
end
return answer
";

/// What a node says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeWords {
    /// Different at each start.
    pub boot: Uuid,
    /// Where other nodes reach it; empty = nowhere.
    pub url: String,
    /// The version of the program.
    pub version: String,
    /// The version of policy and settings.
    pub config_version: String,
    /// Since when, in seconds since the epoch.
    pub started_at: i64,
    /// Whether it was told to stop.
    pub leaving: bool,
}

/// A node as the registry has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Which.
    pub id: NodeId,
    /// How long ago it said so, in milliseconds.
    pub age_ms: u64,
    /// What it said.
    pub words: NodeWords,
}

pub(super) struct Registry {
    client: RedisClient,
    say: Script,
    key: String,
}

impl Registry {
    pub(super) fn new(client: RedisClient) -> Self {
        let key = client.key(&["{nodes}", "registry"]);
        Self { client, say: Script::new(SAY), key }
    }

    /// Says that the node is there; answers the boot that said so last and every node there is.
    pub(super) async fn say(
        &self,
        id: &NodeId,
        words: &NodeWords,
    ) -> Result<(Option<Uuid>, Vec<Listed>), RedisError> {
        let text = serde_json::to_string(words).expect("plain data with string keys");
        let forget = FORGET_AFTER_MS.to_string();
        let args = [id.as_str(), &text, &forget];
        let deadline = Deadline::after(COMMAND_MAX);
        let answer: Vec<String> =
            self.client.script(deadline, true, &self.say, &[&self.key], &args).await?;
        let before = answer.first().and_then(|value| {
            let words: NodeWords = serde_json::from_str(value.split_once('\n')?.1).ok()?;
            Some(words.boot)
        });
        let listed = answer.get(1..).unwrap_or_default().chunks_exact(3).filter_map(|row| {
            Some(Listed {
                id: NodeId::parse(&row[0]).ok()?,
                age_ms: row[1].parse().ok()?,
                words: serde_json::from_str(&row[2]).ok()?,
            })
        });
        Ok((before, listed.collect()))
    }
}
