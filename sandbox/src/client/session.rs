//! A sandbox that stays: an interpreter in its own cell, asked step by step.
//!
//! Owns the server's ends of its pipes; whoever holds the [`Session`] holds the sandbox, dropping it kills
//! everything in it. The launcher keeps the clock of each step, the limits and the life; the driver inside
//! is believed nothing but what the program itself may say (see `wire/step.rs`), and a reply that is none
//! ends the sandbox.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, oneshot, watch};

use super::artifacts::{self, ArtifactLimits};
use super::files::{self, FileError, Listing};
use super::talk::{Incoming, Progress, Talk, UNUSED, token, write_some};
use super::{Guard, InHand, Link, Shared, Started, judge};
use crate::error::CellError;
use crate::spec::{InputFile, RunSpec};
use crate::step::{End, StepReport};
use crate::wire::message::{Outcome, Request, Usage};
use crate::wire::step::{Ask, Reply};

/// What a step gets after its interrupt, to clean up, before the sandbox is killed.
pub const STEP_GRACE: Duration = Duration::from_secs(1);
/// An interpreter that does not answer within this does not start at all.
const HELLO_WALL: Duration = Duration::from_secs(20);
/// Beyond deadline and grace: a launcher that has not acted by then never will.
const LAUNCHER_SLACK: Duration = Duration::from_secs(5);
/// Between the closing of the reply pipe and the news of the interpreter's end.
const FAREWELL: Duration = Duration::from_secs(2);

/// A sandbox that stays. Dropping it kills it.
pub struct Session {
    shared: Arc<Shared>,
    guard: Guard,
    /// Why we asked for its end, when we did.
    reason: Arc<OnceLock<End>>,
    ended: watch::Receiver<Option<Ended>>,
    work: OwnedFd,
    rest_milli: u32,
    talk: Mutex<Talk>,
}

/// How it ended, and what it had used by then.
#[derive(Clone, Debug)]
struct Ended {
    end: End,
    used: Usage,
}

/// One step to take.
#[derive(Clone, Debug)]
pub struct Step {
    /// Python source; the value of a last expression is reported.
    pub code: String,
    /// After this the step is interrupted.
    pub wall: Duration,
    /// Bytes kept of stdout and of stderr, each; writing more interrupts the step.
    pub output_bytes: u64,
}

/// What came of one request.
struct Answered {
    reply: Reply,
    usage: Usage,
    duration: Duration,
}

impl Link {
    /// Opens a sandbox that stays and waits until its interpreter answers. Between steps `rest_milli`
    /// thousandths of a processor are left to what goes on in it.
    ///
    /// # Errors
    /// See [`CellError`]; limits in which the interpreter does not start are [`CellError::InvalidSpec`].
    pub async fn open(&self, spec: RunSpec, rest_milli: u32) -> Result<Session, CellError> {
        let (in_hand, started) = self.begin(&spec, true).await?;
        let session = Session::new(Arc::clone(&self.shared), in_hand, started, rest_milli)?;
        let mut talk = session.talk.lock().await;
        let answered = session.ask(&mut talk, &Ask::Hello, HELLO_WALL, None).await;
        drop(talk);
        match answered {
            Ok(_) => Ok(session),
            Err(End::LauncherLost) => Err(CellError::LauncherLost),
            Err(End::Setup(why)) => Err(CellError::IsolationUnavailable(why)),
            Err(end) => Err(CellError::InvalidSpec(format!(
                "no interpreter starts within these limits: {end}"
            ))),
        }
    }
}

impl Session {
    fn new(
        shared: Arc<Shared>,
        in_hand: InHand,
        started: Started,
        rest_milli: u32,
    ) -> Result<Self, CellError> {
        let InHand { guard, finished, steps: accounts, .. } = in_hand;
        let (talk, work) = Talk::new(started, accounts)?;
        let reason = Arc::new(OnceLock::new());
        let (told, ended) = watch::channel(None);
        tokio::spawn(hear_of_end(Arc::clone(&shared), finished, Arc::clone(&reason), told));
        Ok(Self { shared, guard, reason, ended, work, rest_milli, talk: Mutex::new(talk) })
    }

    /// Why it is no more; `None` while it lives.
    pub fn end(&self) -> Option<End> {
        self.ended.borrow().as_ref().map(|ended| ended.end.clone())
    }

    /// Resolves when it is no more.
    pub async fn ended(&self) -> End {
        let mut ended = self.ended.clone();
        let end = ended.wait_for(Option::is_some).await;
        let end = end.ok().and_then(|ended| ended.as_ref().map(|ended| ended.end.clone()));
        end.unwrap_or(End::LauncherLost)
    }

    /// Interrupts the step in hand, if there is one.
    pub fn interrupt(&self) {
        self.shared.tell(&Request::Interrupt { id: self.guard.id });
    }

    /// Kills everything in it, because of `reason`.
    pub fn kill(&self, reason: End) {
        let _ = self.reason.set(reason);
        self.shared.kill(self.guard.id);
    }

    /// Takes one step; others wait for it. Dropping the future in the middle of a step kills the sandbox,
    /// since an answer that nobody awaits would be taken for the next step's.
    ///
    /// # Errors
    /// How the sandbox had ended before. One that ends during the step is a report.
    pub async fn step(&self, step: &Step) -> Result<StepReport, End> {
        let mut talk = self.talk.lock().await;
        if let Some(end) = self.end() {
            return Err(end);
        }
        let name = format!("<step {}>", talk.number);
        let before = talk.before;
        let ask = Ask::Step { name: &name, code: &step.code };
        let began = Instant::now();
        let limit = Some(step.output_bytes);
        let answered = self.ask(&mut talk, &ask, step.wall, limit).await;
        let output = talk.output();
        let mut report = match answered {
            Ok(answered) => {
                judge::step(answered.reply, &answered.usage, &before, answered.duration)
            }
            Err(end) => {
                let used = self.ended.borrow().as_ref().map(|ended| ended.used);
                judge::last_step(end, &used.unwrap_or(before), &before, began.elapsed())
            }
        };
        judge::add_output(&mut report, output);
        let collected = self.collect(&mut talk).await;
        (report.artifacts, report.artifact_notes) = collected.unwrap_or_default();
        Ok(report)
    }

    /// Places files beneath the working directory. The interpreter writes them with its own rights and on
    /// its own account; then each is read back from outside, so that its word need not be taken.
    ///
    /// # Errors
    /// What refused them; the sandbox lives on unless it ended.
    pub async fn write_files(&self, files: &[InputFile], wall: Duration) -> Result<(), WriteError> {
        for file in files {
            crate::wire::runfile::check_path(&file.path).map_err(FileError::Path)?;
        }
        let mut talk = self.talk.lock().await;
        if let Some(end) = self.end() {
            return Err(WriteError::Ended(end));
        }
        let answered = self.ask(&mut talk, &Ask::Write { files }, wall, None).await;
        let answered = answered.map_err(WriteError::Ended)?;
        if answered.usage.interrupted {
            return Err(WriteError::Refused("it took too long".to_owned()));
        }
        if !answered.reply.fine {
            let (name, message) = answered.reply.error.unwrap_or_default();
            return Err(WriteError::Refused(format!(
                "{}: {}",
                judge::lossy(&name),
                judge::lossy(&message)
            )));
        }
        for file in files {
            let there = files::read(&self.work, &file.path, file.content.len() as u64)?;
            if there != file.content {
                return Err(WriteError::Changed(file.path.clone()));
            }
        }
        Ok(())
    }

    /// The content of a file beneath the working directory, at most `most` bytes; also after its end.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn read_file(&self, path: String, most: u64) -> Result<Vec<u8>, FileError> {
        let work = self.work().map_err(|error| FileError::NotPlain(error.to_string()))?;
        off_thread(move || files::read(&work, &path, most)).await
    }

    /// Everything beneath a directory of the working directory, "" for all.
    ///
    /// # Errors
    /// See [`FileError`].
    pub async fn list_files(&self, path: String) -> Result<Listing, FileError> {
        let work = self.work().map_err(|error| FileError::NotPlain(error.to_string()))?;
        off_thread(move || files::list(&work, &path)).await
    }

    /// Ends it and answers what is new in `out/`.
    pub async fn close(&self, reason: End) -> (End, StepFiles) {
        self.kill(reason);
        let end = tokio::time::timeout(LAUNCHER_SLACK, self.ended()).await;
        let mut talk = self.talk.lock().await;
        let files = self.collect(&mut talk).await.unwrap_or_default();
        (end.unwrap_or(End::LauncherLost), files)
    }

    fn work(&self) -> io::Result<OwnedFd> {
        self.work.as_fd().try_clone_to_owned()
    }

    async fn collect(&self, talk: &mut Talk) -> Result<StepFiles, CellError> {
        let (work, limits) = (self.work()?, ArtifactLimits::default());
        artifacts::collect_new(work, limits, &mut talk.known).await
    }

    /// One request and its answer. With `output` the two streams are captured up to that many bytes, and
    /// more interrupts the step. An error means that the sandbox is gone.
    async fn ask(
        &self,
        talk: &mut Talk,
        ask: &Ask<'_>,
        wall: Duration,
        output: Option<u64>,
    ) -> Result<Answered, End> {
        talk.number = talk.number.wrapping_add(1);
        let (id, step, token) = (self.guard.id, talk.number, token());
        let in_step = InStep(Some(self));
        if talk.unasked() {
            return Err(self.broken("it answered before it was asked").await);
        }
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let (wall_ns, grace_ns) = (nanos(wall), nanos(STEP_GRACE));
        let begin = Request::StepBegin { id, step, wall_ns, grace_ns };
        self.shared.send(&begin.encode(), &[]).await.map_err(|_| End::LauncherLost)?;
        let began = Instant::now();
        let patience = wall + STEP_GRACE + LAUNCHER_SLACK;
        let request = ask.encode(token, talk.before.interrupted);
        let exchange = self.exchange(talk, &request, token, output);
        let reply = match tokio::time::timeout(patience, exchange).await {
            Ok(Ok(Some(reply))) => reply,
            Ok(Ok(None)) => return Err(self.ended().await),
            Ok(Err(why)) => return Err(self.broken(&why).await),
            Err(_) => return Err(self.broken("nothing ended a step that overran").await),
        };
        let duration = began.elapsed();
        let end = Request::StepEnd { id, step, rest_milli: self.rest_milli };
        self.shared.send(&end.encode(), &[]).await.map_err(|_| End::LauncherLost)?;
        let usage = loop {
            tokio::select! {
                account = talk.accounts.recv() => match account {
                    Some((of, usage)) if of == step => break usage,
                    Some(_) => {}
                    None => return Err(self.ended().await),
                },
                end = self.ended() => return Err(end),
            }
        };
        talk.before = usage;
        in_step.done();
        Ok(Answered { reply, usage, duration })
    }

    /// Sends the request and reads until its reply is whole. `None` when the sandbox ended.
    async fn exchange(
        &self,
        talk: &mut Talk,
        request: &[u8],
        token: u64,
        output: Option<u64>,
    ) -> Result<Option<Reply>, String> {
        let Talk { requests, replies, out, err, .. } = talk;
        out.begin(output.unwrap_or(0));
        err.begin(output.unwrap_or(0));
        let (mut sent, mut interrupted) = (0, false);
        let mut incoming = Incoming::new(token);
        let ended = self.ended();
        tokio::pin!(ended);
        loop {
            tokio::select! {
                biased;
                _ = &mut ended => return Ok(None),
                read = incoming.read_some(replies) => match read? {
                    Progress::Whole(reply) => return Ok(Some(reply)),
                    Progress::Part => {}
                    Progress::Closed => {
                        // The interpreter's end is on its way, unless it only closed its mouth.
                        let farewell = tokio::time::timeout(FAREWELL, &mut ended).await;
                        return farewell.map(|_| None).map_err(|_| "it hung up".to_owned());
                    }
                },
                wrote = write_some(requests, &request[sent..]), if sent < request.len() => {
                    sent += wrote.unwrap_or(request.len() - sent);
                }
                read = out.read_some(), if output.is_some() && !out.done() => {
                    read.map_err(|error| error.to_string())?;
                }
                read = err.read_some(), if output.is_some() && !err.done() => {
                    read.map_err(|error| error.to_string())?;
                }
            }
            if (out.truncated() || err.truncated()) && !interrupted && output.is_some() {
                interrupted = true;
                self.interrupt();
            }
        }
    }

    /// Ends a sandbox that cannot be talked to.
    async fn broken(&self, why: &str) -> End {
        self.kill(End::Broken(why.to_owned()));
        let ended = tokio::time::timeout(LAUNCHER_SLACK, self.ended()).await;
        ended.unwrap_or(End::LauncherLost)
    }
}

/// What was collected from `out/`, and notes about what was not.
pub type StepFiles = (Vec<crate::spec::Artifact>, Vec<String>);

/// Why files were not placed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The sandbox is no more.
    #[error("the sandbox has ended: {0}")]
    Ended(End),
    /// The interpreter could not write them; its own words.
    #[error("the sandbox did not take the files ({0})")]
    Refused(String),
    /// What stands there is not what was written.
    #[error("{0} was changed by the sandbox while it was written")]
    Changed(String),
    /// What stands there is no plain file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Kills the sandbox when a request is abandoned in the middle.
struct InStep<'a>(Option<&'a Session>);

impl InStep<'_> {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for InStep<'_> {
    fn drop(&mut self) {
        if let Some(session) = self.0 {
            session.kill(End::Broken("a step was abandoned".to_owned()));
        }
    }
}

/// Waits for the launcher's word and publishes why the sandbox is no more.
async fn hear_of_end(
    shared: Arc<Shared>,
    finished: oneshot::Receiver<Outcome>,
    reason: Arc<OnceLock<End>>,
    told: watch::Sender<Option<Ended>>,
) {
    let mut used = UNUSED;
    let end = match finished.await {
        Ok(outcome) => {
            (used.cpu_ns, used.memory_peak) = (outcome.cpu_ns, outcome.memory_peak);
            judge::end(&outcome, reason.get())
        }
        Err(_) if shared.closed.load(std::sync::atomic::Ordering::Acquire) => End::LauncherLost,
        Err(_) => reason.get().cloned().unwrap_or(End::Closed),
    };
    told.send_replace(Some(Ended { end, used }));
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FileError> + Send + 'static,
) -> Result<T, FileError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(FileError::NotPlain(error.to_string())))
}
