//! The process. Started with `cell-launcher` it is the launcher of the cell, with `template-worker` it
//! renders one template, otherwise it is the command line.
#![forbid(unsafe_code)]

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before anything else: the launcher must be a process with a single thread.
    if let Some(code) = ultimate_mcp_sandbox::launcher::run_if_asked() {
        return code;
    }
    if let Some(code) = ultimate_mcp::tools::generate::worker::run_if_asked() {
        return code;
    }
    ultimate_mcp::cli::run()
}
