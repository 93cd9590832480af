//! Arguments and results of jobs at rest: AES-256-GCM under a key of the instance, with the key's id.
//!
//! Sealed from the enqueue on, in both stores, so a dead letter needs no second treatment. Refuses what
//! was sealed for another job, for another purpose, or under a key that is not known here.
//!
//! Layout: version (1 byte) · key id (8) · nonce (12, random) · ciphertext · tag (16).

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};

use super::error::JobsError;
use crate::hex;

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const HEAD_BYTES: usize = 1 + KEY_ID_BYTES + NONCE_LEN;

/// What is sealed; part of what the seal covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Arguments of a job.
    Arguments,
    /// Result of a job.
    Result,
    /// Arguments of a schedule.
    Schedule,
    /// An entry of a job's journal.
    Journal,
}

/// The key that seals, and those that only open.
#[derive(Clone)]
pub struct Sealer {
    keys: Arc<[(KeyId, LessSafeKey)]>,
}

type KeyId = [u8; KEY_ID_BYTES];

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", self.key_id())
    }
}

impl Sealer {
    /// Seals with the first key, opens with any.
    ///
    /// # Errors
    /// No key at all.
    pub fn new(keys: impl IntoIterator<Item = [u8; 32]>) -> Result<Self, JobsError> {
        let mut known = Vec::new();
        for bytes in keys {
            let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(JobsError::corrupt)?;
            let mut id = [0; KEY_ID_BYTES];
            id.copy_from_slice(&digest(&SHA256, &bytes).as_ref()[..KEY_ID_BYTES]);
            known.push((id, LessSafeKey::new(key)));
        }
        match known.is_empty() {
            true => Err(JobsError::UnknownKey),
            false => Ok(Self { keys: known.into() }),
        }
    }

    /// The id of the key that seals, in hexadecimal.
    pub fn key_id(&self) -> String {
        hex::encode(&self.keys[0].0)
    }

    /// Seals a text for one job or schedule.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn seal(
        &self,
        purpose: Purpose,
        of: uuid::Uuid,
        text: &[u8],
    ) -> Result<Vec<u8>, JobsError> {
        let (id, key) = &self.keys[0];
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(JobsError::corrupt)?;
        let mut out = Vec::with_capacity(HEAD_BYTES + text.len() + 16);
        out.push(VERSION);
        out.extend_from_slice(id);
        out.extend_from_slice(&nonce);
        let mut body = text.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, covered(purpose, of), &mut body)
            .map_err(JobsError::corrupt)?;
        out.append(&mut body);
        Ok(out)
    }

    /// Opens what [`Sealer::seal`] made.
    ///
    /// # Errors
    /// An unknown key, or not what was sealed.
    pub fn open(
        &self,
        purpose: Purpose,
        of: uuid::Uuid,
        sealed: &[u8],
    ) -> Result<String, JobsError> {
        let broken = || JobsError::corrupt(std::io::Error::other("not a sealed text"));
        if sealed.len() < HEAD_BYTES || sealed[0] != VERSION {
            return Err(broken());
        }
        let (id, rest) = sealed[1..].split_at(KEY_ID_BYTES);
        let (nonce, body) = rest.split_at(NONCE_LEN);
        let known = self.keys.iter().find(|(known, _)| known == id);
        let (_, key) = known.ok_or(JobsError::UnknownKey)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(JobsError::corrupt)?;
        let mut body = body.to_vec();
        let text = key
            .open_in_place(nonce, covered(purpose, of), &mut body)
            .map_err(JobsError::corrupt)?;
        String::from_utf8(text.to_vec()).map_err(JobsError::corrupt)
    }
}

fn covered(purpose: Purpose, of: uuid::Uuid) -> Aad<[u8; 17]> {
    let mut covered = [0; 17];
    covered[0] = match purpose {
        Purpose::Arguments => 1,
        Purpose::Result => 2,
        Purpose::Schedule => 3,
        Purpose::Journal => 4,
    };
    covered[1..].copy_from_slice(of.as_bytes());
    Aad::from(covered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_sealed_for_this_job_and_purpose_opens() {
        let sealer = Sealer::new([[7; 32]]).unwrap();
        let (job, other) = (uuid::Uuid::now_v7(), uuid::Uuid::now_v7());
        let sealed = sealer.seal(Purpose::Arguments, job, b"{\"code\":1}").unwrap();
        assert_eq!(sealer.open(Purpose::Arguments, job, &sealed).unwrap(), "{\"code\":1}");
        assert!(!sealed.windows(4).any(|window| window == b"code"));
        assert!(sealer.open(Purpose::Result, job, &sealed).is_err());
        assert!(sealer.open(Purpose::Arguments, other, &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(sealer.open(Purpose::Arguments, job, &bent).is_err(), "byte {at}");
        }
        assert!(sealer.open(Purpose::Arguments, job, &sealed[..12]).is_err());
    }

    #[test]
    fn after_a_rotation_old_texts_open_and_new_ones_are_under_the_new_key() {
        let (old, new) = ([1; 32], [2; 32]);
        let job = uuid::Uuid::now_v7();
        let before = Sealer::new([old]).unwrap();
        let sealed = before.seal(Purpose::Result, job, b"1").unwrap();
        let after = Sealer::new([new, old]).unwrap();
        assert_eq!(after.open(Purpose::Result, job, &sealed).unwrap(), "1");
        let fresh = after.seal(Purpose::Result, job, b"2").unwrap();
        assert!(matches!(before.open(Purpose::Result, job, &fresh), Err(JobsError::UnknownKey)));
    }
}
