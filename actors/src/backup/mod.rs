//! Backups of one instance: everything in its data directory and its graph, encrypted, to a folder or an
//! S3 bucket; and the audit's newest events in between.
//!
//! ```text
//! <target>/<instance>/backups/<time>-<audit seq>/manifest    written last: what has none is not a backup
//!                                               /items/<n>   one file each
//! <target>/<instance>/audit/<from>-<to>                      events since, in segments
//! ```
//! Called by the command line (`ultimate-mcp backup`, `restore`), beside a running server or without one.
//! Each file is a snapshot; the audit is taken last, so that nothing in a backup lacks its event. Refuses
//! to restore what is incomplete, was changed, or was sealed with another key, and to restore over
//! anything.

mod collect;
mod create;
mod error;
mod manifest;
mod restore;
mod seal;
mod segment;
mod target;

pub use create::{Created, Source, create};
pub use error::BackupError;
pub use manifest::{AuditPoint, Item, Manifest};
pub use restore::{RestoreRequest, Restored, restore, verify};
pub use seal::BackupKey;
pub use segment::{Archived, archive};
pub use target::{Listed, Target, TargetOptions};
