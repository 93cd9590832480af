//! From outline and linter output to the result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ultimate_mcp_sandbox::spec::{RunReport, Status};

use super::imports::Import;
use super::language::LintLanguage;
use super::linters::{DIAGNOSTICS_MAX, Diagnostic, Linter, Severity};
use super::outline::{Class, Function, Outline, SyntaxError};
use crate::tools::hash::sha256_hex;
use crate::tools::outcome::{RunStatus, text};

/// Longest readable linter output in the result, in bytes.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// Exit code of a shell for a program that does not exist (POSIX 2.8.2).
const NOT_FOUND: i32 = 127;

/// Result of `lint_code`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LintResult {
    /// Functions and methods, in the order of the source.
    pub functions: Vec<Function>,
    /// Classes, structs, enums, interfaces and traits, in the order of the source.
    pub classes: Vec<Class>,
    /// What is imported, in the order of the source.
    pub imports: Vec<Import>,
    /// Cyclomatic complexity of the whole source: all functions and the code outside them.
    pub complexity: u32,
    /// What is wrong, by position.
    pub diagnostics: Vec<Diagnostic>,
    /// The linter of this language; null for a language without one.
    pub linter: Option<LinterInfo>,
    /// The linter's exit code; null when it did not finish.
    pub linter_exit_code: Option<i32>,
    /// The findings as lines `line:column rule message`, and what the linter said besides.
    pub linter_output: String,
    /// SHA-256 of `code` in hexadecimal.
    pub code_hash: String,
    /// What is missing from this result and why, one line each.
    pub notes: Vec<String>,
}

/// The linter behind the diagnostics.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct LinterInfo {
    /// Its name.
    pub name: String,
    /// Whether it is installed and could run.
    pub available: bool,
    /// Its version, when known.
    pub version: Option<String>,
}

/// What came of running a linter.
pub struct Verdict {
    linter: Linter,
    /// Whether it is installed and could run.
    pub available: bool,
    /// Its version, when known.
    pub version: Option<String>,
    exit_code: Option<i32>,
    stderr: String,
    found: Vec<Diagnostic>,
    /// Why there are no findings of it, when there are none for another reason than good code.
    pub failure: Option<String>,
}

impl Verdict {
    /// The linter cannot be run on this host.
    pub fn unavailable(linter: Linter, why: &str) -> Self {
        Self {
            linter,
            available: false,
            version: None,
            exit_code: None,
            stderr: String::new(),
            found: Vec::new(),
            failure: Some(format!("{} is not available here: {why}", linter.name())),
        }
    }

    /// Reads the report of a linter's run on `code`.
    pub fn read(linter: Linter, report: RunReport, code: &str) -> Self {
        let name = linter.name();
        let missing = report.return_code == Some(NOT_FOUND)
            || matches!(report.status, Status::SandboxError | Status::Unsupported)
            || linter.is_missed_by_node(&report.stderr);
        let parsed = match report.status {
            _ if missing => {
                let why = report.message.as_deref().unwrap_or("its program was not found");
                Err(format!("{name} is not available here: {why}"))
            }
            Status::Ok | Status::Error => linter
                .parse(&report.stdout, code)
                .map_err(|error| format!("{name} did not print its usual JSON: {error}")),
            status => {
                let status = RunStatus::from(status).slug();
                Err(format!("{name} did not finish ({status}); its findings are missing"))
            }
        };
        let (found, failure) = match parsed {
            Ok(found) => (found, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        Self {
            linter,
            available: !missing,
            version: None,
            exit_code: report.return_code,
            stderr: text(&report.stderr, report.stderr_truncated),
            found,
            failure,
        }
    }
}

/// Puts the result together.
pub fn compose(
    language: LintLanguage,
    source: &str,
    outline: Outline,
    verdict: Option<Verdict>,
) -> LintResult {
    let mut notes: Vec<String> = outline.cut.map(str::to_owned).into_iter().collect();
    let mut diagnostics = Vec::new();
    let heard = verdict.as_ref().is_some_and(|verdict| verdict.failure.is_none());
    // A linter that ran has parsed the whole source with the language's own rules: what the grammar
    // here stumbles over then is the grammar's fault.
    if !heard {
        diagnostics.extend(outline.errors.iter().map(syntax_error));
    }
    let mut linter_output = String::new();
    let mut linter = None;
    let mut linter_exit_code = None;
    if let Some(verdict) = verdict {
        diagnostics.extend(verdict.found);
        notes.extend(verdict.failure);
        linter_output = verdict.stderr;
        linter_exit_code = verdict.exit_code;
        let Verdict { linter: which, available, version, .. } = verdict;
        linter = Some(LinterInfo { name: which.name().to_owned(), available, version });
    } else {
        notes.push(format!("{} has no linter here: only syntax errors are found", language.slug()));
    }
    diagnostics.sort_by_key(|found| (found.line, found.column));
    if diagnostics.len() > DIAGNOSTICS_MAX {
        let left = diagnostics.len() - DIAGNOSTICS_MAX;
        notes.push(format!("{left} more findings are left out"));
        diagnostics.truncate(DIAGNOSTICS_MAX);
    }
    LintResult {
        functions: outline.functions,
        classes: outline.classes,
        imports: outline.imports,
        complexity: outline.complexity,
        linter_output: readable(&diagnostics, &linter_output),
        diagnostics,
        linter,
        linter_exit_code,
        code_hash: sha256_hex(source.as_bytes()),
        notes,
    }
}

fn syntax_error(error: &SyntaxError) -> Diagnostic {
    Diagnostic {
        line: error.start.0,
        column: error.start.1,
        end_line: Some(error.end.0),
        end_column: Some(error.end.1),
        rule: "syntax-error".to_owned(),
        severity: Severity::Error,
        message: error.message.clone(),
        source: "tree-sitter".to_owned(),
        help: None,
        url: None,
        fix: None,
    }
}

/// One line per finding, then what the linter wrote to stderr; bounded.
fn readable(diagnostics: &[Diagnostic], stderr: &str) -> String {
    let mut output = String::new();
    for found in diagnostics {
        let Diagnostic { line, column, rule, message, .. } = found;
        output.push_str(&format!("{line}:{column} {rule} {message}\n"));
        if output.len() > OUTPUT_BYTES_MAX {
            break;
        }
    }
    output.push_str(stderr);
    output.truncate(output.floor_char_boundary(OUTPUT_BYTES_MAX));
    output
}
