//! A queue for unit tests of tools: real, in a folder, without workers.

use std::path::Path;
use std::sync::Arc;

use ultimate_mcp_actors::jobs::{JobsHandle, JobsOptions, Sealer, SqliteJobs};
use ultimate_mcp_actors::supervision::Supervisor;

/// Starts it.
pub async fn queue(root: &Supervisor, folder: &Path) -> JobsHandle {
    let options = JobsOptions { workers: 0, ..JobsOptions::default() };
    let store = SqliteJobs::open(&folder.join("jobs.db"), options.rules()).unwrap();
    let sealer = Sealer::new([[1; 32]]).unwrap();
    JobsHandle::start(root, Arc::new(store), sealer, options).await.unwrap()
}
