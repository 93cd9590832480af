//! The server under test: the real binary on one port and one data directory through all its lives.

use std::collections::{HashMap, HashSet};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::census::{self, Life};

/// The longest a start may take on a busy machine.
const START_MAX: Duration = Duration::from_secs(30);
/// The longest a stop may take: the drain, and a little.
const STOP_MAX: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Variable that names the binary; without it, the one beside this program.
const BINARY_VARIABLE: &str = "ULTIMATE_MCP_BINARY";

/// Where a server runs, beside its settings; of no concern to its command line.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// Variables of the process.
    pub environment: Vec<(String, String)>,
    /// The file whose writing moves a process into a control group.
    pub group: Option<PathBuf>,
}

/// A server that can be killed, stopped and started again; ends with this value.
pub struct Server {
    binary: PathBuf,
    data: PathBuf,
    log: PathBuf,
    config: PathBuf,
    surroundings: Surroundings,
    settings: Mutex<HashMap<String, String>>,
    port: u16,
    child: Mutex<Option<Child>>,
    seen: Mutex<HashSet<Life>>,
}

/// Where the binary is: named, or built into the same target directory as this program.
///
/// # Errors
/// When it is not there; says how to build it.
pub fn binary() -> Result<PathBuf> {
    if let Some(named) = std::env::var_os(BINARY_VARIABLE) {
        return Ok(named.into());
    }
    let own = std::env::current_exe().context("cannot find this program's own file")?;
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("ultimate-mcp")).find(|file| file.is_file());
    found.with_context(|| {
        format!(
            "no ultimate-mcp beside {}; run `cargo build`, or set {BINARY_VARIABLE}",
            own.display()
        )
    })
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Server {
    /// A server that is not started yet; its log and its configuration file are named after its data
    /// directory. `settings`: keys without the prefix, e.g. `HTTP__DRAIN_SECONDS`.
    ///
    /// # Errors
    /// When there is no binary, or no file can be written.
    pub fn new(
        data: &Path,
        port: u16,
        settings: Vec<(String, String)>,
        surroundings: Surroundings,
    ) -> Result<Arc<Self>> {
        let config = data.with_extension("toml");
        std::fs::write(&config, "")?;
        Ok(Arc::new(Self {
            binary: binary()?,
            data: data.to_owned(),
            log: data.with_extension("log"),
            config,
            surroundings,
            settings: Mutex::new(settings.into_iter().collect()),
            port,
            child: Mutex::new(None),
            seen: Mutex::default(),
        }))
    }

    /// Where it answers, in this life and the next.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its configuration file, empty unless somebody writes into it.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Changes a setting for its next life.
    pub fn set(&self, key: &str, value: &str) {
        held(&self.settings).insert(key.to_owned(), value.to_owned());
    }

    /// Everything it said, in all its lives.
    pub fn log(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&text).into_owned()
    }

    fn configured(&self, mut command: Command) -> Command {
        let settings = held(&self.settings);
        command.envs(settings.iter().map(|(key, value)| (format!("ULTIMATE_MCP__{key}"), value)));
        command.env("ULTIMATE_MCP__HTTP__PORT", self.port.to_string());
        command
    }

    /// The server itself; where it has a control group, a shell enters it and becomes the server.
    fn serving(&self) -> Command {
        let mut command = match &self.surroundings.group {
            None => Command::new(&self.binary),
            Some(group) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]);
                shell.arg(group).arg(&self.binary);
                shell
            }
        };
        command.arg("serve").arg("--config").arg(&self.config).arg("--data-dir").arg(&self.data);
        let variables = &self.surroundings.environment;
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        self.configured(command)
    }

    /// Starts it without waiting for it to answer; does nothing while it runs.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn spawn(&self) -> Result<()> {
        let mut child = held(&self.child);
        if let Some(running) = child.as_mut()
            && running.try_wait()?.is_none()
        {
            return Ok(());
        }
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let mut command = self.serving();
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // A group of its own: ctrl-c in the terminal is for the runner, which ends it in order.
        command.process_group(0);
        *child = Some(command.spawn().context("cannot start the server")?);
        Ok(())
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it does not; with the end of what it said.
    pub fn start(&self) -> Result<()> {
        self.spawn()?;
        let end = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.pid().is_none();
            ensure!(!ended && Instant::now() < end, "the server did not start:\n{}", self.said(20));
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Its process, while it runs.
    pub fn pid(&self) -> Option<u32> {
        let mut child = held(&self.child);
        let child = child.as_mut()?;
        matches!(child.try_wait(), Ok(None)).then(|| child.id())
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.notice();
        if let Some(mut child) = held(&self.child).take() {
            // Both fail only when it has ended, which is what is wanted.
            let _ = (child.kill(), child.wait());
        }
    }

    /// Stops it as a service manager would.
    ///
    /// # Errors
    /// When it does not end, or not with success.
    pub fn stop(&self) -> Result<()> {
        self.notice();
        let Some(pid) = self.pid() else { bail!("the server had ended:\n{}", self.said(20)) };
        signal(pid, "TERM")?;
        let end = Instant::now() + STOP_MAX;
        while self.pid().is_some() {
            ensure!(Instant::now() < end, "SIGTERM did not end the server in {STOP_MAX:?}");
            std::thread::sleep(LOOK_EVERY);
        }
        let status = held(&self.child).take().map(|mut child| child.wait()).transpose()?;
        ensure!(status.is_some_and(|status| status.success()), "it ended with {status:?}");
        Ok(())
    }

    /// Remembers which processes stand below it now, to know later whether any was left behind.
    pub fn notice(&self) {
        if let Some(pid) = self.pid() {
            held(&self.seen).extend(census::family(pid));
        }
    }

    /// Every process that was ever noticed.
    pub fn seen(&self) -> HashSet<Life> {
        held(&self.seen).clone()
    }

    /// `ultimate-mcp ARGS… --data-dir <its own>`.
    ///
    /// # Errors
    /// When the binary cannot be started.
    pub fn cli(&self, arguments: &[&str]) -> Result<Output> {
        self.cli_with(arguments, &[])
    }

    /// The same with more variables.
    ///
    /// # Errors
    /// When the binary cannot be started.
    pub fn cli_with(&self, arguments: &[&str], environment: &[(String, String)]) -> Result<Output> {
        let mut command = self.configured(Command::new(&self.binary));
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Ok(command.args(arguments).arg("--data-dir").arg(&self.data).output()?)
    }

    /// The last lines of its warnings and errors.
    pub fn said(&self, lines: usize) -> String {
        let text = self.log();
        // What it says at a start holds a token, and what went well explains nothing.
        let telling = |line: &&str| !line.contains("eyJ") && !line.contains("\"info\"");
        let all: Vec<&str> = text.lines().filter(telling).filter(|l| l.starts_with('{')).collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal by name, e.g. `STOP`.
///
/// # Errors
/// When the process is gone.
pub fn signal(pid: u32, name: &str) -> Result<()> {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).output()?;
    ensure!(sent.status.success(), "cannot send {name} to {pid}");
    Ok(())
}
