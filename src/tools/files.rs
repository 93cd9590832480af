//! Files a caller sends along with code: checked once here, again by the launcher.
//!
//! Used by `execute_code` and `run_tests`. Refuses paths that leave the working directory, hidden
//! collisions (a file that is also a folder), duplicates, and anything beyond the size bounds.

use std::collections::HashSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use ultimate_mcp_sandbox::spec::InputFile;

use crate::error::{ApiError, Problem};

/// Most files in one call.
pub const FILES_MAX: usize = 64;
/// Most bytes of all files of one call together, decoded.
pub const FILES_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest path in bytes; well below the kernel's 4096 so that no prefix makes it too long.
pub const PATH_BYTES_MAX: usize = 240;
/// Deepest path in components.
pub const PATH_DEPTH_MAX: usize = 8;
/// Folder of our own helpers in the working directory (test reporters).
pub const RESERVED_FOLDER: &str = ".ultimate_mcp";

/// One file to place in the working directory before the run. Give `content` or `base64`.
#[derive(Clone, Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with a path and a content")]
pub struct FileArg {
    /// Relative path, e.g. `data/input.csv`; no `..`, not absolute, at most 8 levels, 240 bytes.
    #[garde(length(bytes, min = 1, max = PATH_BYTES_MAX), custom(relative))]
    pub path: String,
    /// Text content.
    #[garde(length(bytes, max = FILES_BYTES_MAX))]
    pub content: Option<String>,
    /// Binary content, standard base64 with padding (RFC 4648 §4).
    #[garde(length(bytes, max = FILES_BYTES_MAX * 4 / 3 + 4))]
    pub base64: Option<String>,
}

fn relative(path: &str, _: &()) -> garde::Result {
    check_path(path).map_err(garde::Error::new)
}

/// Whether `path` stays beneath the folder it is relative to.
pub fn check_path(path: &str) -> Result<(), String> {
    if path.starts_with('/') {
        return Err("must be relative to the working directory, without a leading /".into());
    }
    if path.chars().any(char::is_control) {
        return Err("must not contain control characters".into());
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.len() > PATH_DEPTH_MAX {
        return Err(format!("must have at most {PATH_DEPTH_MAX} levels"));
    }
    if parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
        return Err("must not contain empty parts, . or ..".into());
    }
    if parts[0] == RESERVED_FOLDER {
        return Err(format!("must not lie in {RESERVED_FOLDER}/, which the engine uses itself"));
    }
    if path == "out" {
        return Err("must not be out, the folder whose files come back as artifacts".into());
    }
    Ok(())
}

/// Decodes the files; `taken` are paths the tool itself writes.
pub fn decode(files: Vec<FileArg>, taken: &[&str]) -> Result<Vec<InputFile>, ApiError> {
    let mut problems = Vec::new();
    let mut inputs: Vec<InputFile> = Vec::with_capacity(files.len());
    let mut bytes = 0;
    for (index, file) in files.into_iter().enumerate() {
        match content_of(&file) {
            Ok(content) => {
                bytes += content.len();
                inputs.push(InputFile { path: file.path, content });
            }
            Err((field, problem)) => {
                problems.push(Problem { path: format!("files[{index}]{field}"), problem });
                inputs.push(InputFile { path: file.path, content: Vec::new() });
            }
        }
    }
    if bytes > FILES_BYTES_MAX {
        let problem = format!("hold {bytes} bytes; at most {FILES_BYTES_MAX} in all are allowed");
        problems.push(Problem { path: "files".into(), problem });
    }
    problems.extend(collisions(&inputs, taken));
    if problems.is_empty() { Ok(inputs) } else { Err(ApiError::invalid_arguments(problems)) }
}

fn content_of(file: &FileArg) -> Result<Vec<u8>, (&'static str, String)> {
    match (&file.content, &file.base64) {
        (Some(text), None) => Ok(text.clone().into_bytes()),
        (None, Some(text)) => STANDARD.decode(text).map_err(|error| {
            (".base64", format!("must be standard base64 with padding: {error}").to_lowercase())
        }),
        (Some(_), Some(_)) => Err(("", "must have content or base64, not both".into())),
        (None, None) => Err(("", "must have content or base64".into())),
    }
}

/// Same path twice, a path that is also a folder of another, or one the tool writes itself.
fn collisions(inputs: &[InputFile], taken: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    let paths: HashSet<&str> =
        inputs.iter().map(|file| file.path.as_str()).chain(taken.iter().copied()).collect();
    for (index, file) in inputs.iter().enumerate() {
        let path = file.path.as_str();
        let folder =
            path.match_indices('/').map(|(end, _)| &path[..end]).find(|f| paths.contains(f));
        let problem = match folder {
            _ if taken.contains(&path) => {
                "is the name under which the code itself is stored".into()
            }
            _ if !seen.insert(path) => "is given twice".into(),
            Some(folder) => format!("lies in {folder}, which is a file"),
            None => continue,
        };
        problems.push(Problem { path: format!("files[{index}].path"), problem });
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> FileArg {
        FileArg { path: path.into(), content: Some("x".into()), base64: None }
    }

    #[test]
    fn paths_that_leave_the_working_directory_are_refused() {
        for bad in [
            "/etc/passwd",
            "../a",
            "a/../b",
            "a//b",
            "./a",
            "a/.",
            "a/",
            "a\0b",
            "a\nb",
            "out",
            ".ultimate_mcp/report.py",
            "1/2/3/4/5/6/7/8/9",
        ] {
            assert!(check_path(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "data/in.csv", "out/seed.txt", "..a", "a..", "é/ü", "-rf"] {
            assert_eq!(check_path(good), Ok(()), "{good:?} was refused");
        }
    }

    #[test]
    fn duplicates_and_files_that_are_folders_are_refused_by_index() {
        let files =
            vec![text("a"), text("b/c"), text("a"), text("b"), text("a/d"), text("main.py")];
        let error = decode(files, &["main.py"]).unwrap_err();
        let said: Vec<_> =
            error.problems.iter().map(|p| format!("{}: {}", p.path, p.problem)).collect();
        assert_eq!(
            said,
            [
                "files[1].path: lies in b, which is a file",
                "files[2].path: is given twice",
                "files[4].path: lies in a, which is a file",
                "files[5].path: is the name under which the code itself is stored",
            ]
        );
    }

    #[test]
    fn content_and_base64_exclude_each_other_and_base64_is_decoded() {
        let both = FileArg { base64: Some("eA==".into()), ..text("a") };
        let neither = FileArg { content: None, ..text("b") };
        let broken = FileArg { content: None, base64: Some("%".into()), ..text("c") };
        let error = decode(vec![both, neither, broken], &[]).unwrap_err();
        assert_eq!(error.problems[0].path, "files[0]");
        assert_eq!(error.problems[1].path, "files[1]");
        assert_eq!(error.problems[2].path, "files[2].base64");
        let binary = FileArg { content: None, base64: Some("AP8=".into()), ..text("d") };
        assert_eq!(decode(vec![binary], &[]).unwrap()[0].content, [0, 255]);
    }

    #[test]
    fn all_files_together_are_bounded() {
        let half = "x".repeat(FILES_BYTES_MAX / 2 + 1);
        let files = ["a", "b"].map(|path| FileArg { content: Some(half.clone()), ..text(path) });
        let error = decode(files.into(), &[]).unwrap_err();
        assert_eq!(error.problems[0].path, "files");
    }
}
