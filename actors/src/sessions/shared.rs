//! Sessions in Redis: any node answers for any session.
//!
//! Every operation is one script, so that caps hold over all nodes. A node remembers the sessions it
//! served: while Redis is away it goes on with those, and a Redis that lost its data gets them back.
//! What a node does not know then is an error that says "later", never "no such session", which would
//! make clients throw theirs away.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::SessionStore;
use super::error::SessionsError;
use super::options::SessionsOptions;
use super::table::Session;
use crate::deadline::Deadline;
use crate::ids::{CallerId, SessionId};
use crate::redis::{RedisClient, RedisError, Script};

/// Beginning of every script: KEYS are all sessions by end, the owner's by end, the session, the epoch.
/// The epoch is made with the data and lost with it.
macro_rules! script {
    ($body:literal) => {
        concat!(
            r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local id, owner, idle, fresh = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]
local epoch = redis.call('GET', KEYS[4])
if not epoch then
  epoch = fresh
  redis.call('SET', KEYS[4], fresh)
end
local function forget()
  redis.call('DEL', KEYS[3])
  redis.call('ZREM', KEYS[1], id)
  redis.call('ZREM', KEYS[2], id)
end
local function keep(left)
  redis.call('PEXPIRE', KEYS[3], left)
  local ends = string.format('%.0f', now + left)
  redis.call('ZADD', KEYS[1], ends, id)
  redis.call('ZADD', KEYS[2], ends, id)
end
",
            $body
        )
    };
}

/// ARGV 5…: lifetime left in ms, caps per owner and total, the session.
const INSERT: &str = script!(
    r"
local left, per_owner, total, body = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
if redis.call('EXISTS', KEYS[3]) == 1 then
  return {'1', epoch, ''}
end
for i = 1, 2 do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', string.format('%.0f', now))
end
if redis.call('ZCARD', KEYS[2]) >= per_owner then
  return {'owner', epoch, ''}
end
if redis.call('ZCARD', KEYS[1]) >= total then
  return {'total', epoch, ''}
end
redis.call('HSET', KEYS[3], 'owner', owner, 'ends', string.format('%.0f', now + left), 'body', body)
keep(math.min(idle, left))
redis.call('PEXPIRE', KEYS[2], left)
return {'1', epoch, ''}
"
);

const TOUCH: &str = script!(
    r"
local held = redis.call('HMGET', KEYS[3], 'owner', 'ends', 'body')
if not held[1] then
  return {'0', epoch, ''}
end
if held[1] ~= owner then
  return {'other', epoch, ''}
end
local left = tonumber(held[2]) - now
if left <= 0 then
  forget()
  return {'0', epoch, ''}
end
keep(math.min(idle, left))
return {'1', epoch, held[3]}
"
);

const REMOVE: &str = script!(
    r"
if redis.call('HGET', KEYS[3], 'owner') ~= owner then
  return {'0', epoch, ''}
end
forget()
return {'1', epoch, ''}
"
);

/// A session this node served.
#[derive(Clone)]
struct Known {
    session: Arc<Session>,
    /// The epoch of the Redis that had it.
    epoch: String,
    used: Instant,
    /// Used while Redis could not be asked: it may have ended there meanwhile, but not here.
    apart: bool,
}

pub(super) struct RedisSessions {
    client: RedisClient,
    options: SessionsOptions,
    insert: Script,
    touch: Script,
    remove: Script,
    known: Mutex<HashMap<SessionId, Known>>,
}

/// What a script answers: how it went, the epoch, the session.
type Answer = (String, String, String);

impl RedisSessions {
    pub(super) fn new(client: RedisClient, options: SessionsOptions) -> Self {
        let [insert, touch, remove] = [INSERT, TOUCH, REMOVE].map(Script::new);
        Self { client, options, insert, touch, remove, known: Mutex::default() }
    }

    async fn run(
        &self,
        script: &Script,
        (id, owner): (&SessionId, &CallerId),
        more: &[&str],
        deadline: Deadline,
    ) -> Result<Answer, RedisError> {
        // One slot for all: caps are counted over all sessions.
        let key = |parts: &[&str]| self.client.key(&[&["{sessions}"], parts].concat());
        let keys = [
            key(&["all"]),
            key(&["owner", owner.as_str()]),
            key(&["id", id.as_str()]),
            key(&["epoch"]),
        ];
        let keys = keys.each_ref().map(String::as_str);
        let idle = (self.options.idle_seconds * 1000).to_string();
        let fresh = uuid::Uuid::new_v4().to_string();
        let mut args = vec![id.as_str(), owner.as_str(), &idle, &fresh];
        args.extend(more);
        self.client.script(deadline, true, script, &keys, args).await
    }

    async fn put(&self, session: &Arc<Session>, deadline: Deadline) -> Result<(), SessionsError> {
        let age = chrono::Utc::now().timestamp().saturating_sub(session.created_at).max(0);
        let left = self.options.lifetime_seconds.saturating_sub(age.unsigned_abs()).max(1) * 1000;
        let more = [
            left.to_string(),
            self.options.per_owner_max.to_string(),
            self.options.total_max.to_string(),
            serde_json::to_string(&**session).expect("a session is plain data with string keys"),
        ];
        let more = more.each_ref().map(String::as_str);
        let who = (&session.id, &session.owner);
        let (how, epoch, _) = self.run(&self.insert, who, &more, deadline).await?;
        match how.as_str() {
            "owner" => Err(SessionsError::TooManyOfOwner(self.options.per_owner_max)),
            "total" => Err(SessionsError::TooMany(self.options.total_max)),
            _ => {
                self.learn(session, epoch);
                Ok(())
            }
        }
    }

    /// Redis does not have it: it ended, or Redis lost it and this node can give it back.
    async fn missing(
        &self,
        id: &SessionId,
        owner: &CallerId,
        epoch: &str,
        deadline: Deadline,
    ) -> Result<Option<Arc<Session>>, SessionsError> {
        let known = self.alive(id, owner).filter(|known| known.apart || known.epoch != epoch);
        let Some(known) = known else {
            self.known().remove(id);
            return Ok(None);
        };
        self.put(&known.session, deadline).await?;
        Ok(Some(known.session))
    }

    fn learn(&self, session: &Arc<Session>, epoch: String) {
        let now = Instant::now();
        let known = Known { session: session.clone(), epoch, used: now, apart: false };
        let mut all = self.known();
        if all.len() >= self.options.total_max {
            let idle = Duration::from_secs(self.options.idle_seconds);
            all.retain(|_, known| now.saturating_duration_since(known.used) < idle);
        }
        if all.len() < self.options.total_max || all.contains_key(&session.id) {
            all.insert(session.id.clone(), known);
        }
    }

    /// What this node knows of the session, if it has not ended by its own clock.
    fn alive(&self, id: &SessionId, owner: &CallerId) -> Option<Known> {
        let known = self.known().get(id).filter(|known| known.session.owner == *owner).cloned()?;
        let idle = Duration::from_secs(self.options.idle_seconds);
        let age = chrono::Utc::now().timestamp().saturating_sub(known.session.created_at);
        let young = u64::try_from(age).is_ok_and(|age| age < self.options.lifetime_seconds);
        (young && known.used.elapsed() < idle).then_some(known)
    }

    /// The session, used without asking Redis.
    fn apart(&self, id: &SessionId, owner: &CallerId) -> Option<Arc<Session>> {
        let session = self.alive(id, owner)?.session;
        if let Some(known) = self.known().get_mut(id) {
            (known.used, known.apart) = (Instant::now(), true);
        }
        Some(session)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<SessionId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for RedisSessions {
    async fn insert(&self, session: Arc<Session>, deadline: Deadline) -> Result<(), SessionsError> {
        self.put(&session, deadline).await
    }

    async fn get(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<Option<Arc<Session>>, SessionsError> {
        let (how, epoch, body) = match self.run(&self.touch, (id, owner), &[], deadline).await {
            Ok(answer) => answer,
            Err(error) => return self.apart(id, owner).map(Some).ok_or_else(|| error.into()),
        };
        match how.as_str() {
            "1" => {
                let session: Session = serde_json::from_str(&body).map_err(SessionsError::read)?;
                let session = Arc::new(session);
                self.learn(&session, epoch);
                Ok(Some(session))
            }
            "0" => self.missing(id, owner, &epoch, deadline).await,
            _ => Ok(None),
        }
    }

    async fn remove(
        &self,
        id: &SessionId,
        owner: &CallerId,
        deadline: Deadline,
    ) -> Result<bool, SessionsError> {
        let (how, ..) = self.run(&self.remove, (id, owner), &[], deadline).await?;
        let mut known = self.known();
        if known.get(id).is_some_and(|known| known.session.owner == *owner) {
            known.remove(id);
        }
        Ok(how == "1")
    }
}
