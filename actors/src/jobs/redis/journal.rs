//! The journals of jobs: a hash beside the job's, one field per entry.

use super::{RedisJobs, STEP_MAX, bytes, scripts};
use crate::deadline::Deadline;
use crate::ids::JobId;
use crate::jobs::error::JobsError;
use crate::jobs::store::Grip;

impl RedisJobs {
    /// Writes an entry; false when the job is not running under this grip.
    pub(super) async fn write_note(
        &self,
        grip: Grip,
        entry: u32,
        sealed: Vec<u8>,
    ) -> Result<bool, JobsError> {
        let args = vec![bytes(grip.id), bytes(grip.grip), bytes(entry), sealed];
        let written: u8 = self.run(&scripts::NOTE, true, args).await?;
        Ok(written == 1)
    }

    /// All entries, in order.
    pub(super) async fn read_journal(&self, id: JobId) -> Result<Vec<Vec<u8>>, JobsError> {
        let mut command = crate::redis::redis::cmd("HGETALL");
        command.arg(self.name(&format!("journal:{id}")));
        let deadline = Deadline::after(STEP_MAX);
        let mut entries: Vec<(u32, Vec<u8>)> = self.client.run(deadline, true, &command).await?;
        entries.sort_by_key(|(entry, _)| *entry);
        Ok(entries.into_iter().map(|(_, body)| body).collect())
    }
}
