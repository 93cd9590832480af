//! How one node proves to another who it is: HMAC-SHA-256 over the whole request with the secret that
//! all nodes share, valid for one node, once, for a short time.
//!
//! The seal vouches for what the sender says about the client (address, request id, deadline); the
//! client's own token travels beside it and is verified as always. Called by the face's forwarder and
//! edge. Refuses wrong, late, repeated and misdirected letters.

use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::{digest, hmac};
use uuid::Uuid;

use super::error::NodeError;
use super::id::NodeId;
use crate::hex;

/// Fewest bytes of the secret: as many as the MAC has.
const SECRET_BYTES_MIN: usize = 32;
/// Most bytes of the secret.
const SECRET_BYTES_MAX: usize = 4096;
/// Letters remembered at once, so that none is taken twice; beyond it new ones are refused.
const NONCES_MAX: usize = 200_000;
/// First line of what is sealed: another layout gets another name.
const LAYOUT: &str = "umcp-node-1";

/// The secret that all nodes share. Never printed.
#[derive(Clone)]
pub struct ClusterSecret(hmac::Key);

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

impl ClusterSecret {
    /// Reads the secret; white space at its ends is not part of it.
    ///
    /// # Errors
    /// The file cannot be read, others can read it, or it holds too little or too much.
    pub fn read(path: &Path) -> Result<Self, NodeError> {
        let io = |source| NodeError::SecretFile { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(NodeError::SecretExposed { path: path.to_owned(), mode });
        }
        let bytes = fs::read(path).map_err(io)?;
        let secret = bytes.trim_ascii();
        match (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&secret.len()) {
            true => Ok(Self::of(secret)),
            false => Err(NodeError::SecretLength {
                path: path.to_owned(),
                bytes: secret.len(),
                min: SECRET_BYTES_MIN,
                max: SECRET_BYTES_MAX,
            }),
        }
    }

    /// A secret from these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }
}

/// Everything about a forwarded request that the seal covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letterhead {
    /// HTTP method.
    pub method: String,
    /// Path and query.
    pub path: String,
    /// [`hex::sha256`] of the body.
    pub body_digest: String,
    /// [`hex::sha256`] of what the client showed as `Authorization`.
    pub token_digest: String,
    /// Who forwards.
    pub from: NodeId,
    /// Whom it is for.
    pub to: NodeId,
    /// When it was sealed, in milliseconds since the epoch, by the sender's clock.
    pub time_ms: i64,
    /// Different in every letter.
    pub nonce: Uuid,
    /// What is left until the client's deadline, in milliseconds.
    pub deadline_ms: u64,
    /// The client's address, `-` when unknown.
    pub client_ip: String,
    /// The client's request id.
    pub request_id: String,
    /// The legacy session the client is in, `-` when none.
    pub session: String,
    /// The client's description of itself, `-` when none.
    pub user_agent: String,
    /// The client's name for a call that must run once, `-` when none.
    pub idempotency_key: String,
}

impl Letterhead {
    /// The sealed text. Each field is on a line of its own and none can hold a line's end: header
    /// values, ids and digests have no control characters, and whatever does is refused.
    fn text(&self) -> Option<String> {
        let (time, nonce) = (self.time_ms.to_string(), self.nonce.to_string());
        let deadline = self.deadline_ms.to_string();
        let lines = [
            LAYOUT,
            &self.method,
            &self.path,
            &self.body_digest,
            &self.token_digest,
            self.from.as_str(),
            self.to.as_str(),
            &time,
            &nonce,
            &deadline,
            &self.client_ip,
            &self.request_id,
            &self.session,
            &self.user_agent,
            &self.idempotency_key,
        ];
        let clean = |line: &&str| !line.chars().any(char::is_control);
        lines.iter().all(clean).then(|| lines.join("\n"))
    }
}

/// Why a letter is refused. The sender learns only that it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// This node has no secret, so it trusts nobody.
    #[error("this node has no cluster secret")]
    NoSecret,
    /// The seal does not match, or the letter is malformed.
    #[error("the seal does not match")]
    Broken,
    /// It is for another node.
    #[error("the request is for node {0}")]
    Misdirected(NodeId),
    /// Sealed too long ago, or ahead of our clock.
    #[error("the request was sealed {off_ms} ms away from our clock")]
    Late {
        /// How far off.
        off_ms: u64,
    },
    /// It was taken before.
    #[error("the request was already received")]
    Repeated,
    /// More letters than can be remembered.
    #[error("too many requests of other nodes at once")]
    TooMany,
}

/// Seals letters and checks those of others.
pub struct Seals {
    own: NodeId,
    secret: Option<ClusterSecret>,
    skew_ms: u64,
    /// Nonce → when its letter was sealed.
    seen: Mutex<HashMap<Uuid, i64>>,
}

impl Seals {
    /// For this node. Without a secret nothing is sealed and nothing is trusted.
    pub fn new(own: NodeId, secret: Option<ClusterSecret>, skew_seconds: u64) -> Self {
        let skew_ms = skew_seconds.saturating_mul(1000);
        Self { own, secret, skew_ms, seen: Mutex::default() }
    }

    /// Whether this node can prove who it is.
    pub fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// A key for something else, which every node of the cluster derives alike; `None` without a secret.
    /// HMAC-SHA-256 of the label, as a pseudorandom function (RFC 2104). Labels begin with `key:`, letters do not.
    pub fn derived(&self, label: &str) -> Option<[u8; 32]> {
        let secret = self.secret.as_ref()?;
        let tag = hmac::sign(&secret.0, format!("key:{label}").as_bytes());
        tag.as_ref().try_into().ok()
    }

    /// The seal of a letter, in hexadecimal.
    ///
    /// # Errors
    /// [`SealError::NoSecret`]; a field that could not travel in a header.
    pub fn seal(&self, letter: &Letterhead) -> Result<String, SealError> {
        let secret = self.secret.as_ref().ok_or(SealError::NoSecret)?;
        let text = letter.text().ok_or(SealError::Broken)?;
        Ok(hex::encode(hmac::sign(&secret.0, text.as_bytes()).as_ref()))
    }

    /// Checks a letter by our clock (`now_ms`, milliseconds since the epoch) and remembers it.
    ///
    /// # Errors
    /// Whatever is wrong with it; the seal is looked at first, in constant time.
    pub fn check(&self, letter: &Letterhead, seal: &str, now_ms: i64) -> Result<(), SealError> {
        let secret = self.secret.as_ref().ok_or(SealError::NoSecret)?;
        let text = letter.text().ok_or(SealError::Broken)?;
        let seal = unhex(seal).ok_or(SealError::Broken)?;
        hmac::verify(&secret.0, text.as_bytes(), &seal).map_err(|_| SealError::Broken)?;
        if letter.to != self.own {
            return Err(SealError::Misdirected(letter.to.clone()));
        }
        let off_ms = now_ms.abs_diff(letter.time_ms);
        if off_ms > self.skew_ms {
            return Err(SealError::Late { off_ms });
        }
        self.remember(letter, now_ms)
    }

    fn remember(&self, letter: &Letterhead, now_ms: i64) -> Result<(), SealError> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= NONCES_MAX {
            seen.retain(|_, time_ms| now_ms.abs_diff(*time_ms) <= self.skew_ms);
        }
        if seen.len() >= NONCES_MAX {
            return Err(SealError::TooMany);
        }
        match seen.insert(letter.nonce, letter.time_ms) {
            None => Ok(()),
            Some(_) => Err(SealError::Repeated),
        }
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let whole = text.len() == 2 * digest::SHA256_OUTPUT_LEN;
    whole.then(|| hex::decode(text)).flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: i64 = 1_893_456_000_000;

    fn node(id: &str) -> NodeId {
        NodeId::parse(id).unwrap()
    }

    fn seals(own: &str, secret: &[u8]) -> Seals {
        Seals::new(node(own), Some(ClusterSecret::of(secret)), 30)
    }

    fn letter() -> Letterhead {
        Letterhead {
            method: "POST".into(),
            path: "/api/v1/tools/sandbox_execute".into(),
            body_digest: hex::sha256(b"{}"),
            token_digest: hex::sha256(b"Bearer x"),
            from: node("a"),
            to: node("b"),
            time_ms: NOW,
            nonce: Uuid::new_v4(),
            deadline_ms: 1000,
            client_ip: "192.0.2.1".into(),
            request_id: "r".into(),
            session: "-".into(),
            user_agent: "-".into(),
            idempotency_key: "-".into(),
        }
    }

    #[test]
    fn a_letter_is_taken_once_by_the_node_it_is_for() {
        let (a, b, c) = (seals("a", &[7; 32]), seals("b", &[7; 32]), seals("c", &[7; 32]));
        let letter = letter();
        let seal = a.seal(&letter).unwrap();
        assert_eq!(c.check(&letter, &seal, NOW), Err(SealError::Misdirected(node("b"))));
        assert_eq!(b.check(&letter, &seal, NOW), Ok(()));
        assert_eq!(b.check(&letter, &seal, NOW), Err(SealError::Repeated));
    }

    #[test]
    fn a_letter_is_good_for_the_allowed_difference_of_clocks_and_no_longer() {
        let (a, b) = (seals("a", &[7; 32]), seals("b", &[7; 32]));
        for (off, good) in [(30_000, true), (-30_000, true), (30_001, false), (-30_001, false)] {
            let letter = letter();
            let seal = a.seal(&letter).unwrap();
            assert_eq!(b.check(&letter, &seal, NOW + off).is_ok(), good, "{off}");
        }
    }

    #[test]
    fn whatever_is_changed_breaks_the_seal() {
        let (a, b) = (seals("a", &[7; 32]), seals("b", &[7; 32]));
        let good = letter();
        let seal = a.seal(&good).unwrap();
        let changed = [
            Letterhead { method: "GET".into(), ..good.clone() },
            Letterhead { path: "/api/v1/tools/graph_delete".into(), ..good.clone() },
            Letterhead { body_digest: hex::sha256(b"[]"), ..good.clone() },
            Letterhead { token_digest: hex::sha256(b"Bearer y"), ..good.clone() },
            Letterhead { from: node("c"), ..good.clone() },
            Letterhead { to: node("c"), ..good.clone() },
            Letterhead { time_ms: NOW + 1, ..good.clone() },
            Letterhead { nonce: Uuid::new_v4(), ..good.clone() },
            Letterhead { deadline_ms: 1001, ..good.clone() },
            Letterhead { client_ip: "192.0.2.2".into(), ..good.clone() },
            Letterhead { request_id: "s".into(), ..good.clone() },
            Letterhead { session: "t".into(), ..good.clone() },
            Letterhead { user_agent: "u".into(), ..good.clone() },
            Letterhead { idempotency_key: "k".into(), ..good.clone() },
        ];
        for letter in changed {
            assert_eq!(b.check(&letter, &seal, NOW), Err(SealError::Broken), "{letter:?}");
        }
        for broken in ["", "zz", &seal[1..], &seal.replace(|c: char| c.is_ascii_digit(), "f")] {
            assert_eq!(b.check(&good, broken, NOW), Err(SealError::Broken), "{broken}");
        }
        assert_eq!(seals("b", &[8; 32]).check(&good, &seal, NOW), Err(SealError::Broken));
        let lines = Letterhead { user_agent: "u\nv".into(), ..good };
        assert_eq!(a.seal(&lines), Err(SealError::Broken));
    }

    #[test]
    fn without_a_secret_nobody_is_trusted() {
        let none = Seals::new(node("b"), None, 30);
        let letter = letter();
        let seal = seals("a", &[7; 32]).seal(&letter).unwrap();
        assert_eq!(none.check(&letter, &seal, NOW), Err(SealError::NoSecret));
        assert_eq!(none.seal(&letter), Err(SealError::NoSecret));
    }

    #[test]
    fn a_secret_that_others_can_read_or_that_is_too_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        let write = |text: &str, mode: u32| {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            ClusterSecret::read(&path)
        };
        let good = "x".repeat(32);
        assert!(matches!(write(&good, 0o644), Err(NodeError::SecretExposed { mode: 0o644, .. })));
        assert!(matches!(write("short\n", 0o600), Err(NodeError::SecretLength { bytes: 5, .. })));
        let secret = write(&format!("{good}\n"), 0o600).unwrap();
        assert!(!format!("{secret:?}").contains("xx"));
        let (ours, theirs) = (Seals::new(node("a"), Some(secret), 1), seals("a", good.as_bytes()));
        let letter = letter();
        assert_eq!(ours.seal(&letter), theirs.seal(&letter));
    }
}
