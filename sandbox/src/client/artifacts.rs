//! Collects what a run left in `out/`, after all its processes are dead.
//!
//! Everything in there was chosen by the payload: names, kinds, sizes, depth. So nothing is followed
//! (`openat2` beneath the directory, no symlinks, no mounts), only regular files are read, each step
//! is bounded, and names are escaped before anybody prints them. Nothing is ever unpacked.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use aws_lc_rs::digest::{SHA256, digest};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat, openat2};
use rustix::io::Errno;

use crate::error::CellError;
use crate::spec::Artifact;

/// Directory entries looked at, whatever they are: bounds the work on a directory of empty files.
const ENTRIES_MAX: usize = 2_000;
/// Notes kept about what was not collected.
const NOTES_MAX: usize = 20;

pub(super) const BENEATH: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Bounds of what is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtifactLimits {
    /// Most files.
    pub files: usize,
    /// Largest file in bytes.
    pub file_bytes: u64,
    /// Most bytes in all.
    pub total_bytes: u64,
    /// Deepest directory beneath `out/`.
    pub depth: usize,
}

impl Default for ArtifactLimits {
    /// 64 files, 8 MiB each, 16 MiB together, 8 directories deep.
    fn default() -> Self {
        Self { files: 64, file_bytes: 8 << 20, total_bytes: 16 << 20, depth: 8 }
    }
}

/// Files collected before, by name: inode, time of change (which no program can set) and size.
pub(super) type Known = HashMap<String, (u64, i64, u64, i64)>;

/// Collects what is new or changed since the last time; the program may be at work meanwhile.
pub(super) async fn collect_new(
    work: OwnedFd,
    limits: ArtifactLimits,
    known: &mut Known,
) -> Result<(Vec<Artifact>, Vec<String>), CellError> {
    let mut walk = Walk::new(limits);
    walk.known = std::mem::take(known);
    let walk = walk_out(work, walk).await?;
    *known = walk.seen;
    Ok((walk.found, walk.notes))
}

/// Collects from the working directory; empty without another thread when `out/` is empty.
pub(super) async fn collect(
    work: OwnedFd,
    limits: ArtifactLimits,
) -> Result<(Vec<Artifact>, Vec<String>), CellError> {
    let walk = walk_out(work, Walk::new(limits)).await?;
    Ok((walk.found, walk.notes))
}

async fn walk_out(work: OwnedFd, mut walk: Walk) -> Result<Walk, CellError> {
    match open_dir(&work, "out") {
        // The usual case costs two system calls; only then reading files is worth a thread.
        Ok(out) if is_empty(&out) => Ok(walk),
        Ok(out) => {
            let walked = tokio::task::spawn_blocking(move || {
                walk.directory(&out, "", 0);
                walk.found.sort_by(|a, b| a.name.cmp(&b.name));
                walk
            });
            walked.await.map_err(|error| CellError::Io(std::io::Error::other(error)))
        }
        Err(Errno::NOENT) => Ok(walk),
        Err(errno) => {
            walk.note("out", &format!("cannot be opened as a directory ({errno})"));
            Ok(walk)
        }
    }
}

fn open_dir(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    openat2(parent, name, flags, Mode::empty(), BENEATH)
}

fn is_empty(dir: &OwnedFd) -> bool {
    let Ok(entries) = Dir::read_from(dir) else { return false };
    entries.flatten().all(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."))
}

struct Walk {
    limits: ArtifactLimits,
    entries: usize,
    bytes: u64,
    found: Vec<Artifact>,
    notes: Vec<String>,
    known: Known,
    seen: Known,
}

impl Walk {
    fn new(limits: ArtifactLimits) -> Self {
        let (found, notes) = (Vec::new(), Vec::new());
        let (known, seen) = (Known::new(), Known::new());
        Self { limits, entries: 0, bytes: 0, found, notes, known, seen }
    }

    fn note(&mut self, name: &str, why: &str) {
        if self.notes.len() < NOTES_MAX {
            self.notes.push(format!("{name}: {why}"));
        } else if self.notes.len() == NOTES_MAX {
            self.notes.push("further files were left out too".to_owned());
        }
    }

    fn directory(&mut self, dir: &OwnedFd, prefix: &str, depth: usize) {
        let entries = match Dir::read_from(dir) {
            Ok(entries) => entries,
            Err(errno) => return self.note(prefix, &format!("cannot be listed ({errno})")),
        };
        for entry in entries.flatten() {
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return self.note(prefix, &format!("more than {ENTRIES_MAX} entries"));
            }
            let name = format!("{prefix}{}", escape(entry.file_name().to_bytes()));
            if entry.file_type() == FileType::Directory {
                self.subdirectory(dir, entry.file_name(), &name, depth);
            } else if let Err(why) = self.file(dir, entry.file_name(), &name) {
                self.note(&name, &why);
            }
        }
    }

    fn subdirectory(&mut self, dir: &OwnedFd, entry: &std::ffi::CStr, name: &str, depth: usize) {
        if depth + 1 > self.limits.depth {
            let deepest = self.limits.depth;
            return self.note(name, &format!("deeper than {deepest} directories"));
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match openat2(dir, entry, flags, Mode::empty(), BENEATH) {
            Ok(sub) => self.directory(&sub, &format!("{name}/"), depth + 1),
            Err(errno) => self.note(name, &format!("cannot be opened ({errno})")),
        }
    }

    fn file(&mut self, dir: &OwnedFd, entry: &std::ffi::CStr, name: &str) -> Result<(), String> {
        // NONBLOCK: opening a FIFO must not wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat2(dir, entry, flags, Mode::empty(), BENEATH)
            .map_err(|errno| format!("not a plain file ({errno})"))?;
        let stat = fstat(&fd).map_err(|errno| errno.to_string())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err("not a plain file".to_owned());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        let mark = (stat.st_ino, stat.st_ctime, stat.st_ctime_nsec, stat.st_size);
        self.seen.insert(name.to_owned(), mark);
        if self.known.get(name) == Some(&mark) {
            return Ok(());
        }
        let limits = self.limits;
        if self.found.len() >= limits.files {
            return Err(format!("more than {} files", limits.files));
        }
        if size > limits.file_bytes {
            return Err(format!("{size} bytes, more than {}", limits.file_bytes));
        }
        if self.bytes + size > limits.total_bytes {
            return Err(format!("more than {} bytes in all", limits.total_bytes));
        }
        let mut content = Vec::new();
        File::from(fd).take(size).read_to_end(&mut content).map_err(|e| e.to_string())?;
        self.bytes += size;
        let sha256 = hex(digest(&SHA256, &content).as_ref());
        self.found.push(Artifact { name: name.to_owned(), sha256, content });
        Ok(())
    }
}

/// Control characters, backslashes and bidirectional overrides become `\u{…}`, bytes that are not
/// UTF-8 become `\x…`: a name is printed in logs and terminals, and different names stay different.
pub(super) fn escape(name: &[u8]) -> String {
    let risky = |c: char| {
        let turns = ['\u{200e}', '\u{200f}'].contains(&c)
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c);
        c.is_control() || c == '\\' || turns
    };
    let mut out = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if risky(c) {
                out.extend(c.escape_unicode());
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str("\\x");
            out.push_str(&hex(&[*byte]));
        }
    }
    out
}

pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
