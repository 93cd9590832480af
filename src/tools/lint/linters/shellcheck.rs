//! shellcheck: `--format=json1` (shellcheck(1): tabs count as one column there).

use serde::Deserialize;
use ultimate_mcp_sandbox::spec::Profile;

use super::{Diagnostic, Edit, Fix, LinterRun, Severity};

const PROGRAM: &str = "/usr/bin/shellcheck";

/// Reads the source from standard input; no configuration file, nothing sourced.
pub fn run(code: &str) -> LinterRun {
    let arguments = ["--norc", "--shell=bash", "--format=json1", "-"];
    LinterRun {
        argv: std::iter::once(PROGRAM).chain(arguments).map(str::to_owned).collect(),
        profile: Profile::Native,
        files: Vec::new(),
        stdin: code.as_bytes().to_vec(),
    }
}

#[derive(Deserialize)]
struct Printed {
    comments: Vec<Comment>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Comment {
    line: u32,
    end_line: u32,
    column: u32,
    end_column: u32,
    level: String,
    code: u32,
    message: String,
    fix: Option<Repair>,
}

#[derive(Deserialize)]
struct Repair {
    replacements: Vec<Replacement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Replacement {
    line: u32,
    end_line: u32,
    column: u32,
    end_column: u32,
    replacement: String,
}

/// Reads shellcheck's JSON object.
pub fn parse(stdout: &[u8]) -> Result<Vec<Diagnostic>, serde_json::Error> {
    let printed: Printed = serde_json::from_slice(stdout)?;
    Ok(printed.comments.into_iter().map(diagnostic).collect())
}

fn diagnostic(comment: Comment) -> Diagnostic {
    let severity = match comment.level.as_str() {
        "error" => Severity::Error,
        "warning" => Severity::Warning,
        "info" => Severity::Info,
        _ => Severity::Style,
    };
    let edit = |edit: Replacement| Edit {
        line: edit.line,
        column: edit.column,
        end_line: edit.end_line,
        end_column: edit.end_column,
        content: edit.replacement,
    };
    // shellcheck offers only repairs that keep the meaning of working scripts.
    let fix = comment.fix.map(|fix| Fix {
        applicability: "safe".to_owned(),
        edits: fix.replacements.into_iter().map(edit).collect(),
    });
    Diagnostic {
        line: comment.line,
        column: comment.column,
        end_line: Some(comment.end_line),
        end_column: Some(comment.end_column),
        rule: format!("SC{}", comment.code),
        severity,
        message: comment.message,
        source: "shellcheck".to_owned(),
        help: None,
        url: Some(format!("https://www.shellcheck.net/wiki/SC{}", comment.code)),
        fix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by shellcheck 0.9.0 for `rm -rf $foo/*`, shortened.
    const PRINTED: &str = r#"{"comments":[{"file":"-","line":3,"endLine":3,"column":8,
      "endColumn":12,"level":"info","code":2086,"message":"Double quote to prevent globbing and word splitting.",
      "fix":{"replacements":[{"column":8,"endColumn":8,"endLine":3,"insertionPoint":"afterEnd","line":3,
      "precedence":7,"replacement":"\""},{"column":12,"endColumn":12,"endLine":3,
      "insertionPoint":"beforeStart","line":3,"precedence":7,"replacement":"\""}]}}]}"#;

    #[test]
    fn findings_keep_position_rule_severity_and_fix() {
        let found = parse(PRINTED.as_bytes()).unwrap();
        assert_eq!((found[0].rule.as_str(), found[0].severity), ("SC2086", Severity::Info));
        assert_eq!((found[0].line, found[0].column, found[0].end_column), (3, 8, Some(12)));
        assert_eq!(found[0].fix.as_ref().unwrap().edits[1].content, "\"");
        assert!(parse(b"shellcheck: not found").is_err());
    }
}
