//! Repeats a test of this binary as an ordinary user, with everything it needs where that user can read.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::{host, program};

/// True when the test shall go on in this process: it is the repetition, or never was root.
pub fn repeat(test: &str, launcher: &Path) -> bool {
    let root = fs::metadata("/proc/self").map(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    if std::env::var_os("HOSTILE_LAUNCHER").is_some() || !root.unwrap_or(false) {
        return true;
    }
    // The build directory and the checkout may lie where others cannot look.
    let place = tempfile::tempdir().unwrap();
    host::open(place.path());
    let copy = |from: &Path, to: &str| {
        let to = place.path().join(to);
        fs::copy(from, &to).unwrap();
        fs::set_permissions(&to, PermissionsExt::from_mode(0o755)).unwrap();
        to
    };
    let binary = copy(&std::env::current_exe().unwrap(), "test");
    let launcher = copy(launcher, "launcher");
    let programs = place.path().join("programs");
    for (from, to) in [("", "programs"), ("harmless", "programs/harmless")] {
        fs::create_dir(place.path().join(to)).unwrap();
        host::open(&place.path().join(to));
        for entry in fs::read_dir(program::folder().join(from)).unwrap().flatten() {
            if entry.file_type().unwrap().is_file() {
                copy(&entry.path(), &format!("{to}/{}", entry.file_name().to_str().unwrap()));
            }
        }
    }
    let output = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(&binary)
        .args(["--exact", "--nocapture", test])
        .env("HOSTILE_LAUNCHER", &launcher)
        .env("HOSTILE_PROGRAMS", &programs)
        .current_dir("/")
        .output()
        .expect("setpriv is installed (util-linux)");
    let said = [output.stdout, output.stderr].map(|o| String::from_utf8_lossy(&o).into_owned());
    assert!(output.status.success() && said[0].contains("1 passed"), "{}", said.concat());
    false
}
