//! What the cache holds for one key, when it is renewed early, and how it travels through Redis.
//!
//! Values travel as they are: results are a few KiB of JSON, and packing 4 KiB costs more processor time
//! than sending it on a local network.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// First byte of a value in Redis; another layout gets another number, and is a miss to older nodes.
const LAYOUT: u8 = 1;

/// Layout, generation, expiry, cost.
const HEADER_BYTES: usize = 1 + 8 + 8 + 8;

/// A computed value: what it is, and whether it says that something is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Computed {
    /// The value, JSON.
    pub value: Arc<str>,
    /// "Not found", "no rows": kept for a short time only, because somebody may be waiting for it to
    /// appear.
    pub negative: bool,
}

impl From<Arc<str>> for Computed {
    fn from(value: Arc<str>) -> Self {
        Self { value, negative: false }
    }
}

/// A kept value.
pub(super) struct Entry {
    pub(super) value: Arc<str>,
    expires: Instant,
    /// How long it took to compute.
    cost: Duration,
    /// Somebody renews it already.
    renewing: AtomicBool,
}

impl Entry {
    pub(super) fn new(value: Arc<str>, lives: Duration, cost: Duration) -> Self {
        let renewing = AtomicBool::new(false);
        Self { value, expires: Instant::now() + lives, cost, renewing }
    }

    pub(super) fn remaining(&self) -> Duration {
        self.expires.saturating_duration_since(Instant::now())
    }

    /// XFetch (Vattani et al., VLDB 2015): each reader may decide to renew, the likelier the nearer the
    /// end and the dearer the value, so that a hot key is renewed once before it expires instead of by
    /// everybody after.
    pub(super) fn is_due(&self, random: f64) -> bool {
        self.cost.mul_f64(-random.max(f64::MIN_POSITIVE).ln()) >= self.remaining()
    }

    /// The right to renew, for one at a time; given back when dropped.
    pub(super) fn renew(&self) -> Option<Renewal<'_>> {
        let taken = self.renewing.swap(true, Ordering::AcqRel);
        (!taken).then(|| Renewal(&self.renewing))
    }

    /// For Redis.
    pub(super) fn to_bytes(&self, generation: u64) -> Vec<u8> {
        let expires_ms = unix_ms().saturating_add(self.remaining().as_millis() as u64);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + self.value.len());
        bytes.push(LAYOUT);
        bytes.extend(generation.to_be_bytes());
        bytes.extend(expires_ms.to_be_bytes());
        bytes.extend((self.cost.as_micros() as u64).to_be_bytes());
        bytes.extend(self.value.as_bytes());
        bytes
    }

    /// From Redis; `None` when it is of another generation, expired, or not ours. Its life is bounded by
    /// `lives_max`, whatever the clock of the node that stored it said.
    pub(super) fn from_bytes(bytes: &[u8], generation: u64, lives_max: Duration) -> Option<Self> {
        let (&layout, rest) = bytes.split_first()?;
        let (stored, rest) = number(rest)?;
        let (expires_ms, rest) = number(rest)?;
        let (cost_us, text) = number(rest)?;
        let lives = Duration::from_millis(expires_ms.saturating_sub(unix_ms())).min(lives_max);
        if layout != LAYOUT || stored != generation || lives.is_zero() {
            return None;
        }
        let value = std::str::from_utf8(text).ok()?;
        Some(Self::new(value.into(), lives, Duration::from_micros(cost_us)))
    }
}

/// Somebody renews the entry.
pub(super) struct Renewal<'a>(&'a AtomicBool);

impl Drop for Renewal<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// Evenly from 0 to 1.
pub(super) fn random() -> f64 {
    // 53 bits fill a double's mantissa.
    (token() >> 11) as f64 / (1u64 << 53) as f64
}

/// A number nobody else has.
pub(super) fn token() -> u64 {
    let bits = uuid::Uuid::new_v4().as_u128();
    // The low half holds the variant, the high half the version: both together leave 64 random bits.
    (bits ^ (bits >> 64)) as u64
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(lives: Duration) -> Entry {
        Entry::new("value".into(), lives, Duration::from_millis(100))
    }

    #[test]
    fn what_comes_back_from_redis_is_the_value_or_nothing() {
        let minute = Duration::from_secs(60);
        let bytes = entry(minute).to_bytes(7);
        let back = Entry::from_bytes(&bytes, 7, minute).unwrap();
        assert_eq!(&*back.value, "value");
        assert!(back.remaining() > Duration::from_secs(59) && back.remaining() <= minute);
        assert!(Entry::from_bytes(&bytes, 8, minute).is_none(), "another generation");
        assert!(Entry::from_bytes(&entry(Duration::ZERO).to_bytes(7), 7, minute).is_none());
        let short = Entry::from_bytes(&bytes, 7, Duration::from_secs(1)).unwrap();
        assert!(short.remaining() <= Duration::from_secs(1));
        for end in 0..HEADER_BYTES {
            assert!(Entry::from_bytes(&bytes[..end], 7, minute).is_none());
        }
        let mut other = bytes.clone();
        other[0] = 9;
        assert!(Entry::from_bytes(&other, 7, minute).is_none(), "another layout");
        let mut broken = bytes;
        broken.extend([0xff, 0xfe]);
        assert!(Entry::from_bytes(&broken, 7, minute).is_none(), "not text");
    }

    #[test]
    fn renewal_gets_likelier_towards_the_end_and_belongs_to_one_at_a_time() {
        let due = |lives_ms: u64| {
            let entry = entry(Duration::from_millis(lives_ms));
            (0..1000).filter(|_| entry.is_due(random())).count()
        };
        // A value that costs 100 ms: the share of readers that renew is e^(-remaining / 100 ms).
        assert_eq!(due(10_000), 0);
        let (far, near) = (due(300), due(60));
        assert!(far < 120 && near > 400, "{far} {near}");

        let entry = entry(Duration::from_secs(1));
        let held = entry.renew().unwrap();
        assert!(entry.renew().is_none());
        drop(held);
        assert!(entry.renew().is_some());
    }
}
