//! Sealed memory files: bytes that cross to the launcher once and cannot change afterwards.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, memfd_create,
};

use super::Malformed;

const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// Writes `parts` one after the other into a memory file and seals it.
pub(crate) fn sealed(parts: &[&[u8]]) -> std::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = File::from(memfd_create("cell", flags)?);
    for part in parts {
        file.write_all(part)?;
    }
    fcntl_add_seals(&file, SEALS)?;
    Ok(file.into())
}

/// Opens a memory file again, for reading only and from its start: a descriptor fit for a payload.
pub(crate) fn read_only(fd: impl AsFd) -> std::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", fd.as_fd().as_raw_fd());
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether the sender can no longer change what we are about to trust.
pub(crate) fn check_sealed(fd: impl AsFd) -> Result<(), Malformed> {
    match fcntl_get_seals(fd) {
        Ok(seals) if seals.contains(SEALS) => Ok(()),
        _ => Err(Malformed("its memory file is not sealed")),
    }
}

/// Reads `len` bytes at `offset`.
pub(crate) fn read_at(file: &File, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, offset)?;
    Ok(bytes)
}

/// Reads the whole of a small file such as one of `/proc`.
pub(crate) fn read_small(file: File, most: u64) -> std::io::Result<String> {
    let mut text = String::new();
    file.take(most).read_to_string(&mut text)?;
    Ok(text)
}
