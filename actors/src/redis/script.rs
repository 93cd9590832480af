//! A Lua script that Redis keeps: sent by its hash, by its text when Redis does not know it.

use deadpool_redis::redis::{Cmd, Script as Hashed, ToRedisArgs, cmd};

/// A script, hashed once.
#[derive(Clone, Debug)]
pub struct Script {
    source: &'static str,
    hash: String,
}

impl Script {
    /// From its text.
    pub fn new(source: &'static str) -> Self {
        let hash = Hashed::new(source).get_hash().to_owned();
        Self { source, hash }
    }

    /// `EVALSHA`; all keys must be in one slot.
    pub(super) fn by_hash(&self, keys: &[&str], args: &impl ToRedisArgs) -> Cmd {
        invocation("EVALSHA", &self.hash, keys, args)
    }

    /// `EVAL`, which also makes Redis remember it.
    pub(super) fn by_text(&self, keys: &[&str], args: &impl ToRedisArgs) -> Cmd {
        invocation("EVAL", self.source, keys, args)
    }
}

fn invocation(verb: &str, script: &str, keys: &[&str], args: &impl ToRedisArgs) -> Cmd {
    let mut command = cmd(verb);
    command.arg(script).arg(keys.len()).arg(keys).arg(args);
    command
}
