//! Runs a program as one step of a sandbox that stays, then closes that; the outcome as if it had been a run.

use std::time::Duration;

use ultimate_mcp_sandbox::client::{Session, Step};
use ultimate_mcp_sandbox::spec::{Isolation, Language, Limits, RunReport};
use ultimate_mcp_sandbox::step::{End, StepReport};
use ultimate_mcp_sandbox::{CellError, Link};

use crate::program::Program;

/// The life of the sandbox, beyond the deadline of any step.
const LIFE: Duration = Duration::from_secs(180);

/// Programs that say nothing about a step, each with the reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("inherited_descriptors.py", "a step has the two pipes of its driver, see `steps`"),
    ("forged_result.py", "it takes writing to the driver's pipe for a breach, see `steps`"),
];

/// Whether the program makes sense as a step: it speaks Python and needs no input.
pub fn fits(program: &Program) -> bool {
    program.language == Language::Python
        && program.number("stdin-bytes").is_none()
        && !program.name.contains("python_input")
        && !ELSEWHERE.iter().any(|(name, _)| *name == program.name)
}

/// Opens, places the program's files, steps once, closes.
pub async fn run(link: &Link, program: &Program, canary: &str) -> Result<RunReport, CellError> {
    let bounds = program.limits();
    let life = Limits { wall: LIFE, ..bounds };
    let spec = Language::Python.sandbox_spec(program.name.clone(), life);
    let spec = spec.expect("python3 is installed").expect("Python has a driver");
    let session = link.open(spec, 100).await?;
    let files = program.files(canary);
    session.write_files(&files, Duration::from_secs(10)).await.expect("the files are taken");
    let code = format!("{}{}", program.prelude, program.source);
    let step = Step { code, wall: bounds.wall, output_bytes: bounds.output_bytes };
    let report = session.step(&step).await.expect("it lives when the step begins");
    Ok(closed(session, report).await)
}

async fn closed(session: Session, step: StepReport) -> RunReport {
    let (_, (late, late_notes)) = session.close(End::Closed).await;
    let mut artifacts = step.artifacts;
    // What changed after the step replaces what the step brought.
    artifacts.retain(|artifact| late.iter().all(|later| later.name != artifact.name));
    artifacts.extend(late);
    artifacts.sort_by(|a, b| a.name.cmp(&b.name));
    let mut artifact_notes = step.artifact_notes;
    artifact_notes.extend(late_notes);
    let signal = match step.ended {
        Some(End::Signalled(signal)) => Some(signal),
        _ => None,
    };
    // An exception has no exit code in a step; as a run it would be 1.
    let return_code = step.return_code.or(step.error.as_ref().map(|_| 1));
    RunReport {
        status: step.status,
        return_code,
        signal,
        stdout: step.stdout,
        stderr: step.stderr,
        stdout_truncated: step.stdout_truncated,
        stderr_truncated: step.stderr_truncated,
        duration: step.duration,
        cpu: step.cpu,
        memory_peak_bytes: step.memory_peak_bytes,
        artifacts,
        artifact_notes,
        message: step.message,
        isolation: Isolation { class: "native".into(), hard_limits: true, degraded: Vec::new() },
    }
}
