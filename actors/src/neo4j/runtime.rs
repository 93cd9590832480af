//! The threads that talk to Neo4j: connections belong to the runtime they were opened on, and an
//! actor's runtime ends with its thread. So all of them live on one of our own, made once.

use std::sync::OnceLock;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::error::Neo4jError;

/// Encoding, decoding and waiting; the machine's other threads have their own work.
const THREADS: usize = 2;
/// Statements of clients are parsed here; the guard's limits fit (as on the embedded engine's threads).
const STACK_BYTES: usize = 16 << 20;

static RUNTIME: OnceLock<Option<Runtime>> = OnceLock::new();

/// The runtime of all connections.
pub(crate) fn handle() -> Result<Handle, Neo4jError> {
    let runtime = RUNTIME.get_or_init(|| {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(THREADS).thread_stack_size(STACK_BYTES).thread_name("neo4j");
        builder.enable_all().build().ok()
    });
    let none = || Neo4jError::Config("pool_max: the system gives no threads".to_owned());
    runtime.as_ref().map(|runtime| runtime.handle().clone()).ok_or_else(none)
}

/// A task that ends when nobody waits for it any more.
pub(crate) struct Tied<T>(JoinHandle<T>);

impl<T: Send + 'static> Tied<T> {
    /// Starts `work` on the runtime.
    pub(crate) fn spawn(
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<Self, Neo4jError> {
        Ok(Self(handle()?.spawn(work)))
    }

    /// Waits for it.
    pub(crate) async fn join(mut self) -> Result<T, Neo4jError> {
        (&mut self.0).await.map_err(|error| Neo4jError::Answer(format!("a task ended: {error}")))
    }
}

impl<T> Drop for Tied<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
