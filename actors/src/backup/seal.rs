//! Sealing: AES-256-GCM in pieces (the STREAM construction, Hoang et al. 2015, crate `aead`), so that an
//! object of any size is read and written in bounded memory, and cutting, reordering or swapping pieces
//! or objects is found.
//!
//! Each object has a random salt and from it a key of its own (HKDF-SHA256, RFC 5869), so nonces can
//! count from zero. The object's place in the backup is authenticated with every piece.

use std::fmt;
use std::path::Path;

use aes_gcm::Aes256Gcm;
use aes_gcm::aead::generic_array::GenericArray;
use aes_gcm::aead::stream::{DecryptorBE32, EncryptorBE32};
use aes_gcm::aead::{KeyInit, Payload};
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hkdf;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};

use super::error::BackupError;
use crate::hex;

/// What every sealed object begins with.
const MAGIC: &[u8; 8] = b"UMCPSEA1";
const SALT_BYTES: usize = 32;
const HEADER_BYTES: usize = MAGIC.len() + SALT_BYTES;
/// Plain bytes of one piece.
const PIECE_BYTES: usize = 64 * 1024;
/// Bytes GCM adds to each.
const TAG_BYTES: usize = 16;
/// The nonce's part that does not count; each object has its own key, so it may be the same for all.
const NONCE_PREFIX: [u8; 7] = [0; 7];
const KEY_BYTES: usize = 32;

/// The key of the backups. It must be kept elsewhere than the backups and the instance: without it
/// nothing can be restored.
#[derive(Clone)]
pub struct BackupKey([u8; KEY_BYTES]);

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupKey(..)")
    }
}

struct ObjectKey;

impl hkdf::KeyType for ObjectKey {
    fn len(&self) -> usize {
        KEY_BYTES
    }
}

impl BackupKey {
    /// A new random key as the text that [`BackupKey::parse`] reads.
    pub fn generate() -> String {
        hex::encode(&random::<KEY_BYTES>())
    }

    /// Reads 64 hexadecimal digits; white space around them does not count.
    ///
    /// # Errors
    /// [`BackupError::BadKey`] with the file's name, never with its content.
    pub fn parse(text: &str, path: &Path) -> Result<Self, BackupError> {
        let bad = |problem: &str| BackupError::BadKey {
            path: path.to_owned(),
            problem: problem.to_owned(),
        };
        let digits = text.trim();
        if digits.len() != 2 * KEY_BYTES {
            return Err(bad("64 hexadecimal digits are needed; `backup --new-key FILE` makes one"));
        }
        let key = hex::decode(digits).and_then(|key| key.try_into().ok());
        key.map(Self).ok_or_else(|| bad("it has something other than hexadecimal digits"))
    }

    fn cipher(&self, salt: &[u8]) -> Aes256Gcm {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, salt);
        let secret = salt.extract(&self.0);
        let mut key = [0; KEY_BYTES];
        let info: [&[u8]; 1] = [b"ultimate-mcp backup object v1"];
        let okm = secret.expand(&info, ObjectKey);
        okm.and_then(|okm| okm.fill(&mut key)).expect("HKDF gives up to 8160 bytes, 32 are asked");
        Aes256Gcm::new(GenericArray::from_slice(&key))
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).expect("the kernel has randomness once the system is up");
    bytes
}

/// What went through a sealer or an opener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passed {
    /// Plain bytes.
    pub bytes: u64,
    /// SHA-256 of them, in hexadecimal.
    pub sha256: String,
}

struct Meter {
    digest: Context,
    bytes: u64,
}

impl Meter {
    fn new() -> Self {
        Self { digest: Context::new(&SHA256), bytes: 0 }
    }

    fn count(&mut self, plain: &[u8]) {
        self.digest.update(plain);
        self.bytes += plain.len() as u64;
    }

    fn passed(self) -> Passed {
        Passed { bytes: self.bytes, sha256: hex::encode(self.digest.finish().as_ref()) }
    }
}

/// Seals one object.
pub(super) struct Sealer {
    stream: EncryptorBE32<Aes256Gcm>,
    place: Vec<u8>,
    held: Vec<u8>,
    meter: Meter,
}

impl Sealer {
    /// A sealer for the object of this name; its header is written to `out`.
    pub(super) fn new(key: &BackupKey, name: &str, out: &mut Vec<u8>) -> Self {
        let salt = random::<SALT_BYTES>();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&salt);
        let nonce = GenericArray::from_slice(&NONCE_PREFIX);
        let stream = EncryptorBE32::from_aead(key.cipher(&salt), nonce);
        let held = Vec::with_capacity(PIECE_BYTES);
        Self { stream, place: name.as_bytes().to_vec(), held, meter: Meter::new() }
    }

    /// Takes plain bytes; sealed ones appear in `out` piece by piece.
    pub(super) fn push(
        &mut self,
        mut plain: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), aes_gcm::Error> {
        self.meter.count(plain);
        while !plain.is_empty() {
            // A full piece is sealed when more follows: the last one is sealed as the last.
            if self.held.len() == PIECE_BYTES {
                let piece = Payload { msg: &self.held, aad: &self.place };
                out.extend_from_slice(&self.stream.encrypt_next(piece)?);
                self.held.clear();
            }
            let room = PIECE_BYTES - self.held.len();
            let (now, later) = plain.split_at(room.min(plain.len()));
            self.held.extend_from_slice(now);
            plain = later;
        }
        Ok(())
    }

    /// Seals what is left.
    pub(super) fn finish(self, out: &mut Vec<u8>) -> Result<Passed, aes_gcm::Error> {
        let piece = Payload { msg: &self.held, aad: &self.place };
        out.extend_from_slice(&self.stream.encrypt_last(piece)?);
        Ok(self.meter.passed())
    }
}

/// Opens one object.
pub(super) struct Opener {
    key: BackupKey,
    stream: Option<DecryptorBE32<Aes256Gcm>>,
    place: Vec<u8>,
    held: Vec<u8>,
    meter: Meter,
}

/// It does not open.
#[derive(Debug)]
pub(super) struct DoesNotOpen;

impl Opener {
    /// An opener for the object of this name.
    pub(super) fn new(key: &BackupKey, name: &str) -> Self {
        Self {
            key: key.clone(),
            stream: None,
            place: name.as_bytes().to_vec(),
            held: Vec::with_capacity(PIECE_BYTES + TAG_BYTES),
            meter: Meter::new(),
        }
    }

    /// Takes sealed bytes; plain ones appear in `out` once their piece is whole and authentic.
    pub(super) fn push(&mut self, sealed: &[u8], out: &mut Vec<u8>) -> Result<(), DoesNotOpen> {
        self.held.extend_from_slice(sealed);
        if self.stream.is_none() {
            if self.held.len() < HEADER_BYTES {
                return Ok(());
            }
            let salt = self.held.get(MAGIC.len()..HEADER_BYTES).ok_or(DoesNotOpen)?;
            if !self.held.starts_with(MAGIC) {
                return Err(DoesNotOpen);
            }
            let nonce = GenericArray::from_slice(&NONCE_PREFIX);
            self.stream = Some(DecryptorBE32::from_aead(self.key.cipher(salt), nonce));
            self.held.drain(..HEADER_BYTES);
        }
        let Some(stream) = &mut self.stream else { return Err(DoesNotOpen) };
        let whole = PIECE_BYTES + TAG_BYTES;
        let mut used = 0;
        // The last piece may be full too: a piece is opened as an inner one only when more follows.
        while self.held.len() - used > whole {
            let piece = Payload { msg: &self.held[used..used + whole], aad: &self.place };
            let plain = stream.decrypt_next(piece).map_err(|_| DoesNotOpen)?;
            self.meter.count(&plain);
            out.extend_from_slice(&plain);
            used += whole;
        }
        self.held.drain(..used);
        Ok(())
    }

    /// Opens the last piece; without it the object was cut short.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) -> Result<Passed, DoesNotOpen> {
        let stream = self.stream.take().ok_or(DoesNotOpen)?;
        let piece = Payload { msg: &self.held, aad: &self.place };
        let plain = stream.decrypt_last(piece).map_err(|_| DoesNotOpen)?;
        self.meter.count(&plain);
        out.extend_from_slice(&plain);
        Ok(self.meter.passed())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> BackupKey {
        BackupKey::parse(&BackupKey::generate(), Path::new("key")).unwrap()
    }

    fn seal(key: &BackupKey, name: &str, plain: &[u8], step: usize) -> (Vec<u8>, Passed) {
        let mut out = Vec::new();
        let mut sealer = Sealer::new(key, name, &mut out);
        for part in plain.chunks(step.max(1)) {
            sealer.push(part, &mut out).unwrap();
        }
        let passed = sealer.finish(&mut out).unwrap();
        (out, passed)
    }

    fn open(
        key: &BackupKey,
        name: &str,
        sealed: &[u8],
        step: usize,
    ) -> Result<(Vec<u8>, Passed), DoesNotOpen> {
        let mut out = Vec::new();
        let mut opener = Opener::new(key, name);
        for part in sealed.chunks(step.max(1)) {
            opener.push(part, &mut out)?;
        }
        let passed = opener.finish(&mut out)?;
        Ok((out, passed))
    }

    #[test]
    fn lengths_around_a_piece_survive() {
        let key = key();
        for length in [0, 1, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES] {
            let plain = vec![7; length];
            let (sealed, passed) = seal(&key, "a", &plain, 1000);
            let (opened, again) = open(&key, "a", &sealed, 777).unwrap();
            assert_eq!((opened, again), (plain, passed));
        }
    }

    #[test]
    fn another_key_another_name_a_cut_and_a_swap_do_not_open() {
        let (key, plain) = (key(), vec![1; 3 * PIECE_BYTES]);
        let (sealed, _) = seal(&key, "a", &plain, 4096);
        let opens =
            |key: &BackupKey, name: &str, sealed: &[u8]| open(key, name, sealed, 4096).is_ok();
        assert!(opens(&key, "a", &sealed));
        assert!(!opens(&super::tests::key(), "a", &sealed));
        assert!(!opens(&key, "b", &sealed));
        assert!(!opens(&key, "a", &sealed[..sealed.len() - 1]));
        let piece = PIECE_BYTES + TAG_BYTES;
        assert!(!opens(&key, "a", &sealed[..HEADER_BYTES + piece]), "cut between two pieces");
        let mut swapped = sealed.clone();
        let (first, rest) = swapped[HEADER_BYTES..].split_at_mut(piece);
        first.swap_with_slice(&mut rest[..piece]);
        assert!(!opens(&key, "a", &swapped));
    }

    #[test]
    fn a_key_file_that_is_none_is_refused_without_showing_it() {
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(65)] {
            let error = BackupKey::parse(text, Path::new("/k")).unwrap_err().to_string();
            assert!(error.starts_with("/k: not a backup key"), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn one_changed_bit_anywhere_is_found(
            plain in prop::collection::vec(any::<u8>(), 0..2000), at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let key = key();
            let (mut sealed, _) = seal(&key, "a", &plain, 100);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert!(open(&key, "a", &sealed, 100).is_err());
        }
    }
}
