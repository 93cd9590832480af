//! How a command ends when it does not succeed: one line, a remedy in it, and an exit code.

use std::fmt;
use std::process::ExitCode;

use crate::config::ConfigError;

/// Exit codes (BSD `sysexits.h`); 0 is success. Listed in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 64: the command line is wrong.
    Usage = 64,
    /// 65: the data is wrong: a broken audit trail, a graph file that cannot be imported.
    Data = 65,
    /// 69: something needed is not available: the port, the cell's isolation, the running server's lock.
    Unavailable = 69,
    /// 70: a mistake of ours.
    Software = 70,
    /// 74: reading or writing failed.
    Io = 74,
    /// 78: the configuration, the policy or a key is wrong.
    Config = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why a command did not succeed.
#[derive(Debug, thiserror::Error)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What was wrong and how to mend it: one line each.
    pub messages: Vec<String>,
}

impl Failure {
    /// One problem.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, messages: vec![message.into()] }
    }

    /// Several problems of the configuration.
    pub fn config(messages: Vec<String>) -> Self {
        Self { exit: Exit::Config, messages }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::config(error.mistakes.iter().map(ToString::to_string).collect())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> =
            self.messages.iter().map(|message| format!("ultimate-mcp: {message}")).collect();
        f.write_str(&lines.join("\n"))
    }
}
