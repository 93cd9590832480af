//! What changes behind the protocol, told to every stream that asked to hear of it.
//!
//! Owns one bounded broadcast and the places of open streams. Parts of the engine call
//! [`Hub::list_changed`] and [`Hub::resource_updated`], which never wait; streams hold a [`Listener`].
//! A stream that falls behind hears that it missed something and tells its client that everything may
//! have changed: too much is said, never too little. Refuses streams beyond the caps.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::options::McpOptions;
use super::watched::{Watched, Wish, Wishes};
use crate::error::{ApiError, Code};

/// Changes that wait for the slowest stream.
const WAITING_MAX: usize = 256;

/// A list that is not what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListChanged {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
}

impl ListChanged {
    /// Every list.
    pub const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// The notification's method.
    pub fn method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
        }
    }
}

/// Something a stream may tell its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A list.
    List(ListChanged),
    /// What this URI names.
    ResourceUpdated(Arc<str>),
}

/// What a listener hears.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// One change.
    Change(Change),
    /// Changes that came faster than the stream took them; which ones is not known.
    Missed,
    /// The server stops: say goodbye.
    Closing,
}

/// A change, for everybody or for one caller.
#[derive(Clone)]
struct Told {
    change: Change,
    caller: Option<Arc<str>>,
}

/// The hub; one per process.
pub struct Hub {
    changes: broadcast::Sender<Told>,
    wishes: Arc<Wishes>,
    closing: watch::Sender<bool>,
    open: Arc<Mutex<Open>>,
    streams_max: usize,
    streams_per_caller_max: usize,
}

/// Open streams.
#[derive(Default)]
struct Open {
    by_caller: HashMap<String, usize>,
    all: usize,
}

impl Default for Hub {
    fn default() -> Self {
        Self::new(&McpOptions::default())
    }
}

impl Hub {
    /// With as many streams as these options allow.
    pub fn new(options: &McpOptions) -> Self {
        let (changes, closing) = (broadcast::channel(WAITING_MAX).0, watch::channel(false).0);
        Self {
            changes,
            wishes: Arc::default(),
            closing,
            open: Arc::default(),
            streams_max: options.streams_max,
            streams_per_caller_max: options.streams_per_caller_max,
        }
    }

    /// Tells every stream that a list changed.
    pub fn list_changed(&self, list: ListChanged) {
        // An error means that nobody listens.
        let _ = self.changes.send(Told { change: Change::List(list), caller: None });
    }

    /// Tells the streams that watch this URI that what it names changed.
    pub fn resource_updated(&self, uri: &str) {
        let change = Change::ResourceUpdated(uri.into());
        let _ = self.changes.send(Told { change, caller: None });
    }

    /// The same, to the streams of one caller.
    pub fn resource_updated_for(&self, wish: &Wish) {
        let change = Change::ResourceUpdated(Arc::clone(&wish.uri));
        let _ = self.changes.send(Told { change, caller: Some(Arc::clone(&wish.caller)) });
    }

    /// Notes that a stream of this caller wants to hear of a resource, as long as the answer is held.
    ///
    /// # Errors
    /// `RateLimited` and `Overloaded` beyond the caps.
    pub fn watch(&self, caller: &str, uri: &str) -> Result<Watched, ApiError> {
        self.wishes.watch(caller, uri)
    }

    /// The resources that somebody wants to hear of, and since when, in milliseconds since 1970.
    pub fn watched(&self) -> HashMap<Wish, i64> {
        self.wishes.all()
    }

    /// Ends every stream, and at once those that come later.
    pub fn close(&self) {
        self.closing.send_replace(true);
    }

    /// A place for one stream of this caller.
    ///
    /// # Errors
    /// `RateLimited` when the caller has as many as one may have, `Overloaded` when all are taken.
    pub fn listen(&self, caller: &str) -> Result<Listener, ApiError> {
        let mut open = lock(&self.open);
        if open.all >= self.streams_max {
            let message = format!("{} streams are open, the most at once", self.streams_max);
            return Err(ApiError::new(Code::Overloaded, message));
        }
        let own = open.by_caller.get(caller).copied().unwrap_or(0);
        if own >= self.streams_per_caller_max {
            let message = format!("you have {own} streams open, the most one caller may have");
            return Err(ApiError::new(Code::RateLimited, message));
        }
        open.by_caller.insert(caller.to_owned(), own + 1);
        open.all += 1;
        drop(open);
        let place = Place { open: Arc::clone(&self.open), caller: caller.to_owned() };
        let (changes, closing) = (self.changes.subscribe(), self.closing.subscribe());
        Ok(Listener { changes, closing, place })
    }

    /// Streams that are open.
    pub fn streams(&self) -> usize {
        lock(&self.open).all
    }
}

/// One stream's ear. Its place is free again when it is dropped.
pub struct Listener {
    changes: broadcast::Receiver<Told>,
    closing: watch::Receiver<bool>,
    place: Place,
}

impl Listener {
    /// The next thing to tell. Safe to drop at any time.
    pub async fn next(&mut self) -> Heard {
        loop {
            let told = tokio::select! {
                biased;
                _ = self.closing.wait_for(|closing| *closing) => return Heard::Closing,
                told = self.changes.recv() => told,
            };
            match told {
                Ok(told) if told.caller.as_ref().is_some_and(|c| **c != *self.place.caller) => {}
                Ok(told) => return Heard::Change(told.change),
                Err(RecvError::Lagged(_)) => return Heard::Missed,
                Err(RecvError::Closed) => return Heard::Closing,
            }
        }
    }
}

struct Place {
    open: Arc<Mutex<Open>>,
    caller: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = lock(&self.open);
        if let Some(count) = open.by_caller.get_mut(&self.caller) {
            *count -= 1;
            if *count == 0 {
                open.by_caller.remove(&self.caller);
            }
            open.all -= 1;
        }
    }
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_caller_cannot_hold_every_stream_and_places_come_back() {
        let options = McpOptions { streams_max: 100, streams_per_caller_max: 9, ..<_>::default() };
        let hub = Hub::new(&options);
        let held: Vec<_> =
            (0..options.streams_per_caller_max).map(|_| hub.listen("ada").ok()).collect();
        assert_eq!(hub.listen("ada").err().map(|error| error.code), Some(Code::RateLimited));
        assert!(hub.listen("bob").is_ok());
        drop(held);
        assert_eq!(hub.streams(), 0);
        let _all: Vec<_> =
            (0..options.streams_max).map(|n| hub.listen(&(n / 8).to_string()).ok()).collect();
        assert_eq!(hub.listen("bob").err().map(|error| error.code), Some(Code::Overloaded));
    }

    #[tokio::test]
    async fn a_stream_that_falls_behind_hears_that_it_missed_something() {
        let hub = Hub::default();
        let mut listener = hub.listen("ada").unwrap();
        hub.resource_updated("a:b");
        assert_eq!(listener.next().await, Heard::Change(Change::ResourceUpdated("a:b".into())));
        for _ in 0..=WAITING_MAX {
            hub.list_changed(ListChanged::Tools);
        }
        assert_eq!(listener.next().await, Heard::Missed);
    }

    #[tokio::test]
    async fn what_is_told_to_one_caller_is_heard_by_nobody_else() {
        let hub = Hub::default();
        let (mut ada, mut bob) = (hub.listen("ada").unwrap(), hub.listen("bob").unwrap());
        hub.resource_updated_for(&Wish { caller: "ada".into(), uri: "a:b".into() });
        hub.list_changed(ListChanged::Prompts);
        assert_eq!(ada.next().await, Heard::Change(Change::ResourceUpdated("a:b".into())));
        assert_eq!(bob.next().await, Heard::Change(Change::List(ListChanged::Prompts)));
    }

    #[tokio::test]
    async fn a_hub_that_closes_ends_the_streams_that_are_and_those_that_come() {
        let hub = Hub::default();
        let mut before = hub.listen("ada").unwrap();
        hub.close();
        assert_eq!(before.next().await, Heard::Closing);
        assert_eq!(hub.listen("ada").unwrap().next().await, Heard::Closing);
    }
}
