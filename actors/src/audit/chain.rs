//! The keyed hash chain: what exactly is hashed, with which key.
//!
//! `hash(n) = HMAC-SHA-256(chain key, canonical bytes of event n ‖ hash(n-1))`, `hash(0)` = 32 zero
//! bytes. Without the key nobody can write an event whose hash is right, so an appended event shows
//! as well as a changed one. The *head* (last seq and hash) carries a code of its own and is updated
//! in the transaction of the events, so a cut tail shows too.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use super::prepared::Prepared;

/// Bytes of a hash (SHA-256).
pub const HASH_BYTES: usize = 32;

/// A hash of the chain.
pub(crate) type Hash = [u8; HASH_BYTES];

/// What stands before the first event.
pub(crate) const GENESIS: Hash = [0; HASH_BYTES];

/// The instance's audit key; whoever has it can write events that verify, so it stays in a file of
/// mode 0600 that only the server reads.
#[derive(Clone)]
pub struct AuditKey {
    chain: hmac::Key,
    head: hmac::Key,
    id: [u8; 8],
}

impl AuditKey {
    /// Derives the working keys from 32 secret random bytes; each purpose has its own.
    pub fn from_bytes(secret: &[u8; 32]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derive = |purpose: &[u8]| hmac::sign(&root, purpose);
        let mut id = [0; 8];
        id.copy_from_slice(&derive(b"ultimate-mcp audit key id v1").as_ref()[..8]);
        let key = |purpose| hmac::Key::new(hmac::HMAC_SHA256, derive(purpose).as_ref());
        Self {
            chain: key(b"ultimate-mcp audit chain v1"),
            head: key(b"ultimate-mcp audit head v1"),
            id,
        }
    }

    /// Tells keys apart without revealing them.
    pub(crate) fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The hash of the event at `seq` that follows `prev`; `scratch` is reused between events.
    pub(crate) fn event_hash(
        &self,
        fields: &Fields<'_>,
        prev: &Hash,
        scratch: &mut Vec<u8>,
    ) -> Hash {
        scratch.clear();
        fields.write(scratch);
        scratch.extend_from_slice(prev);
        sign(&self.chain, scratch)
    }

    /// The code of the head record.
    pub(crate) fn head_mac(&self, seq: i64, hash: &Hash, open_from: i64) -> Hash {
        let mut bytes = Vec::with_capacity(48);
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(&open_from.to_be_bytes());
        bytes.extend_from_slice(hash);
        sign(&self.head, &bytes)
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(..)")
    }
}

/// Compares two hashes without telling by its duration where they differ.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

fn sign(key: &hmac::Key, bytes: &[u8]) -> Hash {
    let mut hash = GENESIS;
    hash.copy_from_slice(hmac::sign(key, bytes).as_ref());
    hash
}

/// The columns of an event as they are hashed: everything but the hash itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub seq: i64,
    pub event_id: &'a [u8],
    pub ts_us: i64,
    pub event_type: &'a str,
    pub phase: &'a str,
    pub call_id: Option<&'a [u8]>,
    pub user_id: Option<&'a str>,
    pub tool: Option<&'a str>,
    pub success: Option<i64>,
    pub body: &'a str,
}

impl<'a> Fields<'a> {
    /// The fields of an event that is about to stand at `seq`. The ids are passed in because their
    /// bytes live with the caller.
    pub(crate) fn of(
        event: &'a Prepared,
        seq: i64,
        event_id: &'a [u8],
        call_id: Option<&'a [u8]>,
    ) -> Self {
        Self {
            seq,
            event_id,
            ts_us: event.ts_us,
            event_type: event.event_type.as_str(),
            phase: event.phase.as_str(),
            call_id,
            user_id: event.user_id.as_deref(),
            tool: event.tool.as_deref(),
            success: event.success.map(i64::from),
            body: &event.body,
        }
    }

    /// Canonical bytes: a version, fixed-width numbers, and length-prefixed texts in which "absent"
    /// differs from "empty", so that no two events share them.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(1);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.ts_us.to_be_bytes());
        out.extend_from_slice(&self.success.unwrap_or(-1).to_be_bytes());
        let texts = [
            Some(self.event_id),
            Some(self.event_type.as_bytes()),
            Some(self.phase.as_bytes()),
            self.call_id,
            self.user_id.map(str::as_bytes),
            self.tool.map(str::as_bytes),
            Some(self.body.as_bytes()),
        ];
        for text in texts {
            match text {
                None => out.extend_from_slice(&u64::MAX.to_be_bytes()),
                Some(bytes) => {
                    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
                    out.extend_from_slice(bytes);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Fields<'static> {
        Fields {
            seq: 7,
            event_id: &[1; 16],
            ts_us: 5,
            event_type: "code_lint",
            phase: "single",
            call_id: None,
            user_id: Some("ada"),
            tool: None,
            success: Some(1),
            body: "{}",
        }
    }

    #[test]
    fn every_field_and_the_previous_hash_and_the_key_change_the_hash() {
        let key = AuditKey::from_bytes(&[3; 32]);
        let mut scratch = Vec::new();
        let base = fields();
        let variants = [
            Fields { seq: 8, ..base },
            Fields { event_id: &[2; 16], ..base },
            Fields { ts_us: 6, ..base },
            Fields { event_type: "code_test", ..base },
            Fields { phase: "outcome", ..base },
            Fields { call_id: Some(&[]), ..base },
            Fields { user_id: None, ..base },
            Fields { user_id: Some("adb"), ..base },
            // The same letters, cut elsewhere.
            Fields { user_id: Some("ad"), tool: Some("a"), ..base },
            Fields { tool: Some(""), ..base },
            Fields { success: None, ..base },
            Fields { success: Some(0), ..base },
            Fields { body: "{ }", ..base },
        ];
        let mut hashes = vec![
            key.event_hash(&base, &GENESIS, &mut scratch),
            key.event_hash(&base, &[1; 32], &mut scratch),
            AuditKey::from_bytes(&[4; 32]).event_hash(&base, &GENESIS, &mut scratch),
        ];
        hashes.extend(variants.iter().map(|f| key.event_hash(f, &GENESIS, &mut scratch)));
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
    }

    #[test]
    fn the_key_never_shows_in_debug_output() {
        let text = format!("{:?}", AuditKey::from_bytes(&[0xAB; 32]));
        assert_eq!(text, "AuditKey(..)");
    }
}
