//! oxlint: `--format=json` (oxc.rs, "Command-line interface"). Its columns count bytes, so positions
//! are worked out from its byte offsets.

use serde::Deserialize;
use ultimate_mcp_sandbox::spec::{InputFile, Profile};

use super::{Diagnostic, LinterRun, Severity};
use crate::tools::lint::language::LintLanguage;
use crate::tools::lint::lines::Lines;

const NODE: &str = "/usr/bin/node";
const PROGRAM: &str = "/opt/tools/node/node_modules/oxlint/bin/oxlint";

/// Reads the source from a file, since it takes the dialect from the file's name.
pub fn run(language: LintLanguage, is_variant: bool, code: &str) -> LinterRun {
    let name = match (language, is_variant) {
        (LintLanguage::TypeScript, true) => "code.tsx",
        (LintLanguage::TypeScript, false) => "code.ts",
        _ => "code.jsx",
    };
    let arguments = [NODE, PROGRAM, "--format=json", "--threads=1", "--no-ignore", name];
    LinterRun {
        argv: arguments.map(str::to_owned).to_vec(),
        profile: Profile::Node,
        files: vec![InputFile { path: name.to_owned(), content: code.as_bytes().to_vec() }],
        stdin: Vec::new(),
    }
}

/// Node's words for a main module that does not exist (ERR MODULE_NOT_FOUND).
pub fn is_missing(stderr: &str) -> bool {
    stderr.contains(&format!("Cannot find module '{PROGRAM}'"))
}

#[derive(Deserialize)]
struct Printed {
    diagnostics: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    message: String,
    code: Option<String>,
    severity: String,
    url: Option<String>,
    help: Option<String>,
    #[serde(default)]
    labels: Vec<Label>,
}

#[derive(Deserialize)]
struct Label {
    span: Span,
}

#[derive(Deserialize)]
struct Span {
    offset: usize,
    length: usize,
}

/// Reads oxlint's JSON object.
pub fn parse(stdout: &[u8], code: &str) -> Result<Vec<Diagnostic>, serde_json::Error> {
    let printed: Printed = serde_json::from_slice(stdout)?;
    let lines = Lines::new(code);
    Ok(printed.diagnostics.into_iter().map(|finding| diagnostic(finding, &lines)).collect())
}

fn diagnostic(finding: Finding, lines: &Lines<'_>) -> Diagnostic {
    let (start, end) = match finding.labels.first() {
        Some(Label { span }) => (
            lines.at_byte(span.offset),
            Some(lines.at_byte(span.offset.saturating_add(span.length))),
        ),
        None => ((1, 1), None),
    };
    let severity = match finding.severity.as_str() {
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        _ => Severity::Info,
    };
    Diagnostic {
        line: start.0,
        column: start.1,
        end_line: end.map(|(line, _)| line),
        end_column: end.map(|(_, column)| column),
        // Its parser's findings carry no rule.
        rule: finding.code.unwrap_or_else(|| "syntax-error".to_owned()),
        severity,
        message: finding.message,
        source: "oxlint".to_owned(),
        help: finding.help,
        url: finding.url,
        fix: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by oxlint 1.94.0, shortened.
    const PRINTED: &str = r#"{ "diagnostics": [{"message": "`debugger` statement is not allowed",
      "code": "eslint(no-debugger)","severity": "warning",
      "url": "https://oxc.rs/docs/guide/usage/linter/rules/eslint/no-debugger.html",
      "help": "Remove the debugger statement","filename": "code.jsx",
      "labels": [{"span": {"offset": 17,"length": 9,"line": 1,"column": 18}}]},
      {"message": "Unexpected token","severity": "error","filename": "code.jsx","labels": []}],
      "number_of_files": 1, "number_of_rules": 96, "threads_count": 1, "start_time": 0.02 }"#;

    #[test]
    fn a_missing_oxlint_is_told_from_one_that_fails() {
        let node = "Error: Cannot find module '/opt/tools/node/node_modules/oxlint/bin/oxlint'\n";
        assert!(is_missing(node));
        assert!(!is_missing("Error: Cannot find module 'left-pad'"));
    }

    #[test]
    fn findings_keep_position_in_characters_rule_and_help() {
        let found = parse(PRINTED.as_bytes(), "const é = \"ü\"; debugger;\n").unwrap();
        assert_eq!((found[0].line, found[0].column, found[0].end_column), (1, 16, Some(25)));
        assert_eq!(found[0].rule, "eslint(no-debugger)");
        assert_eq!((found[1].rule.as_str(), found[1].severity), ("syntax-error", Severity::Error));
        assert!(parse(b"Error: cannot find module", "").is_err());
    }
}
