//! ruff: `check --output-format=json` (docs.astral.sh/ruff, "Configuring Ruff": output-format).

use serde::Deserialize;
use ultimate_mcp_sandbox::spec::Profile;

use super::{Diagnostic, Edit, Fix, LinterRun, Severity};

const PROGRAM: &str = "/opt/tools/python/bin/ruff";

/// Reads the source from standard input; no configuration, no cache.
pub fn run(code: &str) -> LinterRun {
    let arguments = [
        "check",
        "--isolated",
        "--no-cache",
        "--output-format=json",
        "--stdin-filename=code.py",
        "-",
    ];
    LinterRun {
        argv: std::iter::once(PROGRAM).chain(arguments).map(str::to_owned).collect(),
        profile: Profile::Native,
        files: Vec::new(),
        stdin: code.as_bytes().to_vec(),
    }
}

#[derive(Deserialize)]
struct Finding {
    code: Option<String>,
    message: String,
    severity: Option<String>,
    url: Option<String>,
    location: Location,
    end_location: Location,
    fix: Option<Repair>,
}

#[derive(Clone, Copy, Deserialize)]
struct Location {
    row: u32,
    column: u32,
}

#[derive(Deserialize)]
struct Repair {
    applicability: String,
    message: Option<String>,
    edits: Vec<RepairEdit>,
}

#[derive(Deserialize)]
struct RepairEdit {
    content: Option<String>,
    location: Location,
    end_location: Location,
}

/// Reads ruff's JSON array.
pub fn parse(stdout: &[u8]) -> Result<Vec<Diagnostic>, serde_json::Error> {
    let findings: Vec<Finding> = serde_json::from_slice(stdout)?;
    Ok(findings.into_iter().map(diagnostic).collect())
}

fn diagnostic(finding: Finding) -> Diagnostic {
    // Older versions say null where newer ones say "invalid-syntax".
    let rule = match finding.code {
        Some(code) if code != "invalid-syntax" => code,
        _ => "syntax-error".to_owned(),
    };
    let severity = match (rule.as_str(), finding.severity.as_deref()) {
        ("syntax-error", _) => Severity::Error,
        // ruff calls every enabled rule an error; only pyflakes' undefined names (F82x) and runtime
        // errors (E9xx) surely are.
        (code, _) if code.starts_with("F82") || code.starts_with("E9") => Severity::Error,
        (_, Some("info")) => Severity::Info,
        _ => Severity::Warning,
    };
    let help = finding.fix.as_ref().and_then(|fix| fix.message.clone());
    Diagnostic {
        line: finding.location.row,
        column: finding.location.column,
        end_line: Some(finding.end_location.row),
        end_column: Some(finding.end_location.column),
        rule,
        severity,
        message: finding.message,
        source: "ruff".to_owned(),
        help,
        url: finding.url,
        fix: finding.fix.map(repair),
    }
}

fn repair(fix: Repair) -> Fix {
    let edit = |edit: RepairEdit| Edit {
        line: edit.location.row,
        column: edit.location.column,
        end_line: edit.end_location.row,
        end_column: edit.end_location.column,
        content: edit.content.unwrap_or_default(),
    };
    Fix { applicability: fix.applicability, edits: fix.edits.into_iter().map(edit).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by ruff 0.17.6 for `import os` and for `def f(:`, shortened.
    const PRINTED: &str = r#"[
      {"cell":null,"code":"F401","end_location":{"column":10,"row":1},"filename":"/box/code.py",
       "fix":{"applicability":"safe","edits":[{"content":"","end_location":{"column":1,"row":2},
       "location":{"column":1,"row":1}}],"message":"Remove unused import: `os`"},
       "location":{"column":8,"row":1},"message":"`os` imported but unused","name":"unused-import",
       "noqa_row":1,"severity":"error","url":"https://docs.astral.sh/ruff/rules/unused-import"},
      {"cell":null,"code":"invalid-syntax","end_location":{"column":8,"row":1},
       "filename":"/box/code.py","fix":null,"location":{"column":7,"row":1},
       "message":"Expected a parameter","name":"invalid-syntax","noqa_row":null,
       "severity":"error","url":null}]"#;

    #[test]
    fn findings_keep_position_rule_severity_and_fix() {
        let found = parse(PRINTED.as_bytes()).unwrap();
        assert_eq!(found[0].rule, "F401");
        assert_eq!(found[0].severity, Severity::Warning);
        assert_eq!((found[0].line, found[0].column, found[0].end_column), (1, 8, Some(10)));
        let fix = found[0].fix.as_ref().unwrap();
        assert_eq!((fix.applicability.as_str(), fix.edits[0].end_line), ("safe", 2));
        assert_eq!(found[0].help.as_deref(), Some("Remove unused import: `os`"));
        assert_eq!((found[1].rule.as_str(), found[1].severity), ("syntax-error", Severity::Error));
    }

    #[test]
    fn what_is_not_ruffs_json_is_said_and_not_guessed() {
        assert!(parse(b"").is_err());
        assert!(parse(b"[{\"code\":1}]").is_err());
    }
}
