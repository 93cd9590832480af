//! The process: command line in, exit code out.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    ultimate_mcp::cli::run()
}
