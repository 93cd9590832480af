//! Rules of the sources that the compiler does not hold.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust source below the folder.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => sources(&path),
            false if path.extension().is_some_and(|extension| extension == "rs") => vec![path],
            false => Vec::new(),
        })
        .collect()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Whether a line reaches into the crate, comments aside.
fn reaches_into(line: &str, name: &str) -> bool {
    let code = line.split("//").next().unwrap_or_default();
    let path = format!("{name}::");
    code.match_indices(&path).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

#[test]
fn only_resilience_reaches_into_the_unmaintained_backoff_crate() {
    let inside = workspace().join("actors/src/resilience");
    let folders = ["src", "actors/src", "sandbox/src"].map(|folder| workspace().join(folder));
    let all: Vec<_> = folders.iter().flat_map(|folder| sources(folder)).collect();
    let importing: Vec<_> = all
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(path).unwrap();
            text.lines().any(|line| reaches_into(line, "backoff"))
        })
        .collect();
    assert!(!importing.is_empty(), "the scan found not even the schedule: it looks wrongly");
    let strangers: Vec<_> = importing.iter().filter(|path| !path.starts_with(&inside)).collect();
    assert!(strangers.is_empty(), "take delays from resilience::schedule: {strangers:?}");
    for manifest in ["Cargo.toml", "sandbox/Cargo.toml"] {
        let text = fs::read_to_string(workspace().join(manifest)).unwrap();
        assert!(!text.contains("backoff.workspace"), "{manifest} depends on backoff");
    }
}
