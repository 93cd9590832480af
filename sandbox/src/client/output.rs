//! Captures a run's two pipes up to their cap, without ever waiting for one while the other is full.
//!
//! The run's end is told by the launcher, not by the pipes: their last writer can be a message between
//! sockets that only such messages hold. What is in the pipes when all processes are dead is all there is.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::error::CellError;
use crate::wire::message::Outcome;

/// Read at once; the size of a pipe (pipe(7)).
const CHUNK_BYTES: usize = 64 * 1024;

/// Read of a pipe that others may go on filling, at the end of a step: what it can hold at most
/// (/proc/sys/fs/pipe-max-size, 1 MiB unless the host says otherwise).
const PIPE_BYTES_MAX: usize = 1024 * 1024;

/// Which of the two pipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Sees output as it arrives.
pub type OutputSink = Arc<dyn Fn(Stream, &[u8]) + Send + Sync>;

/// What one pipe brought.
#[derive(Default)]
pub(super) struct Captured {
    pub(super) bytes: Vec<u8>,
    pub(super) truncated: bool,
}

/// Reads both pipes until the run is over and they are empty. Calls `stop` once when a cap is passed.
pub(super) async fn capture(
    pipes: [OwnedFd; 2],
    limit: u64,
    sink: Option<OutputSink>,
    finished: oneshot::Receiver<Outcome>,
    stop: impl Fn(),
) -> Result<([Captured; 2], Outcome), CellError> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let [out, err] = pipes;
    let mut out = Pipe::new(out, Stream::Stdout, limit, sink.clone(), PastLimit::Leave)?;
    let mut err = Pipe::new(err, Stream::Stderr, limit, sink, PastLimit::Leave)?;
    let mut finished = finished;
    let mut stopped = false;
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut finished => break outcome.map_err(|_| CellError::LauncherLost)?,
            result = out.read_some(), if !out.done() => result?,
            result = err.read_some(), if !err.done() => result?,
        }
        if (out.captured.truncated || err.captured.truncated) && !stopped {
            stopped = true;
            stop();
        }
    };
    out.drain(usize::MAX)?;
    err.drain(usize::MAX)?;
    Ok(([out.captured, err.captured], outcome))
}

/// What becomes of bytes beyond the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PastLimit {
    /// They stay in the pipe: its writers are about to die.
    Leave,
    /// They are read and dropped: its writers shall go on.
    Drop,
}

/// One pipe, read up to a limit.
pub(super) struct Pipe {
    fd: AsyncFd<OwnedFd>,
    stream: Stream,
    limit: usize,
    sink: Option<OutputSink>,
    chunk: Vec<u8>,
    captured: Captured,
    past_limit: PastLimit,
    /// Its end came.
    ended: bool,
}

impl Pipe {
    pub(super) fn new(
        fd: OwnedFd,
        stream: Stream,
        limit: usize,
        sink: Option<OutputSink>,
        past_limit: PastLimit,
    ) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        let fd = super::watched(fd, Interest::READABLE)?;
        let (chunk, captured) = (vec![0; CHUNK_BYTES], Captured::default());
        Ok(Self { fd, stream, limit, sink, chunk, captured, past_limit, ended: false })
    }

    /// Nothing more is to be read.
    pub(super) fn done(&self) -> bool {
        self.ended || (self.captured.truncated && self.past_limit == PastLimit::Leave)
    }

    /// More came than is kept.
    pub(super) fn truncated(&self) -> bool {
        self.captured.truncated
    }

    /// Begins anew with another limit.
    pub(super) fn begin(&mut self, limit: u64) {
        self.captured = Captured::default();
        self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
    }

    /// What was captured since [`Self::begin`], with what is in the pipe now.
    pub(super) fn finish(&mut self) -> io::Result<Captured> {
        self.drain(PIPE_BYTES_MAX)?;
        Ok(std::mem::take(&mut self.captured))
    }

    /// Waits for the next bytes and takes them. Safe to drop at any time: what was not taken stays.
    pub(super) async fn read_some(&mut self) -> io::Result<()> {
        let chunk = &mut self.chunk[..];
        let read = |fd: &OwnedFd| Ok(rustix::io::read(fd, &mut *chunk)?);
        let len = self.fd.async_io(Interest::READABLE, read).await?;
        self.take(len);
        Ok(())
    }

    /// Takes what is there without waiting, about `most` bytes.
    fn drain(&mut self, most: usize) -> io::Result<()> {
        let mut taken = 0;
        while !self.done() && taken < most {
            match rustix::io::read(self.fd.get_ref(), &mut self.chunk[..]) {
                Ok(len) => {
                    taken += len;
                    self.take(len);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    fn take(&mut self, len: usize) {
        let room = self.limit - self.captured.bytes.len();
        let kept = &self.chunk[..len.min(room)];
        if let Some(sink) = self.sink.as_ref().filter(|_| !kept.is_empty()) {
            sink(self.stream, kept);
        }
        self.captured.bytes.extend_from_slice(kept);
        self.captured.truncated |= len > room;
        self.ended = len == 0;
    }
}
