//! The work itself: from a place in the trail on, batch by batch, and what else the copy needs.
//!
//! One at a time and in order: erasures first, so that nothing erased stays longer than needed; roles
//! that changed; then events. The place stands in Neo4j and moves in the transaction of the events, so a
//! batch is there with its place or not at all, also when Neo4j itself is put back to an earlier state.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::batch_size::BatchSize;
use super::error::ShippingError;
use super::model::Known;
use super::options::ShippingOptions;
use super::status::Shared;
use super::{model, schema, statements as cypher};
use crate::audit::{AuditError, AuditHandle, Erasure, SpoolReader, Spooled};
use crate::authorization::{AuthorizationHandle, Snapshot};
use crate::deadline::Deadline;
use crate::hex;
use crate::neo4j::{Limits, Neo4jClient, Params, Statement, migrations};
use crate::resilience::schedule::{Schedule, ScheduleOptions};

/// Longest time for one exchange; the client's own limit may be shorter.
const EXCHANGE_MAX: Duration = Duration::from_secs(60);
/// Nodes changed in one transaction of erasures and retention.
const PAGE: i64 = 2000;
/// Events replaced, or users synchronised, in one transaction.
const ROWS: usize = 500;
/// Transactions of one sweep of retention: then events have their turn again.
const TIDY_STEPS_MAX: usize = 50;
/// First pause after a failure.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);

/// Everything a shipper is made from.
#[derive(Clone)]
pub(super) struct Setup {
    pub audit: AuditHandle,
    pub authorization: AuthorizationHandle,
    pub client: Neo4jClient,
    pub options: ShippingOptions,
    /// Days that events are kept; 0 = for ever.
    pub retention_days: u32,
    /// This node, in everything it ships; empty = the id of its trail.
    pub node_id: String,
    pub shared: Arc<Shared>,
}

pub(super) struct Shipper {
    setup: Setup,
    size: BatchSize,
    /// The roles that Neo4j has.
    roles: Option<Arc<Snapshot>>,
    tidied: Option<Instant>,
}

/// Where in the trail the copy is.
struct Place {
    trail: String,
    seq: i64,
}

impl Shipper {
    pub(super) fn new(setup: Setup) -> Self {
        let target = Duration::from_millis(setup.options.batch_target_ms);
        let size = BatchSize::new(setup.options.batch_events_max, target);
        Self { setup, size, roles: None, tidied: None }
    }

    /// Ships for ever.
    pub(super) async fn run(mut self) {
        let mut pauses = Schedule::new(ScheduleOptions {
            initial: BACKOFF_FIRST,
            max: Duration::from_millis(self.setup.options.backoff_max_ms),
            multiplier: 2.0,
            jitter: 0.5,
        });
        loop {
            let Err(error) = self.ship(&mut pauses).await else { continue };
            if self.setup.shared.fail(error.to_string()) {
                tracing::warn!(error = &error as &dyn std::error::Error, "events are not shipped");
            }
            self.size.failed();
            self.look_back().await;
            tokio::time::sleep(pauses.next_delay()).await;
        }
    }

    /// Ships until something fails.
    async fn ship(&mut self, pauses: &mut Schedule) -> Result<(), ShippingError> {
        let Setup { client, .. } = &self.setup;
        migrations::run(client, schema::PART, &schema::migrations(), soon()).await?;
        let mut place = self.place().await?;
        loop {
            self.follow_erasures().await?;
            self.follow_roles().await?;
            let full = self.ship_batch(&mut place).await?;
            pauses.reset();
            if self.setup.shared.succeed() {
                tracing::info!("events are shipped again");
            }
            self.tidy().await?;
            if !full {
                tokio::time::sleep(Duration::from_millis(self.setup.options.poll_ms)).await;
            }
        }
    }

    /// Finds out how far Neo4j is.
    async fn place(&mut self) -> Result<Place, ShippingError> {
        let trail = self.reading(|spool| spool.trail_id()).await?.to_string();
        if self.setup.node_id.is_empty() {
            self.setup.node_id.clone_from(&trail);
        }
        let params = Params::new().set("trail", trail.as_str());
        let client = &self.setup.client;
        let rows = client.read(cypher::READ_CURSOR, params.clone(), Limits::default(), soon());
        let rows = rows.await?;
        let removed = self.reading(|spool| spool.removed_up_to()).await?;
        let mut seq = rows.int("seq").unwrap_or(0);
        let hash = self.reading(move |spool| spool.hash_at(seq)).await?;
        let noted = rows.first().and_then(|row| row.text("hash")).map(str::to_owned);
        if seq > removed && hash.map(|hash| hex::encode(&hash)) != noted {
            tracing::warn!(seq, "the trail was put back to an earlier state; it is shipped anew");
            let forget = Statement::new(cypher::DROP_CURSOR).with(params);
            client.write(vec![forget], soon(), true).await?;
            seq = 0;
        }
        if seq < removed && seq > 0 {
            tracing::warn!(
                shipped = seq,
                removed,
                "retention removed events before they were shipped"
            );
        }
        let place = Place { trail, seq: seq.max(removed) };
        self.reached(&place, None);
        Ok(place)
    }

    /// Ships the next batch; says whether there may be more at once.
    async fn ship_batch(&mut self, place: &mut Place) -> Result<bool, ShippingError> {
        let (seq, count) = (place.seq, self.size.get());
        self.setup.shared.batch_events.store(count as u64, Ordering::Relaxed);
        if self.setup.audit.stats().last_seq <= seq {
            self.setup.shared.oldest_us.store(0, Ordering::Relaxed);
            return Ok(false);
        }
        let events = self.reading(move |spool| spool.after(seq, count)).await?;
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(false) };
        self.setup.shared.oldest_us.store(first.ts_us, Ordering::Relaxed);
        let batch = |known| {
            let mut batch = model::statements(&events, &self.setup.node_id, known);
            batch.push(self.cursor(place, last));
            batch
        };
        let began = Instant::now();
        let client = &self.setup.client;
        // An attempt that may have been committed is not sent again: the next session asks first.
        match client.write(batch(Known::New), soon(), false).await {
            Err(error) if error.is_not_unique() => {
                client.write(batch(Known::Perhaps), soon(), true).await?;
            }
            written => drop(written?),
        }
        let full = events.len() >= count;
        if full {
            self.size.took(began.elapsed());
        }
        place.seq = last.event.seq;
        self.setup.shared.batches.fetch_add(1, Ordering::Relaxed);
        self.setup.shared.events.fetch_add(events.len() as u64, Ordering::Relaxed);
        self.reached(place, Some(last.ts_us));
        Ok(full || self.setup.audit.stats().last_seq > place.seq + count as i64)
    }

    fn cursor(&self, place: &Place, last: &Spooled) -> Statement {
        Statement::new(cypher::MOVE_CURSOR).with(
            Params::new()
                .set("trail", place.trail.as_str())
                .set("node", self.setup.node_id.as_str())
                .set("seq", last.event.seq)
                .set("hash", last.event.hash.as_str()),
        )
    }

    /// Neo4j has everything up to here.
    fn reached(&self, place: &Place, ts_us: Option<i64>) {
        let shared = &self.setup.shared;
        shared.shipped_seq.store(place.seq, Ordering::Relaxed);
        shared.known.store(true, Ordering::Relaxed);
        if let Some(ts_us) = ts_us {
            shared.oldest_us.store(ts_us, Ordering::Relaxed);
        }
        self.setup.audit.shipped(place.seq);
    }

    /// Sees how old the oldest event is that waits.
    async fn look_back(&self) {
        let shared = &self.setup.shared;
        let seq = shared.shipped_seq.load(Ordering::Relaxed);
        if let Ok(oldest) = self.reading(move |spool| spool.time_after(seq)).await {
            shared.oldest_us.store(oldest.unwrap_or(0), Ordering::Relaxed);
        }
    }

    /// Erases from the copy who was erased from the trail.
    async fn follow_erasures(&self) -> Result<(), ShippingError> {
        for erasure in self.reading(|spool| spool.uncopied_erasures()).await? {
            for text in [cypher::ERASE_EVENTS, cypher::ERASE_SESSIONS, cypher::ERASE_RAN] {
                let params = || Params::new().set("user", erasure.user.as_str());
                while self.page(text, params()).await? > 0 {}
            }
            let user = Params::new().set("user", erasure.user.as_str());
            let gone = Statement::new(cypher::ERASE_USER).with(user);
            self.setup.client.write(vec![gone], soon(), true).await?;
            self.replace_sealed(&erasure).await?;
            self.setup.audit.erasure_copied(&erasure, soon()).await?;
        }
        Ok(())
    }

    /// Replaces the copies of events whose content was changed.
    async fn replace_sealed(&self, erasure: &Erasure) -> Result<(), ShippingError> {
        let (id, mut after) = (erasure.id, 0);
        loop {
            let seqs = self.reading(move |spool| spool.sealed_events(id, after, ROWS)).await?;
            let Some(last) = seqs.last() else { return Ok(()) };
            after = *last;
            let events = self.reading(move |spool| spool.at(&seqs)).await?;
            let batch = model::replacement(&events, &self.setup.node_id);
            self.setup.client.write(batch, soon(), true).await?;
        }
    }

    /// Brings stored roles into Neo4j: all of them first, later what changed.
    async fn follow_roles(&mut self) -> Result<(), ShippingError> {
        let now = self.setup.authorization.snapshot();
        if self.roles.as_ref().is_some_and(|then| Arc::ptr_eq(then, &now)) {
            return Ok(());
        }
        let mut changed = now.roles_since(self.roles.as_deref());
        if self.roles.is_none() {
            let known: std::collections::HashSet<_> =
                changed.iter().map(|(user, _)| Arc::clone(user)).collect();
            let stale = self.role_holders().await?.into_iter().filter(|user| !known.contains(user));
            changed.extend(stale.map(|user| (user, None)).collect::<Vec<_>>());
        }
        for page in changed.chunks(ROWS) {
            let batch = super::roles::statements(page, &self.setup.node_id);
            self.setup.client.write(batch, soon(), true).await?;
        }
        self.roles = Some(now);
        Ok(())
    }

    /// Users whose roles this node wrote into Neo4j earlier.
    async fn role_holders(&self) -> Result<Vec<Arc<str>>, ShippingError> {
        let params = Params::new().set("node", self.setup.node_id.as_str());
        let client = &self.setup.client;
        let rows = client.read(cypher::ROLE_HOLDERS, params, Limits::default(), soon()).await?;
        Ok(rows.records.iter().filter_map(|row| row.text("user").map(Arc::from)).collect())
    }

    /// Removes from the copy what retention no longer keeps.
    async fn tidy(&mut self) -> Result<(), ShippingError> {
        let period = Duration::from_secs(self.setup.options.tidy_period_seconds);
        let days = i64::from(self.setup.retention_days);
        if days == 0 || self.tidied.is_some_and(|tidied| tidied.elapsed() < period) {
            return Ok(());
        }
        let before = chrono::Utc::now().timestamp_micros() - days * 86_400_000_000;
        for text in [cypher::TIDY_EXECUTIONS, cypher::TIDY_EVENTS] {
            for _ in 0..TIDY_STEPS_MAX {
                if self.page(text, Params::new().set("before", before)).await? == 0 {
                    break;
                }
            }
        }
        self.tidied = Some(Instant::now());
        Ok(())
    }

    /// Runs a statement that changes at most [`PAGE`] nodes; says how many it found.
    async fn page(&self, text: &'static str, params: Params) -> Result<i64, ShippingError> {
        let statement = Statement::new(text).with(params.set("max", PAGE));
        let rows = self.setup.client.write(vec![statement], soon(), true).await?;
        Ok(rows.first().and_then(|rows| rows.int("n")).unwrap_or(0))
    }

    /// Reads the trail on a thread that may block.
    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&SpoolReader) -> Result<T, AuditError> + Send + 'static,
    ) -> Result<T, ShippingError> {
        let spool = self.setup.audit.spool().clone();
        let work = tokio::task::spawn_blocking(move || read(&spool.open()?));
        Ok(work.await.map_err(|_| ShippingError::Reader)??)
    }
}

fn soon() -> Deadline {
    Deadline::after(EXCHANGE_MAX)
}
