//! What a running call says before its answer: progress and log messages, for clients that asked.
//!
//! Owns one bounded queue per such call. Tools write into it and never wait: when the reader is slow, a
//! new progress replaces the one that waits, text of the same logger is joined to the text before it,
//! and what still does not fit is dropped and counted; the reader is told how much. The answer itself
//! never goes this way, so nothing is lost that a client cannot read in it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Most events of one call that wait for their reader.
pub const EVENTS_WAITING_MAX: usize = 64;
/// Most bytes of text that wait with them.
pub const BYTES_WAITING_MAX: usize = 256 * 1024;
/// Text is not joined beyond this length, in bytes.
const JOINED_BYTES_MAX: usize = 32 * 1024;

/// Severity of a log message (RFC 5424, as MCP names it), least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// For who develops the tool.
    Debug,
    /// Ordinary output.
    Info,
    /// Ordinary but worth noticing.
    Notice,
    /// Something may be wrong.
    Warning,
    /// Something is wrong.
    Error,
    /// A part does not work.
    Critical,
    /// Somebody must act now.
    Alert,
    /// Nothing works.
    Emergency,
}

impl LogLevel {
    /// Every level, least first.
    pub const ALL: [LogLevel; 8] = [
        LogLevel::Debug,
        LogLevel::Info,
        LogLevel::Notice,
        LogLevel::Warning,
        LogLevel::Error,
        LogLevel::Critical,
        LogLevel::Alert,
        LogLevel::Emergency,
    ];

    /// The level of this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == name)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Debug => "debug",
            LogLevel::Info => "info",
            LogLevel::Notice => "notice",
            LogLevel::Warning => "warning",
            LogLevel::Error => "error",
            LogLevel::Critical => "critical",
            LogLevel::Alert => "alert",
            LogLevel::Emergency => "emergency",
        }
    }
}

/// One event of a running call.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEvent {
    /// How far it is.
    Progress {
        /// Larger than in every event before.
        progress: f64,
        /// What `progress` will be at the end, if that is known.
        total: Option<f64>,
        /// What is being done.
        message: Option<String>,
    },
    /// Something to read.
    Log {
        /// How severe it is.
        level: LogLevel,
        /// Which part says it.
        logger: &'static str,
        /// What it says.
        text: String,
    },
}

impl CallEvent {
    fn bytes(&self) -> usize {
        match self {
            CallEvent::Progress { message, .. } => message.as_ref().map_or(0, String::len),
            CallEvent::Log { text, .. } => text.len(),
        }
    }
}

/// What a client wants to hear while its call runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Progress.
    pub progress: bool,
    /// Log messages of this level and above.
    pub level: Option<LogLevel>,
}

/// Where a tool writes its events. Cheap to clone; never waits, never fails.
#[derive(Clone)]
pub struct EventSink(Arc<Shared>);

/// Where the events are read. One reader per call.
pub struct Events(Arc<Shared>);

struct Shared {
    wanted: Wanted,
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<CallEvent>,
    bytes: usize,
    /// The last progress that was taken in.
    progress: Option<f64>,
    dropped: Dropped,
}

/// What did not fit since the reader was told last.
#[derive(Default)]
struct Dropped {
    messages: u64,
    bytes: u64,
}

/// A queue for what is wanted; `None` when nothing is.
pub fn channel(wanted: Wanted) -> Option<(EventSink, Events)> {
    if wanted == Wanted::default() {
        return None;
    }
    let shared = Shared { wanted, queue: Mutex::default(), filled: Notify::new() };
    let shared = Arc::new(shared);
    Some((EventSink(Arc::clone(&shared)), Events(shared)))
}

impl EventSink {
    /// Whether progress is read at all.
    pub fn wants_progress(&self) -> bool {
        self.0.wanted.progress
    }

    /// Whether log messages of this level are read at all.
    pub fn wants_log(&self, level: LogLevel) -> bool {
        self.0.wanted.level.is_some_and(|least| level >= least)
    }

    /// Says how far the call is. What is not larger than what was said before is ignored (MCP, Progress:
    /// the value MUST increase); a progress that nobody has read yet is replaced.
    pub fn progress(&self, progress: f64, total: Option<f64>, message: Option<String>) {
        if !self.wants_progress() || !progress.is_finite() {
            return;
        }
        let mut queue = self.0.lock();
        if queue.progress.is_some_and(|before| progress <= before) {
            return;
        }
        queue.progress = Some(progress);
        queue.remove_progress();
        // There is always room for the one progress: it is the sign of life.
        queue.push(CallEvent::Progress { progress, total, message });
        drop(queue);
        self.0.filled.notify_one();
    }

    /// Says something. Text right behind unread text of the same logger and level is joined to it.
    pub fn log(&self, level: LogLevel, logger: &'static str, text: String) {
        if !self.wants_log(level) || text.is_empty() {
            return;
        }
        let warns = self.wants_log(LogLevel::Warning);
        self.0.lock().log(level, logger, text, warns);
        self.0.filled.notify_one();
    }
}

impl Events {
    /// Waits until there is something to [`Events::take`].
    pub async fn ready(&self) {
        while self.is_empty() {
            self.0.filled.notified().await;
        }
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        let queue = self.0.lock();
        queue.events.is_empty() && queue.dropped.messages == 0
    }

    /// The next event.
    pub fn take(&self) -> Option<CallEvent> {
        let warns = self.0.wanted.level.is_some_and(|least| LogLevel::Warning >= least);
        let mut queue = self.0.lock();
        if let Some(event) = queue.events.pop_front() {
            queue.bytes -= event.bytes();
            return Some(event);
        }
        queue.loss().filter(|_| warns)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn log(&mut self, level: LogLevel, logger: &'static str, text: String, warns: bool) {
        if self.bytes + text.len() > BYTES_WAITING_MAX {
            return self.drop_text(&text);
        }
        if let Some(CallEvent::Log { level: l, logger: g, text: before }) = self.events.back_mut()
            && (*l, *g) == (level, logger)
            && self.dropped.messages == 0
            && before.len() + text.len() <= JOINED_BYTES_MAX
        {
            before.push_str(&text);
            self.bytes += text.len();
            return;
        }
        if self.events.len() >= EVENTS_WAITING_MAX {
            return self.drop_text(&text);
        }
        // What was lost stands where it is missing.
        if let Some(loss) = self.loss().filter(|_| warns) {
            self.push(loss);
        }
        self.push(CallEvent::Log { level, logger, text });
    }

    fn push(&mut self, event: CallEvent) {
        self.bytes += event.bytes();
        self.events.push_back(event);
    }

    fn remove_progress(&mut self) {
        let is_progress = |event: &CallEvent| matches!(event, CallEvent::Progress { .. });
        if let Some(at) = self.events.iter().position(is_progress)
            && let Some(event) = self.events.remove(at)
        {
            self.bytes -= event.bytes();
        }
    }

    fn drop_text(&mut self, text: &str) {
        self.dropped.messages += 1;
        self.dropped.bytes += text.len() as u64;
    }

    fn loss(&mut self) -> Option<CallEvent> {
        let Dropped { messages, bytes } = std::mem::take(&mut self.dropped);
        (messages > 0).then(|| CallEvent::Log {
            level: LogLevel::Warning,
            logger: "events",
            text: format!(
                "{messages} messages ({bytes} bytes) were not sent: they came faster than they \
                 were read; the result has the whole output"
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn open(level: Option<LogLevel>) -> (EventSink, Events) {
        channel(Wanted { progress: true, level }).unwrap()
    }

    fn all(events: &Events) -> Vec<CallEvent> {
        std::iter::from_fn(|| events.take()).collect()
    }

    fn info(sink: &EventSink, logger: &'static str, text: &str) {
        sink.log(LogLevel::Info, logger, text.to_owned());
    }

    #[test]
    fn who_asked_for_nothing_has_no_queue_and_levels_below_the_asked_one_are_not_kept() {
        assert!(channel(Wanted::default()).is_none());
        let (sink, events) = open(Some(LogLevel::Warning));
        info(&sink, "a", "quiet");
        sink.log(LogLevel::Error, "a", "loud".into());
        assert_eq!(all(&events).len(), 1);
        let (sink, events) =
            channel(Wanted { progress: false, level: None.or(Some(LogLevel::Info)) }).unwrap();
        sink.progress(1.0, None, None);
        assert!(events.is_empty());
    }

    #[test]
    fn progress_only_ever_increases_and_unread_progress_is_replaced() {
        let (sink, events) = open(None);
        for value in [1.0, 1.0, 0.5, f64::NAN, 2.0] {
            sink.progress(value, None, None);
        }
        assert!(matches!(all(&events)[..], [CallEvent::Progress { progress: 2.0, .. }]));
        sink.progress(2.0, None, None);
        assert!(events.is_empty());
    }

    #[test]
    fn text_of_one_logger_is_joined_and_of_two_is_not() {
        let (sink, events) = open(Some(LogLevel::Debug));
        for (logger, text) in [("out", "a"), ("out", "b"), ("err", "c"), ("out", "d")] {
            info(&sink, logger, text);
        }
        let texts: Vec<_> = all(&events)
            .into_iter()
            .map(|event| match event {
                CallEvent::Log { text, .. } => text,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(texts, ["ab", "c", "d"]);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told_where_it_is_missing() {
        let (sink, events) = open(Some(LogLevel::Debug));
        let large = "x".repeat(BYTES_WAITING_MAX);
        info(&sink, "out", &large);
        info(&sink, "err", "lost");
        assert!(matches!(events.take(), Some(CallEvent::Log { text, .. }) if text == large));
        info(&sink, "out", "after");
        let rest = all(&events);
        let CallEvent::Log { level, text, .. } = &rest[0] else { panic!("{rest:?}") };
        assert_eq!(*level, LogLevel::Warning);
        assert!(text.starts_with("1 messages (4 bytes)"), "{text}");
        assert!(matches!(&rest[1], CallEvent::Log { text, .. } if text == "after"));
    }

    #[tokio::test]
    async fn a_reader_waits_for_the_next_event_only() {
        let (sink, events) = open(None);
        let mut ready = Box::pin(events.ready());
        assert!(futures_util::poll!(ready.as_mut()).is_pending());
        sink.progress(1.0, None, None);
        ready.await;
    }

    proptest! {
        #[test]
        fn no_writer_makes_the_queue_grow(
            sizes in proptest::collection::vec((0usize..100_000, any::<bool>(), any::<bool>()), 0..300),
        ) {
            let (sink, events) = open(Some(LogLevel::Debug));
            for (index, (size, out, progress)) in sizes.into_iter().enumerate() {
                info(&sink, if out { "out" } else { "err" }, &"x".repeat(size));
                if progress {
                    sink.progress(index as f64, None, Some("y".repeat(10)));
                }
                let queue = sink.0.lock();
                // One place each for the progress and for the word about what was lost.
                prop_assert!(queue.events.len() <= EVENTS_WAITING_MAX + 2);
                prop_assert!(queue.bytes <= BYTES_WAITING_MAX + 1024);
                prop_assert_eq!(queue.bytes, queue.events.iter().map(CallEvent::bytes).sum::<usize>());
            }
            let _ = all(&events);
            prop_assert_eq!(sink.0.lock().bytes, 0);
        }
    }
}
