//! What a legacy session has beside its id, as long as it is in use on this node: its log level, its
//! calls in flight, its stream.
//!
//! Owns this in memory, bounded in sessions, calls and bytes. The engine's sessions decide what exists
//! and to whom it belongs; an entry here grants nothing and its loss costs a log level or a notification.
//! Called by the methods of sessions, and by whoever has something to say to one session
//! ([`LiveSessions::send`]).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;
use ultimate_mcp_actors::ids::SessionId;

use super::input::ClientCan;
use super::wire::{Response, text};
use crate::tools::events::LogLevel;

/// Sessions with an entry; beyond it the one unused for longest loses its own.
const SESSIONS_MAX: usize = 10_000;
/// Messages of one session that are kept for its stream to come back.
const KEPT_MAX: usize = 64;
/// Bytes of these messages.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Resources that one session may be subscribed to.
pub const SUBSCRIPTIONS_MAX: usize = 64;

/// The sessions in use.
#[derive(Default)]
pub struct LiveSessions(Mutex<HashMap<SessionId, Live>>);

struct Live {
    used: Instant,
    level: Option<LogLevel>,
    /// By request id, as it was written.
    calls: HashMap<String, Running>,
    calls_begun: u64,
    /// What the client declared in `initialize`.
    can: ClientCan,
    /// Our requests that wait for its responses, by id.
    asked: HashMap<String, oneshot::Sender<Option<Value>>>,
    kept: VecDeque<(u64, Arc<[u8]>)>,
    kept_bytes: usize,
    subscriptions: BTreeSet<String>,
    /// Counts changes of them.
    subscriptions_version: u64,
    /// The id of the next message.
    next: u64,
    /// Counts streams: only the newest one is served.
    stream: u64,
    moved: Arc<Notify>,
}

struct Running {
    number: u64,
    cancel: oneshot::Sender<()>,
}

impl Live {
    fn new() -> Self {
        Self {
            used: Instant::now(),
            level: None,
            calls: HashMap::new(),
            calls_begun: 0,
            can: ClientCan::default(),
            asked: HashMap::new(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            subscriptions: BTreeSet::new(),
            subscriptions_version: 0,
            next: 1,
            stream: 0,
            moved: Arc::default(),
        }
    }
}

/// A call that `notifications/cancelled` can end. Forgotten when dropped.
pub struct InFlight {
    sessions: Arc<LiveSessions>,
    session: SessionId,
    id: String,
    number: u64,
    cancelled: oneshot::Receiver<()>,
}

impl InFlight {
    /// Resolves when the client cancels the call, and only then.
    pub async fn cancelled(&mut self) {
        if (&mut self.cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut all = self.sessions.lock();
        if let Some(live) = all.get_mut(&self.session)
            && live.calls.get(&self.id).is_some_and(|call| call.number == self.number)
        {
            live.calls.remove(&self.id);
        }
    }
}

/// A request of ours to a client. Forgotten when dropped.
pub struct Asked {
    sessions: Arc<LiveSessions>,
    session: SessionId,
    /// Its id.
    pub id: String,
    answer: Option<oneshot::Receiver<Option<Value>>>,
}

impl Asked {
    /// The result; `None` for an error, and when the session ends.
    pub async fn answer(mut self) -> Option<Value> {
        self.answer.take()?.await.ok().flatten()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(live) = self.sessions.lock().get_mut(&self.session) {
            live.asked.remove(&self.id);
        }
    }
}

/// What the stream of a session has to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Send this message under this id.
    Message(u64, Arc<[u8]>),
    /// Nothing now.
    Wait,
    /// Another stream of the session took over.
    Replaced,
}

/// One stream of a session.
pub struct StreamHandle {
    session: SessionId,
    number: u64,
    /// Messages up to this id were sent.
    seen: u64,
    /// Rings when there is something to do.
    pub moved: Arc<Notify>,
}

impl LiveSessions {
    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Live>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, session: &SessionId, act: impl FnOnce(&mut Live) -> T) -> T {
        let mut all = self.lock();
        if !all.contains_key(session) && all.len() >= SESSIONS_MAX {
            let oldest = all.iter().min_by_key(|(_, live)| live.used).map(|(id, _)| id.clone());
            oldest.and_then(|id| all.remove(&id));
        }
        let live = all.entry(session.clone()).or_insert_with(Live::new);
        live.used = Instant::now();
        act(live)
    }

    /// Sets the least level of log messages (`logging/setLevel`).
    pub fn set_level(&self, session: &SessionId, level: LogLevel) {
        self.with(session, |live| live.level = Some(level));
    }

    /// The level that was set, and what the client may be asked.
    pub fn declared(&self, session: &SessionId) -> (Option<LogLevel>, ClientCan) {
        let all = self.lock();
        all.get(session).map(|live| (live.level, live.can)).unwrap_or_default()
    }

    /// Notes what may be asked of the session's client.
    pub fn set_can(&self, session: &SessionId, can: ClientCan) {
        self.with(session, |live| live.can = can);
    }

    /// Notes a request of ours to the client, under a new id.
    pub fn ask(self: &Arc<Self>, session: &SessionId) -> Asked {
        let (answered, answer) = oneshot::channel();
        let id = format!("ask-{}", uuid::Uuid::new_v4());
        self.with(session, |live| live.asked.insert(id.clone(), answered));
        let (sessions, session) = (Arc::clone(self), session.clone());
        Asked { sessions, session, id, answer: Some(answer) }
    }

    /// Hands a response of the client's to whoever asked; one that nobody waits for is ignored.
    pub fn answered(&self, session: &SessionId, response: &Response<'_>) {
        let Some(id) = text(response.id) else { return };
        let waiting = self.lock().get_mut(session).and_then(|live| live.asked.remove(&*id));
        if let Some(waiting) = waiting {
            let result = response.result.and_then(|raw| serde_json::from_str(raw.get()).ok());
            // An error means that the call has just ended.
            let _ = waiting.send(result);
        }
    }

    /// Subscribes the session to a resource; `false` when it is to as many as it may be.
    pub fn subscribe(&self, session: &SessionId, uri: &str) -> bool {
        self.with(session, |live| {
            if live.subscriptions.contains(uri) {
                return true;
            }
            if live.subscriptions.len() >= SUBSCRIPTIONS_MAX {
                return false;
            }
            live.subscriptions.insert(uri.to_owned());
            live.subscriptions_version += 1;
            live.moved.notify_one();
            true
        })
    }

    /// Ends a subscription, if there is one.
    pub fn unsubscribe(&self, session: &SessionId, uri: &str) {
        self.with(session, |live| {
            if live.subscriptions.remove(uri) {
                live.subscriptions_version += 1;
                live.moved.notify_one();
            }
        });
    }

    /// Whether the session is subscribed to this resource.
    pub fn is_subscribed(&self, session: &SessionId, uri: &str) -> bool {
        self.lock().get(session).is_some_and(|live| live.subscriptions.contains(uri))
    }

    /// The subscriptions and their version, unless it is this one.
    pub fn subscriptions(&self, session: &SessionId, known: u64) -> Option<(u64, Vec<String>)> {
        let all = self.lock();
        let live = all.get(session).filter(|live| live.subscriptions_version != known)?;
        Some((live.subscriptions_version, live.subscriptions.iter().cloned().collect()))
    }

    /// Notes a call; `None` when one of the same id is in flight, which then cannot be told apart.
    pub fn begin(self: &Arc<Self>, session: &SessionId, id: &str) -> Option<InFlight> {
        let (cancel, cancelled) = oneshot::channel();
        let number = self.with(session, |live| {
            if live.calls.contains_key(id) {
                return None;
            }
            live.calls_begun += 1;
            live.calls.insert(id.to_owned(), Running { number: live.calls_begun, cancel });
            Some(live.calls_begun)
        })?;
        let (sessions, session, id) = (Arc::clone(self), session.clone(), id.to_owned());
        Some(InFlight { sessions, session, id, number, cancelled })
    }

    /// Ends a call; one that is unknown or over is ignored (MCP, Cancellation).
    pub fn cancel(&self, session: &SessionId, id: &str) {
        let running = self.lock().get_mut(session).and_then(|live| live.calls.remove(id));
        if let Some(running) = running {
            // An error means that the call has just ended.
            let _ = running.cancel.send(());
        }
    }

    /// Says something to one session: `message` is a JSON-RPC notification. Kept for a stream that comes
    /// (back) later, the last `KEPT_MAX` of them. `false` when the session is not in use here or the
    /// message is larger than all that is kept.
    pub fn send(&self, session: &SessionId, message: &[u8]) -> bool {
        let mut all = self.lock();
        let Some(live) = all.get_mut(session).filter(|_| message.len() <= KEPT_BYTES_MAX) else {
            return false;
        };
        live.kept.push_back((live.next, message.into()));
        live.kept_bytes += message.len();
        live.next += 1;
        while live.kept.len() > KEPT_MAX || live.kept_bytes > KEPT_BYTES_MAX {
            let Some((_, gone)) = live.kept.pop_front() else { break };
            live.kept_bytes -= gone.len();
        }
        live.moved.notify_one();
        true
    }

    /// Opens the session's stream, in place of any before it; it goes on after this message id, or begins
    /// with what is said from now on.
    pub fn open(&self, session: &SessionId, after: Option<u64>) -> StreamHandle {
        self.with(session, |live| {
            live.stream += 1;
            // The stream before, if there is one, wakes and finds that it was replaced.
            live.moved.notify_one();
            live.moved = Arc::default();
            let seen = after.unwrap_or(live.next - 1);
            let (number, moved) = (live.stream, Arc::clone(&live.moved));
            StreamHandle { session: session.clone(), number, seen, moved }
        })
    }

    /// What this stream has to do next.
    pub fn next(&self, stream: &mut StreamHandle) -> Next {
        let all = self.lock();
        let Some(live) = all.get(&stream.session) else { return Next::Replaced };
        if live.stream != stream.number {
            return Next::Replaced;
        }
        match live.kept.iter().find(|(id, _)| *id > stream.seen) {
            Some((id, message)) => {
                stream.seen = *id;
                Next::Message(*id, Arc::clone(message))
            }
            None => Next::Wait,
        }
    }

    /// Forgets a session that ended; its calls run on (a call is not the session's).
    pub fn forget(&self, session: &SessionId) {
        if let Some(live) = self.lock().remove(session) {
            live.moved.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(name: &str) -> SessionId {
        SessionId::parse(name).unwrap()
    }

    fn taken(live: &LiveSessions, stream: &mut StreamHandle) -> Vec<(u64, Vec<u8>)> {
        std::iter::from_fn(|| match live.next(stream) {
            Next::Message(id, message) => Some((id, message.to_vec())),
            Next::Wait | Next::Replaced => None,
        })
        .collect()
    }

    #[tokio::test]
    async fn a_call_is_cancelled_by_its_own_session_and_id_only() {
        let live = Arc::new(LiveSessions::default());
        let (ours, theirs) = (session("a"), session("b"));
        let mut call = live.begin(&ours, "1").unwrap();
        assert!(live.begin(&ours, "1").is_none(), "an id twice in flight");
        live.cancel(&theirs, "1");
        live.cancel(&ours, "\"1\"");
        assert!(futures_util::poll!(std::pin::pin!(call.cancelled())).is_pending());
        live.cancel(&ours, "1");
        call.cancelled().await;
        drop(call);
        assert!(live.lock()[&ours].calls.is_empty());
    }

    #[test]
    fn a_stream_that_comes_back_gets_what_it_missed_within_bounds() {
        let (live, id) = (LiveSessions::default(), session("a"));
        assert!(!live.send(&id, b"before the session is in use"));
        let mut first = live.open(&id, None);
        assert!(live.send(&id, b"one") && live.send(&id, b"two"));
        assert_eq!(taken(&live, &mut first), [(1, b"one".to_vec()), (2, b"two".to_vec())]);
        let mut second = live.open(&id, Some(1));
        assert_eq!(live.next(&mut first), Next::Replaced);
        assert_eq!(taken(&live, &mut second), [(2, b"two".to_vec())]);
        for _ in 0..1000 {
            assert!(live.send(&id, &[b'x'; 1000]));
        }
        let all = taken(&live, &mut second);
        assert!(all.len() <= KEPT_MAX && all.len() * 1000 <= KEPT_BYTES_MAX);
        assert_eq!(all.last().unwrap().0, 1002);
        assert!(!live.send(&id, &vec![b'x'; KEPT_BYTES_MAX + 1]));
        live.forget(&id);
        assert_eq!(live.next(&mut second), Next::Replaced);
    }

    #[test]
    fn subscriptions_of_a_session_are_its_own_and_bounded() {
        let (live, ours, theirs) = (LiveSessions::default(), session("a"), session("b"));
        for n in 0..SUBSCRIPTIONS_MAX {
            assert!(live.subscribe(&ours, &format!("a:{n}")));
        }
        assert!(!live.subscribe(&ours, "b:1") && live.subscribe(&ours, "a:1"));
        assert!(live.is_subscribed(&ours, "a:1") && !live.is_subscribed(&theirs, "a:1"));
        let (version, uris) = live.subscriptions(&ours, 0).unwrap();
        assert_eq!(uris.len(), SUBSCRIPTIONS_MAX);
        assert!(live.subscriptions(&ours, version).is_none());
        live.unsubscribe(&ours, "a:1");
        assert!(!live.is_subscribed(&ours, "a:1") && live.subscribe(&ours, "b:1"));
        live.forget(&ours);
        assert!(!live.is_subscribed(&ours, "b:1"));
    }

    #[test]
    fn sessions_in_use_are_bounded() {
        let live = LiveSessions::default();
        for n in 0..SESSIONS_MAX + 10 {
            live.set_level(&session(&format!("s{n}")), LogLevel::Info);
        }
        assert_eq!(live.lock().len(), SESSIONS_MAX);
    }
}
