//! A program's output as events of its call, while it runs.
//!
//! Used by the tools that run programs. Log messages (`info`, loggers `stdout` and `stderr`) carry the
//! output itself; progress counts the seconds of the run, with the last line of output as its message,
//! and comes every second even from a silent program. Bounded by the event queue: what a slow reader
//! misses is in the result.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use ultimate_mcp_sandbox::client::{OutputSink, Stream};

use super::events::{EventSink, LogLevel};

/// A sign of life this often.
const TICK: Duration = Duration::from_secs(1);
/// Longest part of a line that a progress repeats, in characters.
const LINE_CHARS_MAX: usize = 200;
/// Kept of a line that has no end yet, in bytes.
const LINE_BYTES_MAX: usize = 4 * LINE_CHARS_MAX;

/// Turns output into events.
pub struct Live {
    events: EventSink,
    began: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By stream: the beginning of a character whose end has not come yet, at most three bytes.
    cut: [Vec<u8>; 2],
    /// The last line with something in it, and the one being written.
    line: String,
    writing: String,
}

impl Live {
    /// For a call whose events are read; `None` for any other.
    pub fn of(events: Option<&EventSink>) -> Option<Arc<Self>> {
        let events = events?.clone();
        Some(Arc::new(Self { events, began: Instant::now(), state: Mutex::default() }))
    }

    /// What the cell hands output to.
    pub fn sink(live: &Option<Arc<Self>>) -> Option<OutputSink> {
        let live = Arc::clone(live.as_ref()?);
        Some(Arc::new(move |stream, bytes: &[u8]| live.wrote(stream, bytes)))
    }

    /// Awaits the run and gives signs of life meanwhile.
    pub async fn watch<F: Future>(live: &Option<Arc<Self>>, run: F) -> F::Output {
        let Some(live) = live else { return run.await };
        let mut run = std::pin::pin!(run);
        loop {
            tokio::select! {
                biased;
                ended = &mut run => return ended,
                () = tokio::time::sleep(TICK) => live.progress(),
            }
        }
    }

    fn wrote(&self, stream: Stream, bytes: &[u8]) {
        let (index, logger) = match stream {
            Stream::Stdout => (0, "stdout"),
            Stream::Stderr => (1, "stderr"),
        };
        let text = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let text = text_of(&mut state.cut[index], bytes);
            state.follow(&text);
            text
        };
        self.events.log(LogLevel::Info, logger, text);
        self.progress();
    }

    fn progress(&self) {
        if !self.events.wants_progress() {
            return;
        }
        let message = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            Some(state.line.clone()).filter(|line| !line.is_empty())
        };
        self.events.progress(self.began.elapsed().as_secs_f64(), None, message);
    }
}

impl State {
    /// Keeps the last line. A program may write megabytes: only the end of a piece is looked at.
    fn follow(&mut self, text: &str) {
        let mut from = text.len().saturating_sub(LINE_BYTES_MAX);
        while !text.is_char_boundary(from) {
            from += 1;
        }
        if from > 0 {
            self.writing.clear();
        }
        for piece in text[from..].split_inclusive('\n') {
            let room = LINE_BYTES_MAX.saturating_sub(self.writing.len());
            if piece.len() <= room {
                self.writing.push_str(piece);
            }
            if piece.ends_with('\n') {
                let line = self.writing.trim();
                if !line.is_empty() {
                    self.line = line.chars().take(LINE_CHARS_MAX).collect();
                }
                self.writing.clear();
            }
        }
    }
}

/// The bytes as text, after what was cut off before; a character that is not whole yet waits in `cut`.
fn text_of(cut: &mut Vec<u8>, bytes: &[u8]) -> String {
    let mut whole = std::mem::take(cut);
    whole.extend_from_slice(bytes);
    let tail = whole.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    // `error_len` is `None` only when the input ends inside a character.
    if std::str::from_utf8(tail).is_err_and(|error| error.error_len().is_none()) {
        *cut = tail.to_vec();
    }
    whole.truncate(whole.len() - cut.len());
    String::from_utf8_lossy(&whole).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::events::{CallEvent, Events, Wanted, channel};
    use super::*;

    fn open() -> (Option<Arc<Live>>, Events) {
        let wanted = Wanted { progress: true, level: Some(LogLevel::Info) };
        let (sink, events) = channel(wanted).unwrap();
        (Live::of(Some(&sink)), events)
    }

    fn progress(events: &Events) -> Option<(f64, Option<String>)> {
        let of = |event| match event {
            CallEvent::Progress { progress, message, .. } => Some((progress, message)),
            CallEvent::Log { .. } => None,
        };
        std::iter::from_fn(|| events.take()).filter_map(of).last()
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_program_gives_signs_of_life_and_a_talking_one_shows_its_last_line() {
        let (live, events) = open();
        Live::watch(&live, tokio::time::sleep(Duration::from_millis(2500))).await;
        assert_eq!(progress(&events), Some((2.0, None)));
        let sink = Live::sink(&live).unwrap();
        sink(Stream::Stdout, b"one\n\ntw");
        tokio::time::advance(Duration::from_secs(1)).await;
        sink(Stream::Stdout, b"o\nthr");
        assert_eq!(progress(&events), Some((3.5, Some("two".into()))));
    }

    #[test]
    fn a_program_that_writes_no_line_ends_takes_no_memory() {
        let mut state = State::default();
        for _ in 0..1000 {
            state.follow(&"x".repeat(70_000));
            state.follow("y");
        }
        assert!(state.writing.len() <= LINE_BYTES_MAX && state.line.is_empty());
    }

    proptest! {
        #[test]
        fn characters_that_pipes_cut_arrive_whole(text in "\\PC{0,60}", size in 1usize..7) {
            let (mut cut, mut out) = (Vec::new(), String::new());
            for chunk in text.as_bytes().chunks(size) {
                out.push_str(&text_of(&mut cut, chunk));
                prop_assert!(cut.len() <= 3);
            }
            prop_assert_eq!(out, text);
            prop_assert!(cut.is_empty());
        }

        #[test]
        fn no_bytes_are_held_back_or_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), size in 1usize..9) {
            let mut cut = Vec::new();
            for chunk in bytes.chunks(size) {
                let _ = text_of(&mut cut, chunk);
                prop_assert!(cut.len() <= 3);
            }
        }
    }
}
