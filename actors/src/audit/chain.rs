//! The keyed hash chain: what exactly is hashed, with which key.
//!
//! `hash(n) = HMAC-SHA-256(chain key, canonical bytes of event n ‖ hash(n-1))`, `hash(0)` = 32 zero
//! bytes. Without the key nobody can write an event whose hash is right, so an appended event shows
//! as well as a changed one. The *head* (last seq and hash) carries a code of its own and is updated
//! in the transaction of the events, so a cut tail shows too; the *cut* (seq and hash of the last event
//! that retention removed) is its twin at the other end.
//!
//! Who did it is not hashed itself but by a *commitment*: `HMAC(commitment key, salt ‖ user ‖ who)` with
//! a random salt of the event's own. Erasing a person deletes value and salt and keeps the commitment,
//! from which nobody, not even the owner of the key, finds the name again. A *seal* says that the server
//! itself erased: over the event as it now reads, the hash it keeps, and the one before.

use std::fmt;

use aws_lc_rs::{constant_time, hmac};

use super::prepared::Prepared;

/// Bytes of a hash (SHA-256).
pub const HASH_BYTES: usize = 32;

/// A hash of the chain.
pub(crate) type Hash = [u8; HASH_BYTES];

/// Bytes of an event's salt.
pub(crate) const SALT_BYTES: usize = 16;

/// Makes the commitment of one event unlike any other's.
pub(crate) type Salt = [u8; SALT_BYTES];

/// Events that hold the user's name in what is hashed: written before names could be erased.
pub(crate) const FORMAT_PLAIN: i64 = 1;
/// Events that hold a commitment to the user in what is hashed.
pub(crate) const FORMAT_COMMITTED: i64 = 2;

/// What stands before the first event.
pub(crate) const GENESIS: Hash = [0; HASH_BYTES];

/// The instance's audit key; whoever has it can write events that verify, so it stays in a file of
/// mode 0600 that only the server reads.
#[derive(Clone)]
pub struct AuditKey {
    chain: hmac::Key,
    head: hmac::Key,
    cut: hmac::Key,
    commitment: hmac::Key,
    seal: hmac::Key,
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
            cut: key(b"ultimate-mcp audit cut v1"),
            commitment: key(b"ultimate-mcp audit commitment v1"),
            seal: key(b"ultimate-mcp audit seal v1"),
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

    /// The commitment to who did it.
    pub(crate) fn commitment(&self, salt: &[u8], user: Option<&str>, who: Option<&str>) -> Hash {
        let mut context = hmac::Context::with_key(&self.commitment);
        context.update(salt);
        for text in [user, who] {
            let length = text.map_or(u64::MAX, |text| text.len() as u64);
            context.update(&length.to_be_bytes());
            context.update(text.unwrap_or_default().as_bytes());
        }
        let mut hash = GENESIS;
        hash.copy_from_slice(context.sign().as_ref());
        hash
    }

    /// The seal of an erased event that keeps `hash` behind `prev`; `named`: it still says who did it.
    pub(crate) fn seal(
        &self,
        (erased, named): (Erased, bool),
        fields: &Fields<'_>,
        (prev, hash): (&Hash, &Hash),
        scratch: &mut Vec<u8>,
    ) -> Hash {
        scratch.clear();
        scratch.extend_from_slice(&[erased as u8, u8::from(named)]);
        fields.write(scratch);
        scratch.extend_from_slice(prev);
        scratch.extend_from_slice(hash);
        sign(&self.seal, scratch)
    }

    /// The code of the cut record.
    pub(crate) fn cut_mac(&self, seq: i64, hash: &Hash) -> Hash {
        let mut bytes = Vec::with_capacity(40);
        bytes.extend_from_slice(&seq.to_be_bytes());
        bytes.extend_from_slice(hash);
        sign(&self.cut, &bytes)
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

/// What was erased of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Erased {
    /// Nothing.
    No = 0,
    /// Who did it; the hash still proves everything else.
    Who = 1,
    /// Names in what is hashed: the seal, not the hash, proves the rest.
    Content = 2,
}

impl Erased {
    /// From its column.
    pub(crate) fn from_column(value: i64) -> Option<Self> {
        match value {
            0 => Some(Self::No),
            1 => Some(Self::Who),
            2 => Some(Self::Content),
            _ => None,
        }
    }
}

/// The columns of an event as they are hashed: everything but the hash itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub format: i64,
    pub seq: i64,
    pub event_id: &'a [u8],
    pub ts_us: i64,
    pub event_type: &'a str,
    pub phase: &'a str,
    pub call_id: Option<&'a [u8]>,
    /// The commitment to who did it; in [`FORMAT_PLAIN`] the user's name.
    pub who: Option<&'a [u8]>,
    pub tool: Option<&'a str>,
    pub success: Option<i64>,
    pub body: &'a str,
}

impl<'a> Fields<'a> {
    /// The fields of an event that is about to stand at `seq`. Ids and commitment are passed in because
    /// their bytes live with the caller.
    pub(crate) fn of(
        event: &'a Prepared,
        seq: i64,
        event_id: &'a [u8],
        call_id: Option<&'a [u8]>,
        commitment: Option<&'a [u8]>,
    ) -> Self {
        Self {
            format: FORMAT_COMMITTED,
            seq,
            event_id,
            ts_us: event.ts_us,
            event_type: event.event_type.as_str(),
            phase: event.phase.as_str(),
            call_id,
            who: commitment,
            tool: event.tool.as_deref(),
            success: event.success.map(i64::from),
            body: &event.body,
        }
    }

    /// Canonical bytes: a version, fixed-width numbers, and length-prefixed texts in which "absent"
    /// differs from "empty", so that no two events share them.
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.format as u8);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.ts_us.to_be_bytes());
        out.extend_from_slice(&self.success.unwrap_or(-1).to_be_bytes());
        let texts = [
            Some(self.event_id),
            Some(self.event_type.as_bytes()),
            Some(self.phase.as_bytes()),
            self.call_id,
            self.who,
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
            format: FORMAT_COMMITTED,
            seq: 7,
            event_id: &[1; 16],
            ts_us: 5,
            event_type: "code_lint",
            phase: "single",
            call_id: None,
            who: Some(b"ada"),
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
            Fields { format: FORMAT_PLAIN, ..base },
            Fields { who: None, ..base },
            Fields { who: Some(b"adb"), ..base },
            // The same letters, cut elsewhere.
            Fields { who: Some(b"ad"), tool: Some("a"), ..base },
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
    fn a_commitment_tells_users_salts_and_keys_apart() {
        let key = AuditKey::from_bytes(&[3; 32]);
        let base = key.commitment(&[0; 16], Some("ada"), Some("{}"));
        assert_eq!(base, key.commitment(&[0; 16], Some("ada"), Some("{}")));
        for other in [
            key.commitment(&[1; 16], Some("ada"), Some("{}")),
            key.commitment(&[0; 16], Some("bob"), Some("{}")),
            key.commitment(&[0; 16], Some("ada{}"), None),
            key.commitment(&[0; 16], Some("ada{"), Some("}")),
            key.commitment(&[0; 16], None, Some("{}")),
            AuditKey::from_bytes(&[4; 32]).commitment(&[0; 16], Some("ada"), Some("{}")),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn the_key_never_shows_in_debug_output() {
        let text = format!("{:?}", AuditKey::from_bytes(&[0xAB; 32]));
        assert_eq!(text, "AuditKey(..)");
    }
}
