//! From what the supervisor saw to the status of a run. Never from what the program printed.

use std::io;
use std::time::Duration;

use super::output::Captured;
use crate::error::CellError;
use crate::inside::Stage;
use crate::spec::{RunReport, Status};
use crate::step::{End, StepError, StepReport, StepValue};
use crate::wire::message::{Exit, KillCause, Outcome, Usage};
use crate::wire::step::Reply;

/// What a PNG file begins with (PNG specification, 5.2).
const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The status, from what the supervisor saw alone.
pub(super) fn judge(report: &mut RunReport, outcome: &Outcome) {
    match outcome.exit {
        Exit::Code(code) => report.return_code = Some(code),
        Exit::Signal(signal) => report.signal = Some(signal),
        Exit::Setup { .. } | Exit::Unknown => {}
    }
    let output_limit = report.stdout_truncated || report.stderr_truncated;
    report.status = match (outcome.exit, outcome.killed) {
        (Exit::Setup { stage, errno }, _) => {
            let error = io::Error::from_raw_os_error(errno);
            let doing = Stage::describe(stage);
            report.message = Some(format!("the sandbox failed while {doing}: {error}"));
            let exec = stage == Stage::Exec as u8;
            let absent = exec && matches!(errno, libc::ENOENT | libc::EACCES | libc::ENOEXEC);
            if absent { Status::Unsupported } else { Status::SandboxError }
        }
        (_, KillCause::Wall | KillCause::Cpu | KillCause::Step) => Status::Timeout,
        (_, KillCause::Memory) => Status::Oom,
        _ if output_limit => Status::OutputLimit,
        (_, KillCause::Asked) => Status::Killed,
        (Exit::Code(0), _) => Status::Ok,
        _ if outcome.oom_kills > 0 => Status::Oom,
        (Exit::Code(_), _) if !outcome.compiled => Status::CompileError,
        (Exit::Code(_), _) => Status::Error,
        (Exit::Signal(libc::SIGXCPU), _) => Status::Timeout,
        (Exit::Signal(_) | Exit::Unknown, _) => Status::Killed,
    };
    if outcome.killed == KillCause::Wall {
        report.message = Some("the wall clock limit was reached".to_owned());
    } else if outcome.killed == KillCause::Cpu {
        report.message = Some("the processor time limit was reached".to_owned());
    } else if outcome.pids_hits > 0 {
        report.message = Some(format!("the process limit refused {} forks", outcome.pids_hits));
    }
}

/// Why a run that ended before its payload began did so.
pub(super) fn never_started(outcome: &Outcome) -> CellError {
    match outcome.exit {
        Exit::Setup { stage, errno } => {
            let error = io::Error::from_raw_os_error(errno);
            let doing = Stage::describe(stage);
            CellError::IsolationUnavailable(format!("the sandbox failed while {doing}: {error}"))
        }
        // Killed from outside, by an operator or for want of memory: that says nothing about the host.
        _ => CellError::SandboxLost,
    }
}

// === sandboxes that stay ===

/// Why a sandbox is no more; `reason` is why we asked for its end, when we did.
pub(super) fn end(outcome: &Outcome, reason: Option<&End>) -> End {
    match (outcome.exit, outcome.killed) {
        (Exit::Setup { stage, errno }, _) => {
            let error = io::Error::from_raw_os_error(errno);
            End::Setup(format!("it failed while {}: {error}", Stage::describe(stage)))
        }
        (_, KillCause::Wall) => End::Lifetime,
        (_, KillCause::Cpu) | (Exit::Signal(libc::SIGXCPU), _) => End::CpuTime,
        (_, KillCause::Memory) => End::Memory,
        (_, KillCause::Step) => End::StepOverran,
        (_, KillCause::Asked) => reason.cloned().unwrap_or(End::Closed),
        (Exit::Code(code), KillCause::None) => End::Exited(code),
        (_, KillCause::None) if outcome.oom_kills > 0 => End::Memory,
        (Exit::Signal(signal), KillCause::None) => End::Signalled(signal),
        (Exit::Unknown, KillCause::None) => End::Signalled(libc::SIGKILL),
    }
}

/// The report of a step that was answered. Output and files come after.
pub(super) fn step(reply: Reply, usage: &Usage, before: &Usage, duration: Duration) -> StepReport {
    let status = match (usage.interrupted, reply.fine) {
        (true, _) => Status::Timeout,
        (false, true) => Status::Ok,
        (false, false) => Status::Error,
    };
    let (killed, refused) = (
        usage.oom_kills.saturating_sub(before.oom_kills),
        usage.pids_hits.saturating_sub(before.pids_hits),
    );
    let message = if usage.interrupted {
        Some("the step was interrupted; variables and files are as it left them".to_owned())
    } else if killed > 0 {
        Some(format!("the kernel killed {killed} of its processes for memory"))
    } else {
        (refused > 0).then(|| format!("the process limit refused {refused} forks"))
    };
    StepReport {
        error: reply
            .error
            .map(|(name, message)| StepError { name: lossy(&name), message: lossy(&message) }),
        return_code: reply.exit_code,
        value: reply.text.map(|(text, text_truncated)| StepValue {
            text: lossy(&text),
            text_truncated,
            html: reply.html.as_deref().map(lossy),
            png: reply.png.filter(|png| png.starts_with(PNG_SIGNATURE)),
        }),
        cpu: Duration::from_nanos(usage.cpu_ns.saturating_sub(before.cpu_ns)),
        memory_peak_bytes: (usage.memory_peak != u64::MAX).then_some(usage.memory_peak),
        message,
        ..blank(status, duration)
    }
}

/// The report of the step during which the sandbox ended.
pub(super) fn last_step(end: End, used: &Usage, before: &Usage, duration: Duration) -> StepReport {
    let return_code = match end {
        End::Exited(code) => Some(code),
        _ => None,
    };
    let message = Some(format!("the sandbox ended with this step: {end}"));
    StepReport {
        return_code,
        message,
        cpu: Duration::from_nanos(used.cpu_ns.saturating_sub(before.cpu_ns)),
        memory_peak_bytes: (used.memory_peak != u64::MAX).then_some(used.memory_peak),
        ended: Some(end.clone()),
        ..blank(end.status(), duration)
    }
}

/// Adds what was captured; too much of it is what the step is remembered for.
pub(super) fn add_output(report: &mut StepReport, [out, err]: [Captured; 2]) {
    if out.truncated || err.truncated {
        let ours = matches!(report.status, Status::Oom | Status::SandboxError);
        if !ours {
            report.status = Status::OutputLimit;
        }
        if report.ended.is_none() {
            report.message =
                Some("the step was interrupted: it wrote more than its limit".to_owned());
        }
    }
    (report.stdout, report.stdout_truncated) = (out.bytes, out.truncated);
    (report.stderr, report.stderr_truncated) = (err.bytes, err.truncated);
}

fn blank(status: Status, duration: Duration) -> StepReport {
    StepReport {
        status,
        error: None,
        return_code: None,
        value: None,
        stdout: Vec::new(),
        stderr: Vec::new(),
        stdout_truncated: false,
        stderr_truncated: false,
        duration,
        cpu: Duration::ZERO,
        memory_peak_bytes: None,
        artifacts: Vec::new(),
        artifact_notes: Vec::new(),
        message: None,
        ended: None,
    }
}

/// What the program said, as text.
pub(super) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(exit: Exit) -> Outcome {
        Outcome {
            exit,
            killed: KillCause::None,
            compiled: true,
            oom_kills: 0,
            pids_hits: 0,
            cpu_ns: 0,
            memory_peak: u64::MAX,
            duration_ns: 0,
        }
    }

    #[test]
    fn a_prepared_sandbox_that_was_killed_says_nothing_about_the_host() {
        let lost = never_started(&ended(Exit::Signal(libc::SIGKILL)));
        assert!(matches!(lost, CellError::SandboxLost), "{lost:?}");
        let host = never_started(&ended(Exit::Setup { stage: 0, errno: libc::EPERM }));
        assert!(matches!(host, CellError::IsolationUnavailable(_)), "{host:?}");
    }
}
