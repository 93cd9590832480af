//! Messages of channels, on a connection of its own that comes back by itself.
//!
//! Publishing reaches only who listens at that moment, so a receiver must know when it was deaf:
//! [`Notice::Gained`] means "read everything anew, from now on you hear". A half-open connection is
//! noticed by a ping that is not answered.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::aio::PubSub;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::connect::Connector;
use crate::resilience::schedule::{Schedule, ScheduleOptions};

/// Messages that wait for a slow receiver; when they are more, it is told to read everything anew.
const WAITING_MAX: usize = 1024;

/// How often a silent connection is asked whether it still lives.
const PING_EVERY: Duration = Duration::from_secs(1);

/// What a subscription says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// From now on messages are heard; what was said before may have been missed.
    Gained,
    /// Nothing is heard for now.
    Lost,
    /// Something was published.
    Message {
        /// Where.
        channel: String,
        /// What.
        payload: Vec<u8>,
    },
}

/// Listens until it is dropped.
pub struct Subscription {
    notices: mpsc::Receiver<Notice>,
    task: AbortHandle,
}

impl Subscription {
    pub(super) fn start(connector: Arc<Connector>, channels: Vec<String>, late: Duration) -> Self {
        let (sender, notices) = mpsc::channel(WAITING_MAX);
        let listener = Listener { connector, channels, late, sender, missed: false };
        let task = tokio::spawn(listener.run()).abort_handle();
        Self { notices, task }
    }

    /// The next notice; `None` only when the runtime it listens on has ended.
    pub async fn next(&mut self) -> Option<Notice> {
        self.notices.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Listener {
    connector: Arc<Connector>,
    channels: Vec<String>,
    /// An unanswered ping means a dead connection after this long.
    late: Duration,
    sender: mpsc::Sender<Notice>,
    /// A message found no room: the receiver must read everything anew.
    missed: bool,
}

impl Listener {
    async fn run(mut self) {
        let mut delays = Schedule::new(ScheduleOptions {
            initial: Duration::from_millis(50),
            max: Duration::from_secs(1),
            multiplier: 2.0,
            jitter: 0.3,
        });
        let mut attempt = 0;
        while !self.sender.is_closed() {
            if let Some(connection) = self.connected(attempt).await {
                delays.reset();
                self.say(Notice::Gained).await;
                self.listen(connection).await;
                self.say(Notice::Lost).await;
            }
            attempt += 1;
            sleep(delays.next_delay()).await;
        }
    }

    async fn connected(&self, attempt: usize) -> Option<PubSub> {
        let mut connection = self.connector.pubsub(attempt).await.ok()?;
        timeout(self.late, connection.subscribe(&self.channels)).await.ok()?.ok()?;
        Some(connection)
    }

    /// Until the connection ends.
    async fn listen(&mut self, connection: PubSub) {
        let (mut sink, mut messages) = connection.split();
        let mut pings = interval(PING_EVERY);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = messages.next() => {
                    let Some(message) = message else { return };
                    let channel = message.get_channel_name().to_owned();
                    let payload = message.get_payload_bytes().to_vec();
                    self.pass(Notice::Message { channel, payload });
                }
                _ = pings.tick() => {
                    // Answers and messages share the connection, so this waits for both.
                    let answer = timeout(self.late, sink.ping::<deadpool_redis::redis::Value>());
                    if !matches!(answer.await, Ok(Ok(_))) {
                        return;
                    }
                    if self.missed && self.sender.try_send(Notice::Gained).is_ok() {
                        self.missed = false;
                    }
                }
            }
        }
    }

    /// Never waits: a receiver that is too slow loses messages and is told.
    fn pass(&mut self, notice: Notice) {
        if self.sender.try_send(notice).is_err() {
            self.missed = true;
        }
    }

    async fn say(&mut self, notice: Notice) {
        let _ = self.sender.send(notice).await;
    }
}
