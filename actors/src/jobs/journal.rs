//! The journal of a job: what its run wrote down on the way, so that another run can go on from there.
//!
//! Written by the run that holds the job, read by the next one and by whoever looks. Sealed like arguments
//! and results. Refuses entries of a run whose job was taken from it, and more than a journal may hold.

use super::error::JobsError;
use super::handle::JobsHandle;
use super::seal::Purpose;
use super::store::{Grip, JOURNAL_ENTRIES_MAX};
use crate::ids::JobId;

impl JobsHandle {
    /// Writes entry number `entry` (from 0) of the journal; durable when this returns. Writing the same
    /// number again replaces it. False when `grip` no longer holds the job: whoever wrote must stop.
    ///
    /// # Errors
    /// An entry that is too large, or one too many; the store.
    pub async fn note(&self, grip: Grip, entry: u32, text: &str) -> Result<bool, JobsError> {
        let (bytes, max) = (text.len(), self.shared.options.payload_bytes_max);
        if bytes > max {
            return Err(JobsError::TooLarge { bytes, max });
        }
        if entry >= JOURNAL_ENTRIES_MAX {
            let max = JOURNAL_ENTRIES_MAX as usize;
            return Err(JobsError::TooLarge { bytes: entry as usize, max });
        }
        let sealed =
            self.shared.sealer.seal(Purpose::Journal, grip.id.as_uuid(), text.as_bytes())?;
        let held = self.shared.store.note(grip, entry, sealed).await?;
        self.shared.changed();
        Ok(held)
    }

    /// The journal of a job, in order; empty when it has none. Whose job it is was asked before.
    ///
    /// # Errors
    /// The store; an entry that cannot be opened.
    pub async fn journal(&self, id: JobId) -> Result<Vec<String>, JobsError> {
        let entries = self.shared.store.journal(id).await?;
        let open =
            |sealed: &Vec<u8>| self.shared.sealer.open(Purpose::Journal, id.as_uuid(), sealed);
        entries.iter().map(open).collect()
    }
}
