//! Rules about the tree itself: a rule that nobody checks is a wish.

use std::fs;
use std::path::{Path, PathBuf};

use ultimate_mcp::error::Code;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below the given folders, with its text.
fn sources(folders: &[&str]) -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), &mut found);
    }
    assert!(!found.is_empty(), "no sources below {folders:?}");
    found
}

/// The text without comments of the `//` kind: rules are about code.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn offenders(folders: &[&str], bad: impl Fn(&Path, &str) -> bool) -> Vec<String> {
    sources(folders)
        .into_iter()
        .filter(|(path, text)| bad(path, text))
        .map(|(path, _)| path.strip_prefix(root()).unwrap().display().to_string())
        .collect()
}

const EVERYWHERE: &[&str] =
    &["src", "actors/src", "sandbox/src", "chaos", "tests", "actors/tests", "sandbox/tests"];

#[test]
fn the_engine_knows_nothing_of_http_and_the_cell_nothing_of_the_engine() {
    let http = offenders(&["actors/src"], |_, t| code(t).contains("actix_web"));
    assert!(http.is_empty(), "actors import actix_web: {http:?}");
    let up = offenders(&["sandbox/src"], |_, t| code(t).contains("ultimate_mcp_actors"));
    assert!(up.is_empty(), "the cell imports the engine: {up:?}");
    let face = offenders(&["actors/src", "sandbox/src"], |_, t| code(t).contains("ultimate_mcp::"));
    assert!(face.is_empty(), "lower crates import the face: {face:?}");
}

#[test]
fn unsafe_code_lives_in_the_cell_only() {
    for file in ["src/lib.rs", "src/main.rs", "actors/src/lib.rs"] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        assert!(text.contains("#![forbid(unsafe_code)]"), "{file} does not forbid unsafe code");
    }
}

#[test]
fn the_unmaintained_crates_stay_behind_resilience() {
    let found = offenders(&["src", "actors/src", "sandbox/src"], |path, t| {
        let inside = path.components().any(|c| c.as_os_str() == "resilience");
        !inside
            && code(t)
                .lines()
                .any(|l| l.contains("backoff::Exponential") || l.contains("failsafe::"))
    });
    assert!(found.is_empty(), "backoff or failsafe used outside resilience: {found:?}");
}

#[test]
fn every_profile_unwinds_because_supervision_catches_panics() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("panic = \"abort\""));
    for profile in ["[profile.dev]\npanic = \"unwind\"", "[profile.release]\npanic = \"unwind\""] {
        assert!(manifest.contains(profile), "missing {profile:?}");
    }
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let found = offenders(EVERYWHERE, |_, t| t.lines().count() > 500);
    assert!(found.is_empty(), "split by responsibility: {found:?}");
}

#[test]
fn nothing_is_left_for_later_in_the_code() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("unimpl", "emented!"),
        concat!("#[ign", "ore"),
    ];
    // A test binary that starts itself again needs an entry that no ordinary run takes.
    let entry = concat!("#[ign", "ore = \"started by the tests beside it");
    let found = offenders(EVERYWHERE, |_, t| {
        let text = t.replace(entry, "");
        marks.iter().any(|mark| text.contains(mark))
    });
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn every_file_says_what_it_is() {
    let found = offenders(EVERYWHERE, |_, t| !t.starts_with("//!"));
    assert!(found.is_empty(), "no //! header: {found:?}");
}

#[test]
fn every_actor_states_what_it_owns_its_mailbox_when_it_dies_and_how_it_restarts() {
    for (path, text) in sources(&["actors/src"]) {
        if path.file_name().is_some_and(|n| n == "actor.rs") {
            let header: String = text
                .lines()
                .take_while(|l| l.starts_with("//!"))
                .map(|l| l.to_lowercase())
                .collect();
            for word in ["owns", "mailbox", "dies", "restarted"] {
                assert!(header.contains(word), "{}: header lacks {word:?}", path.display());
            }
        }
    }
}

#[test]
fn every_error_code_has_a_page_and_every_page_a_code() {
    let mut pages: Vec<String> = fs::read_dir(root().join("docs/errors"))
        .unwrap()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.strip_suffix(".md").map(str::to_owned))
        .filter(|name| name != "README")
        .collect();
    let mut codes: Vec<String> = Code::ALL.iter().map(|c| c.slug().to_owned()).collect();
    pages.sort();
    codes.sort();
    assert_eq!(pages, codes);
}
