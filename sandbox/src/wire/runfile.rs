//! A [`RunSpec`] as a memory file: a small head that the launcher reads, then the files' bytes, which
//! only the run's own init copies. So a large input never passes through the launcher's memory.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::codec::{Decoder, Encoder};
use super::{Malformed, memfd};
use crate::spec::{Limits, Profile, RunSpec};

/// Largest head: arguments, environment and file names. Linux bounds an exec to 128 KiB per string.
pub(crate) const HEAD_BYTES_MAX: usize = 1024 * 1024;
/// Most arguments and most environment variables.
pub(crate) const STRINGS_MAX: usize = 1024;
/// Most input files.
pub(crate) const FILES_MAX: usize = 1024;
/// Longest path of an input file (PATH_MAX of linux/limits.h is 4096, with the NUL).
const PATH_BYTES_MAX: usize = 1024;
/// Smallest memory limit in which an interpreter starts at all.
const MEMORY_BYTES_MIN: u64 = 4 * 1024 * 1024;
/// Longest life of a run, and of a sandbox that stays.
const RUN_MAX: Duration = Duration::from_secs(3600);
const STAY_MAX: Duration = Duration::from_secs(24 * 3600);

/// Where a file's bytes lie in the memory file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileRef {
    pub(crate) path: String,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// A [`RunSpec`] without the bulk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunHead {
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) profile: Profile,
    pub(crate) compile_signal: bool,
    /// The program stays and is driven by requests on descriptor 3; it replies on descriptor 4.
    pub(crate) steps: bool,
    pub(crate) limits: Limits,
    pub(crate) files: Vec<FileRef>,
}

/// What is wrong with a run's description, for the one who described it.
pub(crate) fn check(spec: &RunSpec, steps: bool) -> Result<(), String> {
    let head = head_of(spec, steps);
    head.check()?;
    let total: u64 = head.files.iter().map(|file| file.len).sum();
    if total > spec.limits.disk_bytes {
        return Err(format!(
            "the input files hold {total} bytes, more than disk_bytes = {}",
            spec.limits.disk_bytes
        ));
    }
    Ok(())
}

/// Writes the run into a sealed memory file.
pub(crate) fn write(spec: &RunSpec, steps: bool) -> std::io::Result<OwnedFd> {
    let head = head_of(spec, steps).encode();
    let len = u32::try_from(head.len()).unwrap_or(u32::MAX).to_le_bytes();
    let mut parts: Vec<&[u8]> = vec![&len, &head];
    parts.extend(spec.files.iter().map(|file| file.content.as_slice()));
    memfd::sealed(&parts)
}

/// Reads the head back. Offsets in it count from the start of the file.
pub(crate) fn read(file: &File) -> Result<RunHead, Malformed> {
    memfd::check_sealed(file)?;
    let unreadable = |_| Malformed("its memory file is too short");
    let size = file.metadata().map_err(unreadable)?.len();
    let len = memfd::read_at(file, 0, 4).map_err(unreadable)?;
    let len = Decoder::new(&len).u32()? as usize;
    if len > HEAD_BYTES_MAX {
        return Err(Malformed("its head is too large"));
    }
    let bytes = memfd::read_at(file, 4, len).map_err(unreadable)?;
    let head = RunHead::decode(&bytes, 4 + len as u64, size)?;
    head.check().map_err(|_| Malformed("its head breaks a rule"))?;
    Ok(head)
}

fn head_of(spec: &RunSpec, steps: bool) -> RunHead {
    let file = |file: &crate::spec::InputFile| FileRef {
        path: file.path.clone(),
        offset: 0,
        len: file.content.len() as u64,
    };
    RunHead {
        argv: spec.argv.clone(),
        env: spec.env.clone(),
        profile: spec.profile,
        compile_signal: spec.compile_signal,
        steps,
        limits: spec.limits,
        files: spec.files.iter().map(file).collect(),
    }
}

impl RunHead {
    fn encode(&self) -> Vec<u8> {
        let mut out = Encoder::default();
        out.u32(count(self.argv.len()));
        for argument in &self.argv {
            out.bytes(argument.as_bytes());
        }
        out.u32(count(self.env.len()));
        for (key, value) in &self.env {
            out.bytes(key.as_bytes()).bytes(value.as_bytes());
        }
        out.u8(match self.profile {
            Profile::Python => 0,
            Profile::Node => 1,
            Profile::Shell => 2,
            Profile::Native => 3,
        });
        out.u8(u8::from(self.compile_signal)).u8(u8::from(self.steps));
        let limits = &self.limits;
        out.u64(nanos(limits.wall)).u64(nanos(limits.cpu)).u64(limits.memory_bytes);
        out.u32(limits.pids).u64(limits.output_bytes).u64(limits.disk_bytes).u32(limits.cpu_milli);
        out.u32(count(self.files.len()));
        for file in &self.files {
            out.bytes(file.path.as_bytes()).u64(file.len);
        }
        out.finish()
    }

    fn decode(bytes: &[u8], mut offset: u64, size: u64) -> Result<Self, Malformed> {
        let mut input = Decoder::new(bytes);
        let mut argv = Vec::new();
        for _ in 0..input.count(STRINGS_MAX)? {
            argv.push(input.text()?);
        }
        let mut env = Vec::new();
        for _ in 0..input.count(STRINGS_MAX)? {
            env.push((input.text()?, input.text()?));
        }
        let profile = match input.u8()? {
            0 => Profile::Python,
            1 => Profile::Node,
            2 => Profile::Shell,
            3 => Profile::Native,
            _ => return Err(Malformed("its profile is unknown")),
        };
        let (compile_signal, steps) = (input.bool()?, input.bool()?);
        let limits = Limits {
            wall: Duration::from_nanos(input.u64()?),
            cpu: Duration::from_nanos(input.u64()?),
            memory_bytes: input.u64()?,
            pids: input.u32()?,
            output_bytes: input.u64()?,
            disk_bytes: input.u64()?,
            cpu_milli: input.u32()?,
        };
        let mut files = Vec::new();
        for _ in 0..input.count(FILES_MAX)? {
            let (path, len) = (input.text()?, input.u64()?);
            files.push(FileRef { path, offset, len });
            offset = offset.checked_add(len).ok_or(Malformed("a file is too long"))?;
        }
        if offset > size {
            return Err(Malformed("its memory file is too short"));
        }
        input.end()?;
        Ok(Self { argv, env, profile, compile_signal, steps, limits, files })
    }

    /// The rules of a run, with the mending in each message.
    fn check(&self) -> Result<(), String> {
        let program = self.argv.first().ok_or("argv is empty; name a program")?;
        if !program.starts_with('/') {
            return Err(format!("argv[0] = {program:?} must be an absolute path"));
        }
        if self.argv.len() > STRINGS_MAX || self.env.len() > STRINGS_MAX {
            return Err(format!("at most {STRINGS_MAX} arguments and {STRINGS_MAX} variables"));
        }
        if self.files.len() > FILES_MAX {
            return Err(format!("{} input files; at most {FILES_MAX}", self.files.len()));
        }
        for text in self.argv.iter().chain(self.env.iter().flat_map(|(k, v)| [k, v])) {
            if text.contains('\0') {
                return Err("arguments and variables must not contain NUL".to_owned());
            }
        }
        for (key, _) in &self.env {
            if key.is_empty() || key.contains('=') {
                return Err(format!("variable name {key:?} must not be empty or contain '='"));
            }
        }
        for file in &self.files {
            check_path(&file.path)?;
        }
        let strings = self.argv.iter().map(String::len).sum::<usize>()
            + self.env.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>()
            + self.files.iter().map(|file| file.path.len()).sum::<usize>();
        if strings > HEAD_BYTES_MAX / 2 {
            return Err(format!(
                "arguments, variables and paths exceed {} bytes",
                HEAD_BYTES_MAX / 2
            ));
        }
        if self.steps && self.compile_signal {
            return Err("a sandbox that stays has no compile signal".to_owned());
        }
        check_limits(&self.limits, if self.steps { STAY_MAX } else { RUN_MAX })
    }
}

fn check_limits(limits: &Limits, longest: Duration) -> Result<(), String> {
    for (name, span) in [("wall", limits.wall), ("cpu", limits.cpu)] {
        if span.is_zero() || span > longest {
            let most = longest.as_secs() / 3600;
            return Err(format!("limits.{name} must be more than 0 and at most {most} h"));
        }
    }
    if limits.memory_bytes < MEMORY_BYTES_MIN {
        return Err(format!("limits.memory_bytes must be at least {MEMORY_BYTES_MIN}"));
    }
    if limits.pids == 0 || limits.pids > 32_768 {
        return Err("limits.pids must be 1 to 32768".to_owned());
    }
    if limits.disk_bytes < 4096 {
        return Err("limits.disk_bytes must be at least 4096".to_owned());
    }
    if limits.cpu_milli < 10 || limits.cpu_milli > 1_000_000 {
        return Err("limits.cpu_milli must be 10 to 1000000".to_owned());
    }
    Ok(())
}

/// A path beneath the working directory: relative, plain components only.
pub(crate) fn check_path(path: &str) -> Result<(), String> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
    if path.len() > PATH_BYTES_MAX || path.contains('\0') || !path.split('/').all(plain) {
        return Err(format!(
            "file path {path:?} must be relative, at most {PATH_BYTES_MAX} bytes, without '.', '..' \
             or empty parts"
        ));
    }
    Ok(())
}

fn count(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::InputFile;

    pub(crate) fn spec() -> RunSpec {
        RunSpec {
            execution_id: "test".into(),
            argv: vec!["/usr/bin/true".into()],
            env: vec![("A".into(), "b".into())],
            profile: Profile::Shell,
            files: vec![
                InputFile { path: "a/b.txt".into(), content: b"one".to_vec() },
                InputFile { path: "c".into(), content: b"three".to_vec() },
            ],
            stdin: vec![],
            compile_signal: true,
            limits: Limits {
                wall: Duration::from_secs(1),
                cpu: Duration::from_secs(1),
                memory_bytes: 64 << 20,
                pids: 16,
                output_bytes: 1 << 16,
                disk_bytes: 1 << 20,
                cpu_milli: 1000,
            },
        }
    }

    #[test]
    fn a_run_crosses_unchanged_and_its_files_are_where_the_head_says() {
        let spec = spec();
        let file = File::from(write(&spec, false).unwrap());
        let head = read(&file).unwrap();
        assert_eq!(head.argv, spec.argv);
        assert_eq!(head.env, spec.env);
        assert_eq!(head.limits, spec.limits);
        assert!(head.compile_signal);
        for (got, want) in head.files.iter().zip(&spec.files) {
            let bytes = memfd::read_at(&file, got.offset, usize::try_from(got.len).unwrap());
            assert_eq!(
                (got.path.as_str(), bytes.unwrap()),
                (want.path.as_str(), want.content.clone())
            );
        }
    }

    #[test]
    fn paths_that_leave_the_working_directory_are_refused() {
        for path in ["", "/etc/passwd", "..", "a/../b", "./a", "a//b", "a/", "x\0y"] {
            let mut bad = spec();
            bad.files[0].path = path.into();
            assert!(check(&bad, false).is_err(), "{path:?} was accepted");
        }
    }

    #[test]
    fn an_unsealed_memory_file_is_refused() {
        let fd = memfd_create_unsealed();
        assert_eq!(read(&fd), Err(Malformed("its memory file is not sealed")));
    }

    fn memfd_create_unsealed() -> File {
        use rustix::fs::{MemfdFlags, memfd_create};
        File::from(memfd_create("t", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap())
    }

    proptest! {
        #[test]
        fn reading_survives_any_head(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = RunHead::decode(&bytes, 4, 1000);
            let file = File::from(memfd::sealed(&[&bytes]).unwrap());
            let _ = read(&file);
        }

        #[test]
        fn reading_survives_one_damaged_byte(at in 0usize..200, with in any::<u8>()) {
            let mut head = head_of(&spec(), true).encode();
            let at = at % head.len();
            head[at] = with;
            let _ = RunHead::decode(&head, 4, 1000);
        }
    }
}
