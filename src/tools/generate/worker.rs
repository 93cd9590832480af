//! Templates are rendered in a process of their own: this binary, started as `template-worker`.
//!
//! A template can be made to recurse until the stack is gone, or to repeat a list until memory is; a
//! Rust process ends there and then. So the process that ends is not the server: the worker has an
//! empty environment, one job on standard input, one reply on standard output, and limits of the
//! kernel on processor time, memory and files. [`run_if_asked`] is the worker's side, [`Worker`] the
//! server's.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::{Resource, Rlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;
use ultimate_mcp_actors::deadline::Deadline;

use super::engine::{Job, OUTPUT_BYTES_MAX, Reply, render};
use crate::error::{ApiError, Code};

/// The argument that makes this binary a worker.
const ARGUMENT: &str = "template-worker";
/// Longest a worker may take by the clock; its processor time is bounded by [`CPU_SECONDS`].
const WALL_MAX: Duration = Duration::from_secs(5);
/// Processor time of a worker: a hundred times what the fuel normally takes.
const CPU_SECONDS: u64 = 2;
/// Address space of a worker: the binary, the stack below, and far more than the fuel can pay for.
const MEMORY_BYTES: u64 = 512 * 1024 * 1024;
/// Stack of the rendering thread. Chains such as `not not …` recurse once per word.
const STACK_BYTES: usize = 64 * 1024 * 1024;
/// Longest reply in bytes: the output, each byte of it escaped, and what surrounds it.
const REPLY_BYTES_MAX: u64 = OUTPUT_BYTES_MAX as u64 * 6 + 4096;
/// Workers at once; each may use a processor for [`CPU_SECONDS`].
const WORKERS_MAX: usize = 4;

/// Said when a worker ended without a reply.
const BEYOND: &str =
    "needs more time, memory or depth than one rendering may take; make it smaller or simpler";

/// Renders templates somewhere.
pub trait Renderer: Send + Sync + 'static {
    /// Renders; `Err` when no verdict could be had.
    fn render(&self, job: Job, deadline: Deadline) -> BoxFuture<'_, Result<Reply, ApiError>>;
}

/// The worker's side: if this process was started as a worker, does its one job.
pub fn run_if_asked() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(ARGUMENT)) {
        return None;
    }
    Some(match work() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

fn work() -> std::io::Result<()> {
    confine()?;
    let mut input = Vec::new();
    std::io::stdin().lock().read_to_end(&mut input)?;
    let job: Job = serde_json::from_slice(&input)?;
    let rendering = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || render(&job));
    let reply = rendering?.join().unwrap_or_else(|_panic| beyond());
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, &reply)?;
    stdout.flush()
}

/// setrlimit(2). No file can be written (the reply goes to a pipe) and no core is dumped.
fn confine() -> std::io::Result<()> {
    let exactly = |bound| Rlimit { current: Some(bound), maximum: Some(bound) };
    setrlimit(Resource::Cpu, exactly(CPU_SECONDS))?;
    setrlimit(Resource::As, exactly(MEMORY_BYTES))?;
    setrlimit(Resource::Fsize, exactly(0))?;
    setrlimit(Resource::Core, exactly(0))?;
    setrlimit(Resource::Nofile, exactly(16))?;
    Ok(())
}

fn beyond() -> Reply {
    Reply::Refused { line: None, problem: BEYOND.to_owned() }
}

/// The server's side: one process per rendering. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    program: PathBuf,
    places: Arc<Semaphore>,
}

impl Default for Worker {
    /// Workers of the running binary; it stays the same when its file is replaced.
    fn default() -> Self {
        Self::of("/proc/self/exe".into())
    }
}

impl Worker {
    /// Workers of another binary that calls [`run_if_asked`].
    pub fn of(program: PathBuf) -> Self {
        Self { program, places: Arc::new(Semaphore::new(WORKERS_MAX)) }
    }

    async fn converse(&self, job: Vec<u8>) -> std::io::Result<Reply> {
        let mut child = Command::new(&self.program)
            .arg(ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let mut input = child.stdin.take().expect("stdin is piped");
        let output = child.stdout.take().expect("stdout is piped");
        let mut text = Vec::new();
        let mut limited = output.take(REPLY_BYTES_MAX);
        // A worker that died reads nothing more; that it left no reply says so.
        let feed = async {
            let _ = input.write_all(&job).await;
            drop(input);
        };
        let (read, ()) = tokio::join!(limited.read_to_end(&mut text), feed);
        read?;
        child.wait().await?;
        Ok(serde_json::from_slice(&text).unwrap_or_else(|_| beyond()))
    }
}

impl Renderer for Worker {
    fn render(&self, job: Job, deadline: Deadline) -> BoxFuture<'_, Result<Reply, ApiError>> {
        Box::pin(async move {
            let until = deadline.at_most(WALL_MAX).instant();
            let Ok(place) = tokio::time::timeout_at(until, self.places.acquire()).await else {
                return Err(ApiError::new(
                    Code::Overloaded,
                    "too many templates are being rendered",
                ));
            };
            let _place = place.map_err(|e| ApiError::new(Code::Internal, "closed").caused_by(e))?;
            let job = serde_json::to_vec(&job)
                .map_err(|e| ApiError::new(Code::Internal, "no job could be made").caused_by(e))?;
            let until = deadline.at_most(WALL_MAX).instant();
            match tokio::time::timeout_at(until, self.converse(job)).await {
                Ok(Ok(reply)) => Ok(reply),
                Ok(Err(error)) => Err(ApiError::new(
                    Code::Unavailable,
                    "no process could be started to render the template",
                )
                .caused_by(error)),
                Err(_elapsed) if deadline.is_past() => {
                    Err(ApiError::new(Code::DeadlineExceeded, "the call's deadline passed"))
                }
                Err(_elapsed) => Ok(beyond()),
            }
        })
    }
}
