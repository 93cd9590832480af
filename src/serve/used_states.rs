//! Which `requestState`s were used, among nodes that share a Redis: [`SharedUses`].

use std::sync::LazyLock;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::redis::{RedisClient, Script};

use crate::error::{ApiError, Code};
use crate::mcp::SharedUses;

/// The first writer of a key has used the state; asked again, it hears the same.
static SCRIPT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
         return redis.call('GET', KEYS[1]) == ARGV[1] and 1 or 0",
    )
});

/// A key per used state, which Redis forgets when the state has expired.
pub struct UsedStates {
    redis: RedisClient,
    /// Who wrote a key: this process may ask again when it did not hear the answer.
    writer: String,
}

impl UsedStates {
    /// In this Redis.
    pub fn new(redis: RedisClient) -> Self {
        Self { redis, writer: uuid::Uuid::new_v4().to_string() }
    }
}

impl SharedUses for UsedStates {
    fn use_up<'a>(
        &'a self,
        ticket: &'a str,
        life: Duration,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<bool, ApiError>> {
        async move {
            let key = self.redis.key(&["mcp", "used", ticket]);
            let args = [self.writer.clone(), life.as_millis().to_string()];
            let said = self.redis.script(deadline, true, &SCRIPT, &[&key], &args).await;
            said.map_err(|error| {
                let text = "whether this requestState was used on another node cannot be asked: Redis is away";
                ApiError::new(Code::Unavailable, text).caused_by(error)
            })
        }
        .boxed()
    }
}
