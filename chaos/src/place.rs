//! Surroundings that some faults ask for: a small disk, a control group with a memory limit, a wall clock that
//! can be set. Each is undone when its value is dropped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Room on the small disk: a twentieth of it is what a scenario writes, several times over.
const DISK_MB: u64 = 512;
/// Memory of the server, its cells and their neighbour together.
const MEMORY_BYTES: u64 = 1 << 30;
/// Where version 1 of control groups limits memory.
const MEMORY_GROUPS: &str = "/sys/fs/cgroup/memory";
/// Where distributions put the library that a wall clock is set with.
const FAKETIME: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A file system of its own; unmounted with this value.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Whether this process may mount.
    pub fn is_possible() -> bool {
        is_root()
    }

    /// Mounts it there.
    ///
    /// # Errors
    /// Without root.
    pub fn mount(path: &Path) -> Result<Self> {
        fs::create_dir_all(path)?;
        let options = format!("size={DISK_MB}m,mode=0700");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "ultimate-mcp-chaos"]).arg(path);
        ensure!(command.status()?.success(), "cannot mount a small disk; needs root");
        Ok(Self(path.to_owned()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still holds a file of it must not keep it in the tree.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A control group whose memory is limited; removed with this value, when nobody is in it any more.
pub struct MemoryGroup(PathBuf);

impl MemoryGroup {
    /// Whether this process may make one; only version 1 of control groups is known here.
    pub fn is_possible() -> bool {
        is_root() && Path::new(MEMORY_GROUPS).join("memory.limit_in_bytes").exists()
    }

    /// Makes it, empty, below the root of the hierarchy.
    ///
    /// # Errors
    /// When control groups cannot be made here.
    pub fn make() -> Result<Self> {
        let name = format!("ultimate-mcp-chaos-{}", std::process::id());
        let group = Self(Path::new(MEMORY_GROUPS).join(name));
        match fs::create_dir(&group.0) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.context("cannot make a control group")?,
        }
        fs::write(group.0.join("memory.use_hierarchy"), "1").ok();
        fs::write(group.0.join("memory.limit_in_bytes"), MEMORY_BYTES.to_string())?;
        Ok(group)
    }

    /// Who writes its number there is in it from then on.
    pub fn door(&self) -> PathBuf {
        self.0.join("cgroup.procs")
    }

    /// Bytes in use, and the limit.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn usage(&self) -> Result<(u64, u64)> {
        let text = fs::read_to_string(self.0.join("memory.usage_in_bytes"))?;
        Ok((text.trim().parse()?, MEMORY_BYTES))
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// The wall clock of a server: libfaketime reads from a file how far it is off. Time that only passes
/// (`CLOCK_MONOTONIC`) is left alone, as a real jump leaves it.
#[derive(Clone)]
pub struct Clock {
    library: &'static str,
    file: PathBuf,
}

impl Clock {
    fn library() -> Option<&'static str> {
        FAKETIME.into_iter().find(|path| Path::new(path).is_file())
    }

    /// Whether libfaketime is there.
    pub fn is_possible() -> bool {
        Self::library().is_some()
    }

    /// A clock that shows the real time.
    ///
    /// # Errors
    /// Without libfaketime.
    pub fn make(folder: &Path) -> Result<Self> {
        let library = Self::library().context("libfaketime is not installed")?;
        let clock = Self { library, file: folder.join("clock") };
        clock.set(0)?;
        Ok(clock)
    }

    /// Sets it to the real time and so many seconds more; read anew by the server once a second.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set(&self, seconds: i64) -> Result<()> {
        // Replaced in one step: whoever reads it finds a whole number.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n"))?;
        Ok(fs::rename(new, &self.file)?)
    }

    /// What the server's environment needs.
    pub fn variables(&self) -> Vec<(String, String)> {
        let file = self.file.display().to_string();
        self.with(&[("FAKETIME_TIMESTAMP_FILE", &file), ("FAKETIME_CACHE_DURATION", "1")])
    }

    /// What the environment of a command needs that is to believe that it is two hours ago.
    pub fn two_hours_ago(&self) -> Vec<(String, String)> {
        self.with(&[("FAKETIME", "-7200")])
    }

    fn with(&self, own: &[(&str, &str)]) -> Vec<(String, String)> {
        let fixed = [
            ("LD_PRELOAD", self.library),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DISABLE_SHM", "1"),
        ];
        let all = fixed.iter().chain(own);
        all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}
