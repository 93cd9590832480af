//! The pipes of a sandbox that stays: requests out, replies in, each bounded and numbered.
//!
//! Used by [`super::session`], one request at a time. Refuses replies that are none (`wire/step.rs`).

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use super::artifacts::Known;
use super::output::{Captured, PastLimit, Pipe, Stream};
use super::{Started, watched};
use crate::error::CellError;
use crate::wire::message::Usage;
use crate::wire::step::{HEAD_BYTES, Reply, length};

/// What only one step at a time may touch.
pub(super) struct Talk {
    pub(super) requests: AsyncFd<OwnedFd>,
    pub(super) replies: AsyncFd<OwnedFd>,
    pub(super) out: Pipe,
    pub(super) err: Pipe,
    pub(super) accounts: mpsc::Receiver<(u32, Usage)>,
    pub(super) number: u32,
    pub(super) before: Usage,
    pub(super) known: Known,
}

/// What a sandbox has used before its first step.
pub(super) const UNUSED: Usage =
    Usage { interrupted: false, cpu_ns: 0, memory_peak: u64::MAX, oom_kills: 0, pids_hits: 0 };

// === impl Talk ===

impl Talk {
    /// Takes the ends of the pipes; answers the working directory too.
    pub(super) fn new(
        started: Started,
        accounts: mpsc::Receiver<(u32, Usage)>,
    ) -> Result<(Self, OwnedFd), CellError> {
        let Started { stdout, stderr, work, talk } = started;
        let (requests, replies) = talk.ok_or(CellError::LauncherLost)?;
        for fd in [&requests, &replies] {
            rustix::io::ioctl_fionbio(fd, true)?;
        }
        let talk = Self {
            requests: watched(requests, Interest::WRITABLE)?,
            replies: watched(replies, Interest::READABLE)?,
            out: Pipe::new(stdout, Stream::Stdout, 0, None, PastLimit::Drop)?,
            err: Pipe::new(stderr, Stream::Stderr, 0, None, PastLimit::Drop)?,
            accounts,
            number: 0,
            before: UNUSED,
            known: Known::new(),
        };
        Ok((talk, work))
    }

    pub(super) fn output(&mut self) -> [Captured; 2] {
        [&mut self.out, &mut self.err].map(|pipe| pipe.finish().unwrap_or_default())
    }

    /// Something stands in the reply pipe although nothing was asked.
    pub(super) fn unasked(&self) -> bool {
        rustix::io::ioctl_fionread(self.replies.get_ref()).unwrap_or(0) > 0
    }
}

/// A reply as it comes in.
pub(super) struct Incoming {
    token: u64,
    bytes: Vec<u8>,
    /// Bytes of the whole frame, once its head is there.
    wanted: Option<usize>,
    chunk: Vec<u8>,
}

pub(super) enum Progress {
    Part,
    Whole(Reply),
    Closed,
}

impl Incoming {
    pub(super) fn new(token: u64) -> Self {
        Self { token, bytes: Vec::new(), wanted: None, chunk: vec![0; 64 * 1024] }
    }

    /// Safe to drop at any time: what was not taken stays in the pipe.
    pub(super) async fn read_some(
        &mut self,
        replies: &AsyncFd<OwnedFd>,
    ) -> Result<Progress, String> {
        let chunk = &mut self.chunk[..];
        let read = |fd: &OwnedFd| Ok(rustix::io::read(fd, &mut *chunk)?);
        let len = replies.async_io(Interest::READABLE, read).await;
        let len = len.map_err(|error| error.to_string())?;
        if len == 0 {
            return Ok(Progress::Closed);
        }
        self.bytes.extend_from_slice(&self.chunk[..len]);
        if self.wanted.is_none()
            && let Some(head) = self.bytes.first_chunk::<HEAD_BYTES>()
        {
            self.wanted = Some(length(head, self.token).map_err(|error| error.to_string())?);
        }
        match self.wanted {
            Some(wanted) if self.bytes.len() > wanted => Err("it answered twice".to_owned()),
            Some(wanted) if self.bytes.len() == wanted => {
                let reply = Reply::decode(&self.bytes[HEAD_BYTES..]);
                reply.map(Progress::Whole).map_err(|error| error.to_string())
            }
            _ => Ok(Progress::Part),
        }
    }
}

/// Writes a part; a pipe that nobody reads any more swallows the rest, its end is told otherwise.
pub(super) async fn write_some(requests: &AsyncFd<OwnedFd>, bytes: &[u8]) -> Result<usize, Errno> {
    let write = |fd: &OwnedFd| Ok(rustix::io::write(fd, bytes)?);
    let wrote = requests.async_io(Interest::WRITABLE, write).await;
    wrote.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Unguessable, so that no reply can be made before its request.
pub(super) fn token() -> u64 {
    let mut bytes = [0; 8];
    // Without the kernel's randomness the number is fixed: then only the program could deceive itself.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}
