//! Reads and lists a living sandbox's files from outside, without its help.
//!
//! The program may be at work meanwhile and swap whatever is being looked at. So everything goes through
//! `openat2` beneath the working directory as in [`super::artifacts`]: no link, no mount and no device
//! is followed, only regular files are read, nothing is waited for, and each step is bounded.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat2};
use rustix::io::Errno;

use super::artifacts::{BENEATH, escape};
use crate::wire::runfile::check_path;

/// Directory entries looked at in one listing.
pub const ENTRIES_MAX: usize = 2_000;
/// Deepest directory that is listed.
pub const DEPTH_MAX: usize = 8;

/// Why a file was not read or a directory not listed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// The path leaves the working directory, or is none.
    #[error("{0}")]
    Path(String),
    /// There is nothing of that name.
    #[error("there is no such file in the sandbox")]
    Absent,
    /// It is a link, a device, a FIFO, a directory where a file should be, or not readable.
    #[error("it is not a plain file or directory that can be read ({0})")]
    NotPlain(String),
    /// It is larger than what may be read at once.
    #[error("the file holds {bytes} bytes, more than {most}")]
    TooLarge {
        /// Bytes it holds.
        bytes: u64,
        /// Bytes that may be read.
        most: u64,
    },
}

/// What stands in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, FIFO, socket: never followed, never read.
    Other,
}

/// One entry of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Path relative to the working directory, control characters escaped.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a regular file.
    pub bytes: u64,
}

/// What was listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Entries in the order of their paths.
    pub entries: Vec<Entry>,
    /// There is more than was looked at.
    pub truncated: bool,
}

/// The content of a regular file of at most `most` bytes.
pub(super) fn read(work: &OwnedFd, path: &str, most: u64) -> Result<Vec<u8>, FileError> {
    check_path(path).map_err(FileError::Path)?;
    // NONBLOCK: opening a FIFO must not wait for a writer.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = openat2(work, path, flags, Mode::empty(), BENEATH).map_err(explain)?;
    let stat = fstat(&fd).map_err(explain)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(FileError::NotPlain("it is something else".to_owned()));
    }
    let bytes = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
    if bytes > most {
        return Err(FileError::TooLarge { bytes, most });
    }
    let mut content = Vec::new();
    // It may grow while it is read.
    let read = File::from(fd).take(most).read_to_end(&mut content);
    read.map_err(|error| FileError::NotPlain(error.to_string()))?;
    Ok(content)
}

/// Everything beneath a directory; "" is the working directory itself.
pub(super) fn list(work: &OwnedFd, path: &str) -> Result<Listing, FileError> {
    let mut listing = Listing::default();
    let mut looked_at = 0;
    let (root, prefix) = match path {
        "" => (open_dir(work, ".").map_err(explain)?, String::new()),
        path => {
            check_path(path).map_err(FileError::Path)?;
            (open_dir(work, path).map_err(explain)?, format!("{}/", escape(path.as_bytes())))
        }
    };
    walk(&root, &prefix, 0, &mut looked_at, &mut listing);
    listing.entries.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(listing)
}

fn walk(dir: &OwnedFd, prefix: &str, depth: usize, looked_at: &mut usize, listing: &mut Listing) {
    let Ok(entries) = Dir::read_from(dir) else {
        listing.truncated = true;
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        *looked_at += 1;
        if *looked_at > ENTRIES_MAX {
            listing.truncated = true;
            return;
        }
        let path = format!("{prefix}{}", escape(name.to_bytes()));
        let (kind, bytes) = match entry.file_type() {
            FileType::RegularFile => (EntryKind::File, size_of_file(dir, name)),
            FileType::Directory => (EntryKind::Directory, 0),
            _ => (EntryKind::Other, 0),
        };
        listing.entries.push(Entry { path: path.clone(), kind, bytes });
        if kind != EntryKind::Directory {
            continue;
        }
        match open_dir(dir, name) {
            Ok(below) if depth < DEPTH_MAX => {
                walk(&below, &format!("{path}/"), depth + 1, looked_at, listing);
            }
            Ok(_) | Err(_) => listing.truncated = true,
        }
    }
}

fn open_dir(parent: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    openat2(parent, name, flags, Mode::empty(), BENEATH)
}

/// Without opening it for reading: an entry that was swapped counts as empty.
fn size_of_file(dir: &OwnedFd, name: &std::ffi::CStr) -> u64 {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let stat = openat2(dir, name, flags, Mode::empty(), BENEATH).and_then(fstat);
    stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
}

fn explain(errno: Errno) -> FileError {
    match errno {
        Errno::NOENT | Errno::NOTDIR => FileError::Absent,
        Errno::LOOP => FileError::NotPlain("a link is in the way".to_owned()),
        errno => FileError::NotPlain(errno.to_string()),
    }
}
