//! An answer that other messages go before: the messages in their order, then the response, then the end.
//!
//! The first thing that happens decides the form. The response first: a plain answer with its status. A
//! notification first, or nothing for a long while: a stream. The streamed work lives in the stream:
//! whoever drops it cancels what it contains (a task that runs on by itself is dropped without harm).

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::{LocalBoxStream, unfold};
use tokio::time::{Instant, sleep, sleep_until};

use super::notify::Notices;
use super::respond::Reply;

/// A stream that has nothing to say says so this often; proxies close silent connections after 30 s
/// and more.
pub const BEAT: Duration = Duration::from_secs(15);
/// Shortest time between two notifications: what comes faster is joined while it waits.
const PAUSE: Duration = Duration::from_millis(20);

/// One part of a streamed answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// A message: JSON.
    Message(Vec<u8>),
    /// A message with the id a client can come back with.
    Event(u64, Vec<u8>),
    /// The stream lives.
    Beat,
}

/// Parts in their order.
pub type Parts = LocalBoxStream<'static, Part>;

/// The answer of `work`, preceded by its notices if there are any.
pub async fn answer(mut work: LocalBoxFuture<'static, Reply>, notices: Notices) -> Reply {
    let finished = tokio::select! {
        biased;
        () = notices.ready() => None,
        reply = &mut work => Some(reply),
        () = sleep(BEAT) => None,
    };
    match finished {
        Some(reply) if notices.is_empty() => reply,
        finished => Reply::stream(parts(Pump { work, notices, finished, next: Instant::now() })),
    }
}

struct Pump {
    work: LocalBoxFuture<'static, Reply>,
    notices: Notices,
    /// The response, once it is there; its notices go first.
    finished: Option<Reply>,
    /// When the next notification may go.
    next: Instant,
}

fn parts(pump: Pump) -> Parts {
    unfold(Some(pump), |pump| async move {
        let mut pump = pump?;
        let part = pump.next_part().await;
        match part {
            Next::Notice(part) => Some((part, Some(pump))),
            Next::Response(body) => Some((Part::Message(body?), None)),
        }
    })
    .boxed_local()
}

enum Next {
    Notice(Part),
    /// `None` for a call that was cancelled: its stream just ends.
    Response(Option<Vec<u8>>),
}

impl Pump {
    async fn next_part(&mut self) -> Next {
        loop {
            if let Some(reply) = self.finished.take() {
                if let Some(message) = self.notices.take() {
                    self.finished = Some(reply);
                    return Next::Notice(Part::Message(message));
                }
                return Next::Response(reply.into_body());
            }
            let (notices, next) = (&self.notices, self.next);
            let paced = async {
                notices.ready().await;
                sleep_until(next).await;
            };
            tokio::select! {
                biased;
                reply = &mut self.work => self.finished = Some(reply),
                () = paced => {
                    if let Some(message) = self.notices.take() {
                        self.next = Instant::now() + PAUSE;
                        return Next::Notice(Part::Message(message));
                    }
                }
                () = sleep(BEAT) => return Next::Notice(Part::Beat),
            }
        }
    }
}
