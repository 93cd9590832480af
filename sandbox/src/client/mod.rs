//! The server's side of the cell: a [`Link`] to one launcher, shared by any number of runs.
//!
//! Owns the launcher process and its socket. Called by the execution actor, which starts another link
//! when this one is closed. Refuses runs that are described wrongly before the launcher sees them.

pub mod artifacts;
pub mod files;
mod judge;
mod output;
mod session;
pub(crate) mod start;
mod talk;

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot, watch};

pub use self::output::{OutputSink, Stream};
pub use self::session::{STEP_GRACE, Session, Step, StepFiles, WriteError};
use crate::error::CellError;
use crate::options::LauncherOptions;
use crate::probe::{CellCapabilities, READY_TIMEOUT, parse_ready};
use crate::spec::{RunReport, RunSpec, Status};
use crate::wire::message::{Event, Outcome, Refusal, Request, Usage};
use crate::wire::{memfd, runfile, socket};

/// How long a launcher may take to leave after its socket closed, before it is killed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection to a launcher. Cheap to clone; the launcher ends with the last clone.
#[derive(Clone)]
pub struct Link {
    shared: Arc<Shared>,
    _life: Arc<Life>,
}

/// Ends the reading task, and with it the socket and the launcher, when the last clone is dropped.
struct Life {
    stop: watch::Sender<()>,
}

impl Drop for Life {
    fn drop(&mut self) {
        self.stop.send_replace(());
    }
}

struct Shared {
    socket: AsyncFd<OwnedFd>,
    runs: Mutex<HashMap<u64, Waiting>>,
    next: AtomicU64,
    closed: AtomicBool,
    closing: watch::Sender<bool>,
    capabilities: Arc<CellCapabilities>,
    pid: u32,
    allow_degraded: bool,
}

/// What a run in hand waits for.
struct Waiting {
    started: Option<oneshot::Sender<Result<Started, CellError>>>,
    finished: oneshot::Sender<Outcome>,
    /// Of a sandbox that stays: the accounts of its steps.
    steps: mpsc::Sender<(u32, Usage)>,
}

/// The other ends of [`Waiting`], for whoever asked for the run.
struct InHand {
    guard: Guard,
    started: oneshot::Receiver<Result<Started, CellError>>,
    finished: oneshot::Receiver<Outcome>,
    steps: mpsc::Receiver<(u32, Usage)>,
}

/// The descriptors of a run that has started.
struct Started {
    stdout: OwnedFd,
    stderr: OwnedFd,
    work: OwnedFd,
    /// Of a sandbox that stays: where requests are written, where replies are read.
    talk: Option<(OwnedFd, OwnedFd)>,
}

/// What a caller may add to a run.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// Sees output as it arrives, before the run ends; must be quick.
    pub sink: Option<OutputSink>,
    /// Bounds of what is collected from `out/`.
    pub artifacts: artifacts::ArtifactLimits,
}

impl Link {
    /// Starts a launcher and waits until it has tried what this host can do.
    ///
    /// A host that cannot isolate is not an error here: see [`Link::capabilities`]; runs are refused.
    ///
    /// # Errors
    /// [`CellError::Start`] when the process cannot be started or does not answer within ten seconds.
    pub async fn spawn(options: LauncherOptions) -> Result<Self, CellError> {
        let hello = serde_json::to_vec(&options).map_err(|e| CellError::Start(e.to_string()))?;
        let (ours, child) = start::spawn(&options, Stdio::inherit())?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let pid = child.id();
        let socket = watched(ours, Interest::READABLE | Interest::WRITABLE)?;
        let mut child = Some(child);
        let greeting = greet(&socket, Request::Hello { options: hello });
        let capabilities = match tokio::time::timeout(READY_TIMEOUT, greeting).await {
            Ok(Ok(capabilities)) => capabilities,
            other => {
                if let Some(mut child) = child.take() {
                    let _ = child.kill();
                    let _ = child.wait();
                }
                let late = CellError::Start("it did not answer in time".to_owned());
                return Err(
                    other.map_or(late, |result| result.err().unwrap_or(CellError::LauncherLost))
                );
            }
        };
        let (stop, stopped) = watch::channel(());
        let shared = Arc::new(Shared {
            socket,
            runs: Mutex::default(),
            next: AtomicU64::new(1),
            closed: AtomicBool::new(false),
            closing: watch::channel(false).0,
            capabilities: Arc::new(capabilities),
            pid,
            allow_degraded: options.allow_degraded,
        });
        if let Some(child) = child {
            tokio::spawn(listen(Arc::clone(&shared), stopped, child));
        }
        Ok(Self { shared, _life: Arc::new(Life { stop }) })
    }

    /// What the launcher found out about this host.
    pub fn capabilities(&self) -> Arc<CellCapabilities> {
        Arc::clone(&self.shared.capabilities)
    }

    /// The launcher's process id.
    pub fn launcher_pid(&self) -> u32 {
        self.shared.pid
    }

    /// Whether the launcher is lost: every further run will be refused.
    pub fn is_closed(&self) -> bool {
        self.shared.closed.load(Ordering::Acquire)
    }

    /// Resolves when the launcher is lost.
    pub async fn closed(&self) {
        let mut closing = self.shared.closing.subscribe();
        // The sender lives in `shared`, which we hold: an error cannot come.
        let _ = closing.wait_for(|closed| *closed).await;
    }

    /// Carries out one run. Dropping the future kills the run's whole tree.
    ///
    /// A payload that ran and failed is a report; an error means that it did not run to an end.
    ///
    /// # Errors
    /// See [`CellError`].
    pub async fn run(&self, spec: RunSpec, options: RunOptions) -> Result<RunReport, CellError> {
        let (InHand { guard, finished, .. }, started) = self.begin(&spec, false).await?;
        let limit = spec.limits.output_bytes;
        let (captured, outcome) = output::capture(
            [started.stdout, started.stderr],
            limit,
            options.sink,
            finished,
            || self.shared.kill(guard.id),
        )
        .await?;
        guard.defuse();
        let (artifacts, notes) = artifacts::collect(started.work, options.artifacts).await?;
        let isolation = self.shared.capabilities.isolation.clone();
        let [out, err] = captured;
        let mut report = RunReport {
            status: Status::Ok,
            return_code: None,
            signal: None,
            stdout: out.bytes,
            stderr: err.bytes,
            stdout_truncated: out.truncated,
            stderr_truncated: err.truncated,
            duration: Duration::from_nanos(outcome.duration_ns),
            cpu: Duration::from_nanos(outcome.cpu_ns),
            memory_peak_bytes: (outcome.memory_peak != u64::MAX).then_some(outcome.memory_peak),
            artifacts,
            artifact_notes: notes,
            message: None,
            isolation,
        };
        judge::judge(&mut report, &outcome);
        Ok(report)
    }

    /// Asks the launcher to begin and waits until the program runs.
    async fn begin(&self, spec: &RunSpec, steps: bool) -> Result<(InHand, Started), CellError> {
        runfile::check(spec, steps).map_err(CellError::InvalidSpec)?;
        if let Some(message) = self.shared.capabilities.refusal(self.shared.allow_degraded) {
            return Err(CellError::IsolationUnavailable(message));
        }
        let description = runfile::write(spec, steps)?;
        let stdin = match spec.stdin.is_empty() {
            true => None,
            false => Some(memfd::read_only(memfd::sealed(&[&spec.stdin])?)?),
        };
        let mut in_hand = self.shared.register()?;
        let fds: Vec<BorrowedFd<'_>> = [Some(description.as_fd()), stdin.as_ref().map(AsFd::as_fd)]
            .into_iter()
            .flatten()
            .collect();
        self.shared.send(&Request::Run { id: in_hand.guard.id }.encode(), &fds).await?;
        drop((description, stdin));
        let started = (&mut in_hand.started).await.map_err(|_| CellError::LauncherLost)??;
        Ok((in_hand, started))
    }
}

/// Registers a descriptor with the runtime.
fn watched(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd answers the same open descriptor for as long as it lives, and the AsyncFd
    // owns it.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

// === the link's own work ===

async fn greet(socket: &AsyncFd<OwnedFd>, hello: Request) -> Result<CellCapabilities, CellError> {
    let lost = |_: io::Error| CellError::Start("it ended before it was ready".to_owned());
    let bytes = hello.encode();
    let send = |fd: &OwnedFd| Ok(socket::send(fd, &bytes, &[])?);
    socket.async_io(Interest::WRITABLE, send).await.map_err(lost)?;
    let mut buffer = socket::buffer();
    let read = |fd: &OwnedFd| Ok(socket::receive(fd, &mut buffer)?);
    let received = socket.async_io(Interest::READABLE, read).await.map_err(lost)?;
    let (len, _) =
        received.ok_or_else(|| CellError::Start("it ended before it was ready".to_owned()))?;
    parse_ready(&buffer[..len])
}

/// Hands each event to the run that waits for it, until the launcher or the last clone is gone.
async fn listen(shared: Arc<Shared>, mut stopped: watch::Receiver<()>, child: Child) {
    let mut buffer = socket::buffer();
    loop {
        let read =
            shared.socket.async_io(Interest::READABLE, |fd| Ok(socket::receive(fd, &mut buffer)?));
        let received = tokio::select! {
            received = read => received,
            _ = stopped.changed() => break,
        };
        let Ok(Some((len, fds))) = received else { break };
        match Event::decode(&buffer[..len]) {
            Ok(event) => shared.dispatch(event, fds),
            Err(_) => break,
        }
    }
    shared.close();
    drop(shared);
    bury(child).await;
}

/// Waits for the launcher to leave; kills it when it does not. Either way no zombie stays.
async fn bury(mut child: Child) {
    let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let flags = rustix::process::PidfdFlags::empty();
    let pidfd = pid.and_then(|pid| rustix::process::pidfd_open(pid, flags).ok());
    if let Some(Ok(pidfd)) = pidfd.map(|fd| watched(fd, Interest::READABLE)) {
        let _ = tokio::time::timeout(LEAVE_TIMEOUT, pidfd.readable()).await;
    }
    if !matches!(child.try_wait(), Ok(Some(_))) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Shared {
    fn runs(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Waiting>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(self: &Arc<Self>) -> Result<InHand, CellError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (started, on_started) = oneshot::channel();
        let (finished, on_finished) = oneshot::channel();
        // One step at a time: its account is taken before the next begins.
        let (steps, on_steps) = mpsc::channel(1);
        let mut runs = self.runs();
        // Checked under the lock: a closing link empties the table once, afterwards nobody enters.
        if self.closed.load(Ordering::Acquire) {
            return Err(CellError::LauncherLost);
        }
        runs.insert(id, Waiting { started: Some(started), finished, steps });
        drop(runs);
        let guard = Guard { shared: Arc::clone(self), id, armed: true };
        Ok(InHand { guard, started: on_started, finished: on_finished, steps: on_steps })
    }

    async fn send(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<(), CellError> {
        let send = |fd: &OwnedFd| Ok(socket::send(fd, bytes, fds)?);
        let sent = self.socket.async_io(Interest::WRITABLE, send).await;
        sent.map_err(|_| CellError::LauncherLost)
    }

    /// Asks the launcher to kill a run.
    fn kill(self: &Arc<Self>, id: u64) {
        self.tell(&Request::Kill { id });
    }

    /// Tells the launcher something small. Needs no waiting in practice: the socket holds hundreds of
    /// such messages. When it is full after all, a task delivers it.
    fn tell(self: &Arc<Self>, request: &Request) {
        let bytes = request.encode();
        if socket::send(self.socket.get_ref(), &bytes, &[]) != Err(Errno::AGAIN) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let shared = Arc::clone(self);
            runtime.spawn(async move { shared.send(&bytes, &[]).await });
        }
    }

    fn dispatch(&self, event: Event, fds: Vec<OwnedFd>) {
        let mut runs = self.runs();
        match event {
            Event::Started { id } => {
                let mut fds = fds.into_iter();
                let (Some(stdout), Some(stderr), Some(work)) = (fds.next(), fds.next(), fds.next())
                else {
                    runs.remove(&id);
                    return;
                };
                let talk = fds.next().zip(fds.next());
                let waiting = runs.get_mut(&id).and_then(|run| run.started.take());
                if let Some(waiting) = waiting {
                    let _ = waiting.send(Ok(Started { stdout, stderr, work, talk }));
                }
            }
            Event::Finished { id, outcome } => {
                let Some(mut run) = runs.remove(&id) else { return };
                if let Some(started) = run.started.take() {
                    // It ended before its payload began.
                    let _ = started.send(Err(judge::never_started(&outcome)));
                }
                let _ = run.finished.send(outcome);
            }
            Event::Refused { id, refusal, message } => {
                let error = match refusal {
                    Refusal::Busy => CellError::Busy,
                    Refusal::Isolation => CellError::IsolationUnavailable(message),
                    Refusal::Invalid => CellError::InvalidSpec(message),
                };
                let started = runs.remove(&id).and_then(|run| run.started);
                if let Some(started) = started {
                    let _ = started.send(Err(error));
                }
            }
            Event::StepEnded { id, step, usage } => {
                if let Some(run) = runs.get(&id) {
                    let _ = run.steps.try_send((step, usage));
                }
            }
            Event::Ready { .. } => {}
        }
    }

    fn close(&self) {
        let mut runs = self.runs();
        self.closed.store(true, Ordering::Release);
        // Dropping the senders tells every run in hand.
        runs.clear();
        drop(runs);
        self.closing.send_replace(true);
    }
}

/// Kills the run when its future is dropped before the end.
struct Guard {
    shared: Arc<Shared>,
    id: u64,
    armed: bool,
}

impl Guard {
    fn defuse(mut self) {
        self.armed = false;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.armed && self.shared.runs().remove(&self.id).is_some() {
            self.shared.kill(self.id);
        }
    }
}
