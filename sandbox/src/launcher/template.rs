//! The launcher's own root: nothing but a prepared read-only tree for runs and a `/proc`.
//!
//! Built once at start, before any run. After [`enter`] the launcher itself sees no host file system
//! but what the tree holds; a run gets a copy of this and cannot see more. Works as root, and as an
//! ordinary user through a user namespace of the launcher's own.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive,
    mount_change, unmount,
};
use rustix::process::{chdir, getegid, geteuid, pivot_root};

use crate::inside::NOTHING;
use crate::sys;

/// A directory that exists everywhere and is not needed below us: the new root is mounted on it.
const STAGING: &[&str] = &["/tmp", "/run", "/mnt", "/var"];

/// Top directories of a Linux system that hold programs; symlinks on merged-/usr systems.
const PROGRAM_DIRS: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];

const DEVICES: &[(&str, u32)] =
    &[("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)];

/// What stays visible of `/proc` besides the run's own processes. Everything else that others may
/// read is covered; what only the host's root may read is out of reach anyway.
const PROC_VISIBLE: &[&str] = &[
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "mounts",
    "net",
    "self",
    "stat",
    "sys",
    "thread-self",
    "uptime",
    "version",
];

const PASSWD: &str = "root:x:0:0:root:/:/usr/sbin/nologin\n\
    cell:x:1000:1000:cell:/box:/bin/bash\n\
    nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n";
const GROUP: &str = "root:x:0:\ncell:x:1000:\nnogroup:x:65534:\n";
const HOSTS: &str = "127.0.0.1 localhost cell\n::1 localhost\n";
const NSSWITCH: &str = "passwd: files\ngroup: files\nhosts: files\n";

/// A step of the preparation that failed, with what it was about.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub(crate) struct SetupError {
    what: String,
    error: std::io::Error,
}

trait About<T> {
    fn about(self, what: impl Into<String>) -> Result<T, SetupError>;
}

impl<T, E: Into<std::io::Error>> About<T> for Result<T, E> {
    fn about(self, what: impl Into<String>) -> Result<T, SetupError> {
        self.map_err(|error| SetupError { what: what.into(), error: error.into() })
    }
}

/// Paths beneath `/proc` to cover in each run: name, and whether it is a directory.
pub(crate) type Masks = Vec<(CString, bool)>;

/// Whether the launcher had to enter a user namespace of its own to be allowed to mount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// It may mount and map other uids.
    Host,
    /// It has rights over a namespace of its own only.
    OwnNamespace,
}

/// Gives the launcher a mount namespace (and, without privilege, a user namespace) of its own.
pub(crate) fn separate() -> Result<Privilege, SetupError> {
    let privilege = match sys::unshare(libc::CLONE_NEWNS) {
        Ok(()) => Privilege::Host,
        Err(Errno::PERM) => {
            let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
            sys::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)
                .about("creating a user namespace")?;
            map_self(uid, gid).about("mapping our own user id")?;
            Privilege::OwnNamespace
        }
        Err(errno) => return Err(errno).about("creating a mount namespace"),
    };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).about("making mounts private")?;
    Ok(privilege)
}

fn map_self(uid: u32, gid: u32) -> std::io::Result<()> {
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
    fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))
}

/// Builds the tree and makes it the launcher's root.
pub(crate) fn enter(tools: Option<&Path>) -> Result<Masks, SetupError> {
    let staging = STAGING.iter().find(|path| Path::new(path).is_dir());
    let root = PathBuf::from(staging.copied().unwrap_or("/tmp"));
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    // Opened before the staging directory disappears below the new root: tools may lie in it.
    let tools = tools.map(|path| open_tools(path).about(format!("opening {}", path.display())));
    let tools = tools.transpose()?;
    mount("cell-root", &root, "tmpfs", flags, c"mode=755,size=1m,nr_inodes=64")
        .about("mounting a tmpfs")?;
    for name in ["proc", "cell"] {
        fs::create_dir(root.join(name)).about(name)?;
    }
    mount_bind_recursive("/proc", root.join("proc")).about("binding /proc")?;
    let tree = root.join("cell");
    mount("cell", &tree, "tmpfs", MountFlags::NOSUID, c"mode=755,size=4m,nr_inodes=4096")
        .about("mounting a tmpfs")?;
    programs(&tree)?;
    etc(&tree.join("etc")).about("filling /etc")?;
    devices(&tree.join("dev"))?;
    for name in ["proc", "box", "tmp", "dev/shm", "opt", "opt/tools", NOTHING] {
        fs::create_dir(tree.join(name)).about(name)?;
    }
    fs::set_permissions(tree.join(NOTHING), fs::Permissions::from_mode(0o000)).about(NOTHING)?;
    if let Some(fd) = &tools {
        let source = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(fd));
        mount_bind_recursive(source.as_str(), tree.join("opt/tools")).about("binding the tools")?;
        read_only(&tree.join("opt/tools"))?;
    }
    attributes(&tree, libc::MOUNT_ATTR_RDONLY, false)?;
    attributes(&root, libc::MOUNT_ATTR_RDONLY, false)?;
    chdir(&root).about("entering the new root")?;
    pivot_root(".", ".").about("pivot_root")?;
    unmount(".", UnmountFlags::DETACH).about("letting go of the host's root")?;
    chdir("/").about("entering the new root")?;
    masks().about("reading /proc")
}

fn open_tools(path: &Path) -> std::io::Result<fs::File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat(CWD, path, flags, Mode::empty())?.into())
}

/// `/usr` and its companions, read-only.
fn programs(tree: &Path) -> Result<(), SetupError> {
    for name in ["usr"].iter().chain(PROGRAM_DIRS) {
        let (source, target) = (Path::new("/").join(name), tree.join(name));
        let Ok(meta) = fs::symlink_metadata(&source) else { continue };
        if meta.is_symlink() {
            let to = fs::read_link(&source).about(format!("/{name}"))?;
            symlink(to, &target).about(format!("/{name}"))?;
        } else if meta.is_dir() {
            fs::create_dir(&target).about(format!("/{name}"))?;
            mount_bind_recursive(&source, &target).about(format!("binding /{name}"))?;
            read_only(&target)?;
        }
    }
    Ok(())
}

/// Read-only, no set-uid programs, no devices: on the mount and on all below it.
fn read_only(path: &Path) -> Result<(), SetupError> {
    let all = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV;
    attributes(path, all, true)
}

fn attributes(path: &Path, set: u64, recursive: bool) -> Result<(), SetupError> {
    let what = format!("making {} read-only", path.display());
    let text = CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| Errno::INVAL)
        .about(what.clone())?;
    sys::mount_attributes(&text, set, recursive).about(what)
}

/// Only what programs need to start and to resolve names; nothing of the host's own configuration.
fn etc(etc: &Path) -> std::io::Result<()> {
    fs::create_dir(etc)?;
    for (name, text) in
        [("passwd", PASSWD), ("group", GROUP), ("hosts", HOSTS), ("nsswitch.conf", NSSWITCH)]
    {
        fs::write(etc.join(name), text)?;
    }
    // Copies: a bind would pin a file that the host's package manager replaces by renaming. A stale
    // cache does no harm, the dynamic linker falls back to its default paths.
    if let Ok(cache) = fs::read("/etc/ld.so.cache") {
        fs::write(etc.join("ld.so.cache"), cache)?;
    }
    fs::create_dir(etc.join("alternatives"))?;
    let Ok(entries) = fs::read_dir("/etc/alternatives") else { return Ok(()) };
    for entry in entries.flatten() {
        if let Ok(to) = fs::read_link(entry.path()) {
            symlink(to, etc.join("alternatives").join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Five harmless devices: made here where we may, else bound from the host.
fn devices(dev: &Path) -> Result<(), SetupError> {
    fs::create_dir(dev).about("/dev")?;
    for (name, minor) in DEVICES {
        let target = dev.join(name);
        let path = CString::new(target.as_os_str().as_encoded_bytes()).expect("no NUL in our path");
        // Memory devices have major number 1 (Documentation/admin-guide/devices.txt).
        let made = sys::make_device(&path, 1, *minor).is_ok()
            && fs::set_permissions(&target, fs::Permissions::from_mode(0o666)).is_ok()
            && opens(&target);
        if !made {
            let _ = fs::remove_file(&target);
            fs::write(&target, "").about(format!("/dev/{name}"))?;
            mount_bind(format!("/dev/{name}"), &target).about(format!("binding /dev/{name}"))?;
        }
    }
    for (name, to) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
    ] {
        symlink(to, dev.join(name)).about(format!("/dev/{name}"))?;
    }
    Ok(())
}

/// A node can be made where it cannot be used, as in a user namespace (mount option nodev).
fn opens(path: &Path) -> bool {
    fs::File::open(path).is_ok()
}

/// The entries of `/proc` to cover in each run.
fn masks() -> std::io::Result<Masks> {
    let mut masks = Vec::new();
    for entry in fs::read_dir("/proc")?.flatten() {
        let name = entry.file_name();
        let text = name.to_string_lossy();
        let process = text.bytes().all(|byte| byte.is_ascii_digit());
        let Ok(meta) = entry.metadata() else { continue };
        let reachable = meta.mode() & 0o007 != 0 && !meta.is_symlink();
        if process || PROC_VISIBLE.contains(&text.as_ref()) || !reachable {
            continue;
        }
        if let Ok(path) = CString::new(format!("proc/{text}")) {
            masks.push((path, meta.is_dir()));
        }
    }
    Ok(masks)
}
