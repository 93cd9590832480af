//! A zygote: an interpreter that has started, and is forked instead of being started for each run.
//!
//! The launcher executes it in the prepared tree; `language/zygote.py` imports the modules of
//! `cell.zygote.preload` and then loads this crate's own shared form ([`python`]), whose [`serve`] takes
//! the place of the interpreter's main loop. From then on it owns a socket to the launcher and nothing
//! else: no capability, no network, no code but the standard library's. Each request makes one sandbox by
//! clone3(2) with CLONE_PARENT, so the launcher is the parent of each init as if it had forked it itself,
//! and init is the same code ([`inside`]). What is born never comes back here.
//!
//! Dies when its socket closes or anything goes wrong; the launcher starts another.

mod python;

use std::ffi::CString;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;

use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{chroot, fchdir};
use serde::{Deserialize, Serialize};

use crate::inside::{Common, Identity, Seed, waiting};
use crate::spec::Profile;
use crate::wire::codec::{Decoder, Encoder};
use crate::wire::{Malformed, socket};
use crate::{seccomp, sys};

/// Its socket to the launcher.
pub(crate) const CONTROL_FD: RawFd = 3;
/// The shared library; `language/zygote.py` names the number too.
pub(crate) const LIBRARY_FD: RawFd = 4;
/// The launcher's root directory, to which it returns once the interpreter has loaded everything.
pub(crate) const ROOT_FD: RawFd = 5;
/// What it says when it is ready for requests.
pub(crate) const UP: &[u8] = b"up";
/// Said first by the launcher; the shared library may have been built from other sources (`build.rs`), and
/// then confines runs in another way than this launcher has tried.
pub(crate) const SOURCES: &str = env!("CELL_SOURCES");

/// What sandboxes need to know and what no request repeats; the first message, as JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct Hello {
    pub(crate) sources: String,
    pub(crate) masks: Vec<(CString, bool)>,
    pub(crate) landlock: bool,
}

/// A request for one sandbox. Its descriptors: init's socket, the directory to be born into when there is
/// one, then the files through which init joins its control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) init: u32,
    pub(crate) payload: u32,
    pub(crate) birthplace: bool,
}

impl Birth {
    pub(crate) fn encode(self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u32(self.init).u32(self.payload).u8(u8::from(self.birthplace));
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Decoder::new(bytes);
        let birth = Self { init: input.u32()?, payload: input.u32()?, birthplace: input.bool()? };
        input.end()?;
        Ok(birth)
    }
}

/// What the launcher hears of a birth: the process id, with the handle attached, or an error number.
pub(crate) fn answer(result: Result<i32, Errno>) -> Vec<u8> {
    let mut out = Encoder::default();
    match result {
        Ok(pid) => out.u8(1).u32(pid.cast_unsigned()),
        Err(errno) => out.u8(0).u32(errno.raw_os_error().cast_unsigned()),
    };
    out.finish()
}

/// Reads an [`answer`].
pub(crate) fn read_answer(bytes: &[u8]) -> Result<i32, Errno> {
    let mut input = Decoder::new(bytes);
    let (Ok(fine), Ok(value), Ok(())) = (input.bool(), input.u32(), input.end()) else {
        return Err(Errno::PROTO);
    };
    if fine { Ok(value.cast_signed()) } else { Err(Errno::from_raw_os_error(value.cast_signed())) }
}

/// The interpreter's waiting socket, between [`serve`] and [`wait`]: fixed, so that it is one number.
static SERVED: OnceLock<()> = OnceLock::new();

/// The life of the zygote. Comes back only in the interpreter of a new sandbox, fully confined.
fn serve() {
    if SERVED.set(()).is_err() {
        return;
    }
    match life() {
        Ok(()) => {}
        Err(_) => sys::exit_now(1),
    }
}

fn life() -> Result<(), Errno> {
    // SAFETY: the launcher placed these descriptors, and nothing else in this process knows them.
    let (control, root, library) = unsafe {
        (
            OwnedFd::from_raw_fd(CONTROL_FD),
            OwnedFd::from_raw_fd(ROOT_FD),
            OwnedFd::from_raw_fd(LIBRARY_FD),
        )
    };
    let common = prepare(&control, root)?;
    drop(library);
    python::before_forks();
    socket::send(&control, UP, &[])?;
    let mut buffer = [0; 64];
    loop {
        let Some((len, fds)) = socket::receive(&control, &mut buffer)? else { sys::exit_now(0) };
        let birth = Birth::decode(&buffer[..len]).map_err(|_| Errno::PROTO)?;
        let mut fds = fds.into_iter();
        let inner = fds.next().ok_or(Errno::PROTO)?;
        let birthplace = if birth.birthplace { fds.next() } else { None };
        let identity = Identity::Slot { init: birth.init, payload: birth.payload };
        let seed = Seed { control: inner, identity, join: fds.collect() };
        match sys::clone_sibling(sys::BIRTH_NAMESPACES, birthplace.as_ref().map(AsFd::as_fd)) {
            Ok(Some(child)) => {
                socket::send(&control, &answer(Ok(child.pid)), &[child.pidfd.as_fd()])?;
            }
            Ok(None) => {
                // Closed by number in there; nothing may be closed twice.
                std::mem::forget((control, birthplace));
                waiting::run(seed, &common);
                python::after_fork();
                return Ok(());
            }
            Err(errno) => socket::send(&control, &answer(Err(errno)), &[])?,
        }
    }
}

/// Leaves the tree that the interpreter was started in for the launcher's root, from which sandboxes
/// build theirs (a process in a changed root may not make user namespaces, user_namespaces(7)), and gives
/// up every capability.
fn prepare(control: &OwnedFd, root: OwnedFd) -> Result<Common, Errno> {
    let mut buffer = socket::buffer();
    let (len, _) = socket::receive(control, &mut buffer)?.ok_or(Errno::PIPE)?;
    let hello: Hello = serde_json::from_slice(&buffer[..len]).map_err(|_| Errno::PROTO)?;
    if hello.sources != SOURCES {
        let line = b"cell zygote: the shared library is of another build than the server\n";
        let _ = rustix::io::write(rustix::stdio::stderr(), line);
        return Err(Errno::PROTO);
    }
    unmount("/proc", UnmountFlags::DETACH)?;
    fchdir(&root)?;
    chroot(".")?;
    drop(root);
    // Errors went to the launcher's log until now; sandboxes must not inherit it.
    rustix::stdio::dup2_stderr(rustix::stdio::stdin())?;
    sys::prctl(libc::PR_SET_NO_NEW_PRIVS, 1)?;
    sys::clear_capabilities()?;
    let filter = seccomp::program(Profile::Python, true);
    Ok(Common {
        masks: hello.masks,
        landlock: hello.landlock,
        memory_by_rlimit: false,
        filters: [(Profile::Python, filter)].into(),
    })
}

/// Waits, in the interpreter of a new sandbox, for the run: comes back when its streams are in place.
fn wait() {
    if waiting::take_streams().is_err() {
        sys::exit_now(127);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_birth_and_its_answer_cross_unchanged_and_nonsense_is_refused() {
        let birth = Birth { init: 400_000, payload: 400_001, birthplace: true };
        assert_eq!(Birth::decode(&birth.encode()), Ok(birth));
        assert!(Birth::decode(b"").is_err() && Birth::decode(&[7; 9]).is_err());
        assert_eq!(read_answer(&answer(Ok(42))), Ok(42));
        assert_eq!(read_answer(&answer(Err(Errno::PERM))), Err(Errno::PERM));
        assert_eq!(read_answer(&[1, 2]), Err(Errno::PROTO));
    }
}
