//! The cell: runs untrusted code in a process tree that cannot see or harm anything else.
//!
//! Three kinds of process, three groups of modules:
//!
//! * the **server** holds a [`client::Link`]; it never forks and never sees the payload's processes,
//! * the **launcher** ([`launcher::main`]) is one single-threaded process started by the link; it owns
//!   control groups, uid slots, deadlines and kills,
//! * **inside** each run there is a tiny init (PID 1 of its own namespace) and the payload.
//!
//! Server and launcher speak the messages of `wire` over a SEQPACKET socket. What cannot be isolated
//! is refused; nothing falls back silently.

pub mod client;
pub mod error;
mod inside;
pub mod language;
pub mod launcher;
pub mod options;
pub mod probe;
mod seccomp;
pub mod spec;
pub mod step;
mod sys;
mod wire;
mod zygote;

pub use client::Link;
pub use error::CellError;
pub use options::LauncherOptions;
