//! The cell: runs untrusted code in a process tree that cannot see or harm anything else.
//!
//! The server talks to a separate launcher process (see `launcher`); it never forks itself.

pub mod language;
pub mod spec;
