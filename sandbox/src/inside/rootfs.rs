//! The run's own root: the launcher's prepared tree, a private tmpfs and a `/proc` of its own.
//!
//! The mount namespace is a copy of the launcher's, which holds nothing but the prepared tree and a
//! `/proc`; both copies are locked by the kernel (user_namespaces(7)), and everything else of the
//! host has been detached long before. Called by init only.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, sendfile};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::{At, Failure, NOTHING, Order, PAYLOAD_ID, Stage, TEMPLATE, WORK_DIR};
use crate::sys;
use crate::wire::runfile::FileRef;

/// Files and directories a run may have, input files not counted. Each costs the kernel about 1 KiB.
const INODES: u64 = 16_384;

const PRIVATE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Makes the prepared tree this process's root, with a `/proc` of its own.
pub(super) fn prepare(masks: &[(CString, bool)]) -> Result<(), Errno> {
    mount_bind_recursive(TEMPLATE, TEMPLATE)?;
    chdir(TEMPLATE)?;
    own_proc(masks)?;
    // pivot_root(2), section "pivot_root(".", ".")": the old root ends up on top and is let go of.
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}

/// Adds the places of one run, with its input files. Answers the working directory, which the server
/// collects artifacts from.
pub(super) fn furnish(order: &Order) -> Result<OwnedFd, Failure> {
    places(order.head.limits.disk_bytes, order.head.files.len() as u64).at(Stage::Root)?;
    fill(order)
}

/// Changes the size of [`places`] that exist already.
pub(super) fn resize(disk_bytes: u64, files: u64) -> Result<(), Errno> {
    let options = format!("size={disk_bytes},nr_inodes={}\0", INODES + 2 * files);
    let options = CStr::from_bytes_with_nul(options.as_bytes()).map_err(|_| Errno::INVAL)?;
    mount_remount(WORK_DIR, PRIVATE, options)
}

/// Writes the input files. Answers the working directory.
pub(super) fn fill(order: &Order) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let work = openat(CWD, WORK_DIR, flags, Mode::empty()).at(Stage::Root)?;
    as_payload(|| place_files(&order.runfile, &order.head.files, &work)).at(Stage::Files)?;
    Ok(work)
}

/// One tmpfs serves `/box`, `/tmp` and `/dev/shm`, so that `disk_bytes` bounds them together.
pub(super) fn places(disk_bytes: u64, files: u64) -> Result<(), Errno> {
    let inodes = INODES + 2 * files;
    let options = format!(
        "size={disk_bytes},nr_inodes={inodes},mode=0755,uid={PAYLOAD_ID},gid={PAYLOAD_ID}\0"
    );
    let options = CStr::from_bytes_with_nul(options.as_bytes()).map_err(|_| Errno::INVAL)?;
    mount("tmpfs", "/tmp", "tmpfs", PRIVATE, options)?;
    as_payload(|| {
        for part in ["/tmp/box", "/tmp/tmp", "/tmp/shm", "/tmp/box/out"] {
            mkdirat(CWD, part, Mode::from_raw_mode(0o755))?;
        }
        Ok(())
    })?;
    mount_bind("/tmp/box", WORK_DIR)?;
    mount_bind("/tmp/shm", "/dev/shm")?;
    mount_remount("/dev/shm", MountFlags::BIND | PRIVATE | MountFlags::NOEXEC, "")?;
    mount_bind("/tmp/tmp", "/tmp")
}

/// Touches files as the payload would, so that what is made is the payload's.
fn as_payload<T>(body: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    sys::file_ids(PAYLOAD_ID, PAYLOAD_ID);
    let result = body();
    sys::file_ids(0, 0);
    result
}

/// Writes the input files beneath the working directory as if the payload had.
fn place_files(runfile: &File, files: &[FileRef], work: &OwnedFd) -> Result<(), Errno> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    for file in files {
        for (at, _) in file.path.match_indices('/') {
            match mkdirat(work, &file.path[..at], Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o644);
        let target = openat2(work, &file.path, flags, mode, beneath)?;
        let (mut offset, end) = (file.offset, file.offset + file.len);
        while offset < end {
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            if sendfile(&target, runfile.as_fd(), Some(&mut offset), left)? == 0 {
                return Err(Errno::IO);
            }
        }
    }
    Ok(())
}

/// A `/proc` that shows this run's processes only, read-only, without what tells about the host.
fn own_proc(masks: &[(CString, bool)]) -> Result<(), Errno> {
    let flags = PRIVATE | MountFlags::NOEXEC | MountFlags::RDONLY;
    mount("proc", "proc", "proc", flags, c"hidepid=2")?;
    for (path, directory) in masks {
        let cover = if *directory { NOTHING } else { "dev/null" };
        match mount_bind(cover, path.as_c_str()) {
            // Entries can vanish between two kernels' worth of /proc, as in a new network namespace.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
