//! Linters run inside the cell: the code they read is untrusted, and so is what they print.
//!
//! Each linter says how it is run and how its JSON is read; a missing one is a fact in the result.

mod oxlint;
mod ruff;
mod shellcheck;

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ultimate_mcp_sandbox::spec::{InputFile, Limits, Profile};

use super::language::LintLanguage;

/// Most diagnostics in one result.
pub const DIAGNOSTICS_MAX: usize = 500;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Diagnostic {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// Line of the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_line: Option<u32>,
    /// Column after the last character.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_column: Option<u32>,
    /// The rule's name in its linter, e.g. `F401`, `SC2086`, `eslint(no-debugger)`; `syntax-error`
    /// for a syntax error.
    pub rule: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// Who says so: `ruff`, `shellcheck`, `oxlint` or `tree-sitter`.
    pub source: String,
    /// How to mend it, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// Page of the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A mechanical repair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Fix>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Does not work, or almost surely not as meant.
    Error,
    /// Probably not as meant.
    Warning,
    /// Worth knowing.
    Info,
    /// A matter of form.
    Style,
}

/// A mechanical repair: edits to apply together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fix {
    /// `safe` keeps the meaning, `unsafe` may change it.
    pub applicability: String,
    /// Replacements in the original text; they do not overlap.
    pub edits: Vec<Edit>,
}

/// One replacement. Positions are those of the original text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Edit {
    /// Line of the first character replaced, from 1.
    pub line: u32,
    /// Column of the first character replaced, from 1.
    pub column: u32,
    /// Line of the end.
    pub end_line: u32,
    /// Column after the last character replaced.
    pub end_column: u32,
    /// The new text.
    pub content: String,
}

/// A linter we know how to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Linter {
    /// Python.
    Ruff,
    /// Bash.
    Shellcheck,
    /// JavaScript and TypeScript.
    Oxlint,
}

/// How a linter is run on one source.
pub struct LinterRun {
    /// Absolute program inside the cell, then its arguments.
    pub argv: Vec<String>,
    /// Which allow-list it needs.
    pub profile: Profile,
    /// Files it reads.
    pub files: Vec<InputFile>,
    /// Standard input.
    pub stdin: Vec<u8>,
}

/// What a linter needs at most. Ours, not the caller's: linting needs no right to execute. Measured
/// on 500 KiB of findings: ruff 0.12 s and 41 MB, oxlint with node 0.4 s and 75 MB; shellcheck grows
/// faster than its input (100 s, 1.4 GB) and runs into these limits, which the result then says.
pub const LIMITS: Limits = Limits {
    wall: Duration::from_secs(10),
    cpu: Duration::from_secs(10),
    memory_bytes: 512 * 1024 * 1024,
    pids: 64,
    output_bytes: 8 * 1024 * 1024,
    disk_bytes: 16 * 1024 * 1024,
    cpu_milli: 1000,
};

impl Linter {
    /// The linter of a language, if it has one.
    pub fn of(language: LintLanguage) -> Option<Linter> {
        match language {
            LintLanguage::Python => Some(Linter::Ruff),
            LintLanguage::Bash => Some(Linter::Shellcheck),
            LintLanguage::JavaScript | LintLanguage::TypeScript => Some(Linter::Oxlint),
            LintLanguage::Rust | LintLanguage::Go | LintLanguage::C => None,
        }
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Linter::Ruff => "ruff",
            Linter::Shellcheck => "shellcheck",
            Linter::Oxlint => "oxlint",
        }
    }

    /// How to run it. `is_variant`: the source is TSX.
    pub fn run(self, language: LintLanguage, is_variant: bool, code: &str) -> LinterRun {
        match self {
            Linter::Ruff => ruff::run(code),
            Linter::Shellcheck => shellcheck::run(code),
            Linter::Oxlint => oxlint::run(language, is_variant, code),
        }
    }

    /// How to ask for its version.
    pub fn version_run(self) -> LinterRun {
        let mut run = self.run(LintLanguage::JavaScript, false, "");
        let program = match self {
            Linter::Oxlint => 2,
            Linter::Ruff | Linter::Shellcheck => 1,
        };
        run.argv.truncate(program);
        run.argv.push("--version".into());
        run
    }

    /// Reads the version out of what `--version` printed: the first word that starts with a digit.
    pub fn version_of(stdout: &str) -> Option<String> {
        let digit = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit());
        stdout.split_whitespace().find(digit).map(|word| word.chars().take(32).collect())
    }

    /// Whether this is what node says when the linter it was to run is not there.
    pub fn is_missed_by_node(self, stderr: &[u8]) -> bool {
        self == Linter::Oxlint && oxlint::is_missing(&String::from_utf8_lossy(stderr))
    }

    /// Reads its JSON; `Err` says what does not fit.
    pub fn parse(self, stdout: &[u8], code: &str) -> Result<Vec<Diagnostic>, serde_json::Error> {
        match self {
            Linter::Ruff => ruff::parse(stdout),
            Linter::Shellcheck => shellcheck::parse(stdout),
            Linter::Oxlint => oxlint::parse(stdout, code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_each_linter_prints() {
        for (printed, version) in [
            ("ruff 0.17.6\n", "0.17.6"),
            ("Version: 1.94.0\n", "1.94.0"),
            ("ShellCheck - shell script analysis tool\nversion: 0.9.0\n", "0.9.0"),
        ] {
            assert_eq!(Linter::version_of(printed).as_deref(), Some(version));
        }
        assert_eq!(Linter::version_of("nothing"), None);
    }

    #[test]
    fn asking_for_the_version_keeps_the_program_only() {
        let argv = |linter: Linter| linter.version_run().argv.join(" ");
        assert_eq!(argv(Linter::Ruff), "/opt/tools/python/bin/ruff --version");
        assert_eq!(argv(Linter::Shellcheck), "/usr/bin/shellcheck --version");
        assert!(argv(Linter::Oxlint).ends_with("/bin/oxlint --version"));
    }
}
