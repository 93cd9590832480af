//! HAProxy in front of several servers.

use std::process::Command;

use tempfile::TempDir;

use crate::process::{Process, listening, wait_until};

/// A running HAProxy; ends with this value.
pub struct HaProxy {
    process: Process,
    _folder: TempDir,
}

impl HaProxy {
    /// Starts it with this configuration, and waits until it listens on `port`.
    pub fn start(configuration: &str, port: u16) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration).unwrap();
        let checked = Command::new("haproxy").arg("-c").arg("-f").arg(&file).output();
        let checked = checked
            .unwrap_or_else(|error| panic!("haproxy: {error}; install it (`make test` does)"));
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(checked.status.success(), "haproxy refuses its configuration: {said}");
        // `-db`: stays in the foreground, so that it is ours to end.
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&file);
        let process = Process::spawn(&mut command, "install haproxy (`make test` does)");
        wait_until("haproxy listens", || listening(port));
        Self { process, _folder: folder }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
