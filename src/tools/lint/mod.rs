//! `lint_code`: what a source consists of and what is wrong with it.
//!
//! The outline comes from tree-sitter in this process (bounded in time and nodes), diagnostics from a
//! linter in the cell. Called through the registry; refuses oversized sources and unknown languages.
//! A linter that is missing or fails is a fact in the result, never an error.

mod imports;
mod language;
mod lines;
mod linters;
mod names;
mod outline;
mod report;
mod second;

use std::sync::Arc;

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::OnceCell;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::ExecutionId;
use ultimate_mcp_sandbox::spec::{RunReport, RunSpec, Status};

use super::cell::Cell;
use super::hash::sha256_hex;
use super::memo::{Memo, Unkept, remembered};
use super::{
    Annotations, Answer, Deprecation, Edition, Effects, ToolCall, ToolDescriptor, TypedTool,
};
use crate::error::{ApiError, Code};
pub use language::LintLanguage;
use linters::{LIMITS, Linter, LinterRun};
pub use outline::is_es_module;
use outline::{Outline, outline};
pub use report::{LintResult, LinterInfo};
use report::{Verdict, compose};
pub use second::LintCode2;

/// Most bytes of source in one call.
pub const SOURCE_BYTES_MAX: usize = 512 * 1024;

/// Arguments of `lint_code`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with code")]
pub struct LintArgs {
    /// The source, at most 512 KiB. It is read, never run.
    #[garde(length(bytes, min = 1, max = SOURCE_BYTES_MAX))]
    pub code: String,
    /// Language of the source.
    #[serde(default)]
    #[garde(skip)]
    pub language: LintLanguage,
}

/// The tool.
pub struct LintCode {
    cell: Arc<dyn Cell>,
    memo: Arc<dyn Memo>,
    versions: [OnceCell<String>; 3],
}

impl LintCode {
    /// A tool whose linters run in `cell` and whose results `memo` remembers.
    pub fn new(cell: Arc<dyn Cell>, memo: Arc<dyn Memo>) -> Self {
        Self { cell, memo, versions: [const { OnceCell::const_new() }; 3] }
    }

    /// The result as JSON; unkept when it may be another next time.
    async fn lint(
        &self,
        language: LintLanguage,
        source: Arc<str>,
        call: &ToolCall<'_>,
    ) -> Result<Arc<str>, Unkept> {
        let (result, lasting) =
            self.inspect(language, source, call).await.map_err(Unkept::Failed)?;
        let json = serde_json::to_string(&result).map_err(|error| {
            let public = "the result could not be encoded";
            Unkept::Failed(ApiError::new(Code::Internal, public).caused_by(error))
        })?;
        if lasting { Ok(json.into()) } else { Err(Unkept::Passing(json.into())) }
    }

    /// The result, and whether it will be the same next time.
    async fn inspect(
        &self,
        language: LintLanguage,
        source: Arc<str>,
        call: &ToolCall<'_>,
    ) -> Result<(LintResult, bool), ApiError> {
        let outline = self.outline(language, source.clone()).await?;
        let verdict = match Linter::of(language) {
            Some(linter) => {
                let run = linter.run(language, outline.is_variant, &source);
                let mut verdict = match self.run(run, call).await {
                    Ok(report) => Verdict::read(linter, report, &source),
                    // Where nothing can be isolated nothing is run; the outline needs no cell.
                    Err(error) if error.code == Code::IsolationUnavailable => {
                        Verdict::unavailable(linter, &error.public)
                    }
                    Err(error) => return Err(error),
                };
                if verdict.available {
                    verdict.version = self.version(linter, call).await;
                }
                Some(verdict)
            }
            None => None,
        };
        let lasting = verdict.as_ref().is_none_or(|v| v.failure.is_none()) && outline.cut.is_none();
        Ok((compose(language, &source, outline, verdict), lasting))
    }

    async fn outline(&self, language: LintLanguage, code: Arc<str>) -> Result<Outline, ApiError> {
        tokio::task::spawn_blocking(move || outline(language, &code)).await.map_err(|error| {
            ApiError::new(Code::Crashed, "reading the source crashed").caused_by(error)
        })
    }

    async fn run(&self, run: LinterRun, call: &ToolCall<'_>) -> Result<RunReport, ApiError> {
        let spec = RunSpec {
            execution_id: ExecutionId::new().to_string(),
            argv: run.argv,
            // One thread is enough for one source; the others would only cost processes.
            env: vec![("RAYON_NUM_THREADS".into(), "1".into())],
            profile: run.profile,
            files: run.files,
            stdin: run.stdin,
            compile_signal: false,
            limits: LIMITS,
        };
        self.cell.run(spec, call.permit.caller().id(), call.deadline, None).await
    }

    /// The linter's version, asked for once; a failure is not remembered.
    async fn version(&self, linter: Linter, call: &ToolCall<'_>) -> Option<String> {
        let ask = || async {
            let report = self.run(linter.version_run(), call).await.map_err(|_| ())?;
            if report.status != Status::Ok {
                return Err(());
            }
            Linter::version_of(&String::from_utf8_lossy(&report.stdout)).ok_or(())
        };
        self.versions[linter as usize].get_or_try_init(ask).await.ok().cloned()
    }
}

impl TypedTool for LintCode {
    type Args = LintArgs;
    type Output = LintResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "lint_code",
            title: "Lint code",
            description: DESCRIPTION.to_owned(),
            input_schema: serde_json::Value::Null,
            output_schema: serde_json::Value::Null,
            annotations: Annotations::READS,
            permission: "tools:lint",
            event_type: EventType::CodeLint,
            effects: Effects::None,
            edition: Edition {
                version: 1,
                of: None,
                deprecated: Some(Deprecation {
                    since: "2026-11-23",
                    removal: "2027-11-23",
                    successor: second::NAME,
                }),
            },
        }
    }

    async fn run(
        &self,
        args: LintArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<LintResult>, ApiError> {
        let LintArgs { code, language } = args;
        let (source, code_bytes): (Arc<str>, _) = (code.as_str().into(), code.len());
        // Nodes of one installation have the same linters; another version of ours may read them otherwise.
        const VERSION: &str = env!("CARGO_PKG_VERSION");
        let key = format!("{VERSION}:{}:{}", language.slug(), sha256_hex(code.as_bytes()));
        let compute = Box::pin(self.lint(language, source, call));
        let json = remembered(self.memo.as_ref(), &key, compute).await?;
        let output: LintResult = serde_json::from_str(&json).map_err(|error| {
            ApiError::new(Code::Internal, "the remembered result is damaged").caused_by(error)
        })?;
        let linter = output.linter.as_ref().map(|linter| linter.name.clone());
        let (hash, found) = (output.code_hash.clone(), output.diagnostics.len());
        Ok(Answer::from(output)
            .fact("code_hash", hash)
            .fact("code_bytes", code_bytes)
            .fact("language", language.slug())
            .fact("diagnostics", found)
            .fact("linter", linter))
    }
}

/// What is wrong with a source as far as its grammar can tell: `line:column message`.
#[cfg(test)]
pub(in crate::tools) fn syntax_errors(language: LintLanguage, source: &str) -> Vec<String> {
    let errors = outline(language, source).errors;
    errors.iter().map(|e| format!("{}:{} {}", e.start.0, e.start.1, e.message)).collect()
}

const DESCRIPTION: &str = "\
Reads a source without running it and returns its outline and what is wrong with it: functions (with \
class, lines, async, cyclomatic complexity), classes, imports (module and names), total complexity, and \
diagnostics with line, column, rule, severity, message and, where the linter knows one, a fix.

Languages: python (ruff), javascript and typescript including JSX/TSX (oxlint), bash (shellcheck); rust, \
go and c get the outline and syntax errors. Lines and columns count from 1, columns in characters. If the \
linter is not installed here, `linter.available` is false and only syntax errors are reported.

Example: {\"language\": \"python\", \"code\": \"import os\\nasync def f(a):\\n    return a and 1\\n\"} gives \
functions [{\"name\": \"f\", \"is_async\": true, \"complexity\": 2, …}], imports [{\"module\": \"os\", …}], \
diagnostics [{\"line\": 1, \"column\": 8, \"rule\": \"F401\", \"message\": \"`os` imported but unused\", …}].";

#[cfg(test)]
mod tests;
