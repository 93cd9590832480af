//! `lint_code.v2`: the result of `lint_code` and, beside each finding, what its rule found in all.
//!
//! The same work and the same memory of it as the first version; only the answer is richer.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::linters::{Diagnostic, Severity};
use super::{LintArgs, LintCode, LintResult};
use crate::error::ApiError;
use crate::tools::cell::Cell;
use crate::tools::memo::Memo;
use crate::tools::{Answer, Edition, ToolCall, ToolDescriptor, TypedTool};

/// Its name.
pub const NAME: &str = "lint_code.v2";

/// Result of `lint_code.v2`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LintResult2 {
    /// What the first version answers.
    #[serde(flatten)]
    pub first: LintResult,
    /// The rules behind the diagnostics, each once: the most severe first, then by how much they found.
    pub rules: Vec<RuleFound>,
}

/// A rule and what it found.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RuleFound {
    /// The rule's name in its linter.
    pub rule: String,
    /// Whose rule it is.
    pub source: String,
    /// The worst of its findings.
    pub severity: Severity,
    /// How many findings are its.
    pub count: usize,
    /// How many of them have a mechanical repair.
    pub fixable: usize,
    /// Page of the rule, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// The tool.
pub struct LintCode2(LintCode);

impl LintCode2 {
    /// A tool whose linters run in `cell` and whose results `memo` remembers.
    pub fn new(cell: Arc<dyn Cell>, memo: Arc<dyn Memo>) -> Self {
        Self(LintCode::new(cell, memo))
    }
}

impl TypedTool for LintCode2 {
    type Args = LintArgs;
    type Output = LintResult2;

    fn describe(&self) -> ToolDescriptor {
        let first = self.0.describe();
        ToolDescriptor {
            name: NAME,
            title: "Lint code (version 2)",
            description: first.description.replacen(
                ", and diagnostics with line",
                ", the rules that found something, each with severity, count and how many findings can be \
                 repaired mechanically, and diagnostics with line",
                1,
            ),
            edition: Edition { version: 2, of: Some(first.name), deprecated: None },
            ..first
        }
    }

    async fn run(
        &self,
        args: LintArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<LintResult2>, ApiError> {
        let answer = TypedTool::run(&self.0, args, call).await?;
        Ok(answer.map(|first| LintResult2 { rules: rules(&first.diagnostics), first }))
    }
}

fn rules(diagnostics: &[Diagnostic]) -> Vec<RuleFound> {
    let mut found: BTreeMap<(&str, &str), RuleFound> = BTreeMap::new();
    for diagnostic in diagnostics {
        let Diagnostic { rule, source, severity, url, fix, .. } = diagnostic;
        let entry = found.entry((source, rule)).or_insert_with(|| RuleFound {
            rule: rule.clone(),
            source: source.clone(),
            severity: *severity,
            count: 0,
            fixable: 0,
            url: None,
        });
        entry.count += 1;
        entry.fixable += usize::from(fix.is_some());
        if (*severity as u8) < entry.severity as u8 {
            entry.severity = *severity;
        }
        if entry.url.is_none() {
            entry.url.clone_from(url);
        }
    }
    let mut rules: Vec<_> = found.into_values().collect();
    rules.sort_by_key(|rule| (rule.severity as u8, std::cmp::Reverse(rule.count)));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(rule: &str, severity: Severity, url: Option<&str>) -> Diagnostic {
        Diagnostic {
            line: 1,
            column: 1,
            end_line: None,
            end_column: None,
            rule: rule.to_owned(),
            severity,
            message: String::new(),
            source: "ruff".to_owned(),
            help: None,
            url: url.map(str::to_owned),
            fix: None,
        }
    }

    #[test]
    fn every_rule_stands_once_with_its_worst_finding_and_the_worst_rule_first() {
        let found = [
            finding("F401", Severity::Warning, None),
            finding("E1", Severity::Warning, None),
            finding("F401", Severity::Warning, Some("https://example.org/F401")),
            finding("E9", Severity::Warning, None),
            finding("E9", Severity::Error, None),
        ];
        let rules = rules(&found);
        let seen: Vec<_> = rules.iter().map(|r| (r.rule.as_str(), r.severity, r.count)).collect();
        let (error, warning) = (Severity::Error, Severity::Warning);
        assert_eq!(seen, [("E9", error, 2), ("F401", warning, 2), ("E1", warning, 1)]);
        assert_eq!(rules[1].url.as_deref(), Some("https://example.org/F401"));
    }
}
