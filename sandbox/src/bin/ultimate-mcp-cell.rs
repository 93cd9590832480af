//! The launcher as a program of its own: what the server becomes when it is re-executed with
//! `cell-launcher`. Used by this crate's tests and examples; refuses to do anything else.

use std::process::ExitCode;

fn main() -> ExitCode {
    ultimate_mcp_sandbox::launcher::run_if_asked().unwrap_or(ExitCode::from(64))
}
