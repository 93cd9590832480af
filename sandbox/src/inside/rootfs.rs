//! The run's own root: the launcher's prepared tree, a private tmpfs and a `/proc` of its own.
//!
//! The mount namespace is a copy of the launcher's, which holds nothing but the prepared tree and a
//! `/proc`; both copies are locked by the kernel (user_namespaces(7)), and everything else of the
//! host has been detached long before. Called by init only.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2, sendfile};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_remount, unmount,
};
use rustix::process::{chdir, pivot_root};

use super::{At, Failure, Inside, NOTHING, PAYLOAD_ID, Stage, TEMPLATE, Template};
use crate::sys;
use crate::wire::runfile::FileRef;

/// Files and directories a run may have, input files not counted. Each costs the kernel about 1 KiB.
const INODES: u64 = 16_384;

const PRIVATE: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// Builds the root and answers the working directory, which the server collects artifacts from.
pub(super) fn build(inside: &Inside, template: &Template) -> Result<OwnedFd, Failure> {
    private_root(inside.head.limits.disk_bytes, inside.head.files.len() as u64).at(Stage::Root)?;
    let work =
        openat(CWD, "box", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .at(Stage::Root)?;
    sys::file_ids(PAYLOAD_ID, PAYLOAD_ID);
    let placed = place_files(&inside.runfile, &inside.head.files, &work);
    sys::file_ids(0, 0);
    placed.at(Stage::Files)?;
    own_proc(template).at(Stage::Root)?;
    enter().at(Stage::Root)?;
    Ok(work)
}

/// One tmpfs serves `/box`, `/tmp` and `/dev/shm`, so that `disk_bytes` bounds them together.
fn private_root(disk_bytes: u64, files: u64) -> Result<(), Errno> {
    mount_bind_recursive(TEMPLATE, TEMPLATE)?;
    chdir(TEMPLATE)?;
    let inodes = INODES + 2 * files;
    let options = format!(
        "size={disk_bytes},nr_inodes={inodes},mode=0755,uid={PAYLOAD_ID},gid={PAYLOAD_ID}\0"
    );
    let options = CStr::from_bytes_with_nul(options.as_bytes()).map_err(|_| Errno::INVAL)?;
    mount("tmpfs", "tmp", "tmpfs", PRIVATE, options)?;
    sys::file_ids(PAYLOAD_ID, PAYLOAD_ID);
    let made = (|| {
        for part in ["tmp/box", "tmp/tmp", "tmp/shm", "tmp/box/out"] {
            mkdirat(CWD, part, Mode::from_raw_mode(0o755))?;
        }
        Ok(())
    })();
    sys::file_ids(0, 0);
    made?;
    mount_bind("tmp/box", "box")?;
    mount_bind("tmp/shm", "dev/shm")?;
    mount_remount("dev/shm", MountFlags::BIND | PRIVATE | MountFlags::NOEXEC, "")?;
    mount_bind("tmp/tmp", "tmp")
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
fn own_proc(template: &Template) -> Result<(), Errno> {
    let flags = PRIVATE | MountFlags::NOEXEC | MountFlags::RDONLY;
    mount("proc", "proc", "proc", flags, c"hidepid=2")?;
    for (path, directory) in &template.masks {
        let cover = if *directory { NOTHING } else { "dev/null" };
        match mount_bind(cover, path.as_c_str()) {
            // Entries can vanish between two kernels' worth of /proc, as in a new network namespace.
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Makes the tree the root and lets go of everything else (pivot_root(2), "pivot_root(".", ".")").
fn enter() -> Result<(), Errno> {
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    chdir("/")
}
