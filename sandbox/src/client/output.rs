//! Captures a run's two pipes up to their cap, without ever waiting for one while the other is full.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::sync::oneshot;

use crate::error::CellError;
use crate::wire::message::Outcome;

/// Read at once; the size of a pipe (pipe(7)).
const CHUNK_BYTES: usize = 64 * 1024;

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
    let (mut stdout, mut stderr) = (Captured::default(), Captured::default());
    let read = async {
        tokio::try_join!(
            read_pipe(out, Stream::Stdout, limit, sink.as_ref(), &mut stdout, &stop),
            read_pipe(err, Stream::Stderr, limit, sink.as_ref(), &mut stderr, &stop),
        )
    };
    // When the whole tree is dead no writer is left, so both pipes come to their end.
    let (read, outcome) = tokio::join!(read, finished);
    let outcome = outcome.map_err(|_| CellError::LauncherLost)?;
    read?;
    Ok(([stdout, stderr], outcome))
}

async fn read_pipe(
    pipe: OwnedFd,
    stream: Stream,
    limit: usize,
    sink: Option<&OutputSink>,
    captured: &mut Captured,
    stop: &impl Fn(),
) -> io::Result<()> {
    rustix::io::ioctl_fionbio(&pipe, true)?;
    let pipe = super::watched(pipe, Interest::READABLE)?;
    let mut chunk = vec![0u8; CHUNK_BYTES];
    loop {
        let read = |fd: &OwnedFd| Ok(rustix::io::read(fd, &mut chunk[..])?);
        let len = pipe.async_io(Interest::READABLE, read).await?;
        if len == 0 {
            return Ok(());
        }
        let room = limit - captured.bytes.len();
        let kept = &chunk[..len.min(room)];
        if let Some(sink) = sink.filter(|_| !kept.is_empty()) {
            sink(stream, kept);
        }
        captured.bytes.extend_from_slice(kept);
        if len > room {
            captured.truncated = true;
            stop();
            return Ok(());
        }
    }
}
