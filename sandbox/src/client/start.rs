//! Starts a launcher process: empty environment, one socket, nothing else inherited.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::CellError;
use crate::options::LauncherOptions;

/// Answers our end of the control socket and the process.
pub(crate) fn spawn(
    options: &LauncherOptions,
    stderr: Stdio,
) -> Result<(OwnedFd, Child), CellError> {
    let failed = |error: io::Error| CellError::Start(error.to_string());
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(|errno| failed(errno.into()))?;
    let child = Command::new(&options.program)
        .args(&options.args)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn()
        .map_err(failed)?;
    Ok((ours, child))
}
