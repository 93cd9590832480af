//! The host that the attacks aim at: canaries that must stay untouched, and what must be gone after a run.

use std::fmt::Write as _;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::program::Program;

/// What every secret begins with; programs get it reversed only.
const SECRET_PREFIX: &str = "cellcanary";
/// The mark in names of files and keys that `state_leave.py` makes.
const STATE_KEY: &str = "33078";

/// Listeners, a file, a socket and a process of the host.
pub struct Host {
    pub secret: String,
    place: TempDir,
    port: u16,
    abstract_name: String,
    process: Child,
    touched: Arc<AtomicUsize>,
    mounts: String,
    name: String,
}

impl Host {
    pub fn new() -> Self {
        let place = tempfile::Builder::new().prefix("cell-canary-").tempdir().unwrap();
        open(place.path());
        let unique =
            place.path().file_name().unwrap().to_str().unwrap().replace("cell-canary-", "");
        let secret = format!("{SECRET_PREFIX}{unique}{:08x}", std::process::id());
        fs::create_dir(place.path().join("data")).unwrap();
        let touched = Arc::new(AtomicUsize::new(0));
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let abstract_name = format!("cell-{unique}");
        let address = SocketAddr::from_abstract_name(&abstract_name).unwrap();
        let hidden = UnixListener::bind_addr(&address).unwrap();
        let named = UnixListener::bind(place.path().join("canary.sock")).unwrap();
        fs::set_permissions(place.path().join("canary.sock"), PermissionsExt::from_mode(0o777))
            .unwrap();
        count(&touched, move || tcp.accept().is_ok());
        count(&touched, move || hidden.accept().is_ok());
        count(&touched, move || named.accept().is_ok());
        let process = Command::new("sleep")
            .arg("3600")
            .env_clear()
            .env("CANARY_SECRET", &secret)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let host = Self {
            secret,
            place,
            port,
            abstract_name,
            process,
            touched,
            mounts: mounts(),
            name: host_name(),
        };
        fs::write(host.file(), &host.secret).unwrap();
        host
    }

    fn file(&self) -> PathBuf {
        self.place.path().join("data/canary-file.txt")
    }

    /// A folder of the host that is removed with it.
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.place.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, PermissionsExt::from_mode(0o777)).unwrap();
        folder
    }

    /// `canary.env`: what an attack looks for. The secret itself is not in it.
    pub fn canary(&self, survivor: &str, program: &Program) -> String {
        let limits = program.limits();
        let mut text = String::new();
        for space in ["pid", "mnt", "net", "ipc", "uts", "user", "cgroup"] {
            let link = fs::read_link(format!("/proc/self/ns/{space}")).unwrap();
            let _ = writeln!(text, "{}_NS={}", space.to_uppercase(), link.display());
        }
        let rest = [
            ("CANARY_FILE", self.file().display().to_string()),
            ("DATA_DIR", self.place.path().join("data").display().to_string()),
            ("CANARY_SOCKET", self.place.path().join("canary.sock").display().to_string()),
            ("CANARY_PORT", self.port.to_string()),
            ("ENGINE_PORT", self.port.to_string()),
            ("CANARY_ABSTRACT", self.abstract_name.clone()),
            ("CANARY_PID", self.process.id().to_string()),
            ("HARNESS_PID", std::process::id().to_string()),
            ("HOST_ADDRESS", address()),
            ("HOST_NAME", self.name.clone()),
            ("DEGRADED", u8::from(program.degraded).to_string()),
            ("SURVIVOR", survivor.to_owned()),
            ("SECRET_PREFIX_REVERSED", SECRET_PREFIX.chars().rev().collect()),
            ("LIMIT_PIDS", limits.pids.to_string()),
            ("LIMIT_MEMORY", limits.memory_bytes.to_string()),
            ("LIMIT_DISK", limits.disk_bytes.to_string()),
            ("LIMIT_OUTPUT", limits.output_bytes.to_string()),
        ];
        for (key, value) in rest {
            let _ = writeln!(text, "{key}={value}");
        }
        text
    }

    /// What was touched although nothing may be.
    pub fn damage(&mut self) -> Vec<String> {
        let mut damage = Vec::new();
        let touched = self.touched.load(Ordering::SeqCst);
        if touched != 0 {
            damage.push(format!("{touched} connections reached listeners of the host"));
        }
        if fs::read_to_string(self.file()).ok().as_ref() != Some(&self.secret) {
            damage.push("the canary file was changed".to_owned());
        }
        if !matches!(self.process.try_wait(), Ok(None)) {
            damage.push("the canary process was killed".to_owned());
        }
        if mounts() != self.mounts {
            damage.push("the mounts of the host changed".to_owned());
        }
        if host_name() != self.name {
            damage.push("the host was renamed".to_owned());
        }
        for kind in ["shm", "sem", "msg"] {
            let listed = fs::read_to_string(format!("/proc/sysvipc/{kind}")).unwrap_or_default();
            if listed.lines().any(|line| line.split_whitespace().next() == Some(STATE_KEY)) {
                damage.push(format!("System V {kind} left on the host"));
            }
        }
        damage
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Processes of the host that carry a run's name: it outlived its run.
pub fn survivors(name: &str) -> Vec<String> {
    let carries = |pid: &str| {
        let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let zombie = read("stat").windows(4).any(|part| part == b") Z ");
        [read("comm"), read("cmdline")]
            .iter()
            .any(|text| text.windows(name.len()).any(|part| part == name.as_bytes()))
            && !zombie
    };
    numbers("/proc").filter(|pid| carries(pid)).collect()
}

/// Descriptors that a process holds.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Children of a process.
pub fn children(pid: u32) -> Vec<String> {
    let parent = |child: &str| -> Option<u32> {
        let stat = fs::read_to_string(format!("/proc/{child}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split_whitespace().nth(1)?.parse().ok()
    };
    numbers("/proc").filter(|child| parent(child) == Some(pid)).collect()
}

/// Directories of control groups that belong to a launcher, with those of its runs.
pub fn control_groups(launcher: u32) -> Vec<PathBuf> {
    fn walk(folder: &Path, name: &str, depth: usize, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if path.components().any(|c| c.as_os_str().to_string_lossy().starts_with(name)) {
                found.push(path.clone());
            }
            if depth > 0 {
                walk(&path, name, depth - 1, found);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("/sys/fs/cgroup"), &format!("ultimate-mcp-cell-{launcher}-"), 5, &mut found);
    found
}

/// Lets everybody enter: the cell alone must keep programs away, not the host's permissions.
pub fn open(path: &Path) {
    fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
}

fn numbers(folder: &str) -> impl Iterator<Item = String> {
    let names = fs::read_dir(folder).into_iter().flatten().flatten();
    names
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()))
}

fn count(touched: &Arc<AtomicUsize>, mut accept: impl FnMut() -> bool + Send + 'static) {
    let touched = Arc::clone(touched);
    thread::spawn(move || {
        while accept() {
            touched.fetch_add(1, Ordering::SeqCst);
        }
    });
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

/// The address that this host would send from; its loopback where it has no network.
fn address() -> String {
    let probe = || -> std::io::Result<String> {
        let socket = UdpSocket::bind("0.0.0.0:0")?;
        // Only chooses the route; nothing is sent (documentation address, RFC 5737).
        socket.connect("192.0.2.1:9")?;
        Ok(socket.local_addr()?.ip().to_string())
    };
    probe().unwrap_or_else(|_| "127.0.0.1".to_owned())
}
