//! What tools need of the cell: one function, so that a tool can be tested without a launcher.
//!
//! The engine's execution handle is the only implementation outside tests.

use futures_util::future::BoxFuture;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::execution::ExecutionHandle;
use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_sandbox::client::OutputSink;
use ultimate_mcp_sandbox::spec::{RunReport, RunSpec};

use crate::error::ApiError;

/// Runs untrusted code, confined.
pub trait Cell: Send + Sync + 'static {
    /// Runs `spec` for `owner`. `Err` means that there is no report: the launcher is down, the host
    /// cannot isolate, the deadline passed. A program that failed is a report. `output` sees what the
    /// program writes as it writes it; it must be quick and not wait.
    fn run<'a>(
        &'a self,
        spec: RunSpec,
        owner: &'a CallerId,
        deadline: Deadline,
        output: Option<OutputSink>,
    ) -> BoxFuture<'a, Result<RunReport, ApiError>>;

    /// Whether a run would be let in or queued, as it looks now.
    ///
    /// # Errors
    /// What [`Cell::run`] would say at once.
    fn room(&self, owner: &CallerId, deadline: Deadline) -> Result<(), ApiError>;
}

impl Cell for ExecutionHandle {
    fn run<'a>(
        &'a self,
        spec: RunSpec,
        owner: &'a CallerId,
        deadline: Deadline,
        output: Option<OutputSink>,
    ) -> BoxFuture<'a, Result<RunReport, ApiError>> {
        Box::pin(async move { Ok(self.run_watched(spec, owner, deadline, output).await?) })
    }

    fn room(&self, owner: &CallerId, deadline: Deadline) -> Result<(), ApiError> {
        Ok(ExecutionHandle::room(self, owner, deadline)?)
    }
}

#[cfg(test)]
pub(super) mod fake {
    //! A cell that answers from a function and remembers what it was asked.

    use std::sync::Mutex;
    use std::time::Duration;

    use ultimate_mcp_sandbox::client::Stream;
    use ultimate_mcp_sandbox::spec::{Isolation, Status};

    use super::*;

    type Answer = dyn Fn(&RunSpec) -> Result<RunReport, ApiError> + Send + Sync;

    /// The fake cell.
    pub struct FakeCell {
        answer: Box<Answer>,
        asked: Mutex<Vec<RunSpec>>,
    }

    impl FakeCell {
        /// A cell that answers every run with what `answer` says.
        pub fn new(
            answer: impl Fn(&RunSpec) -> Result<RunReport, ApiError> + Send + Sync + 'static,
        ) -> Self {
            Self { answer: Box::new(answer), asked: Mutex::default() }
        }

        /// Every run so far, oldest first.
        pub fn asked(&self) -> Vec<RunSpec> {
            self.asked.lock().unwrap().clone()
        }
    }

    impl Cell for FakeCell {
        fn run<'a>(
            &'a self,
            spec: RunSpec,
            _owner: &'a CallerId,
            _deadline: Deadline,
            output: Option<OutputSink>,
        ) -> BoxFuture<'a, Result<RunReport, ApiError>> {
            let answer = (self.answer)(&spec);
            if let (Some(output), Ok(report)) = (output, &answer) {
                // In pieces of three bytes, which cut characters as pipes do.
                report.stdout.chunks(3).for_each(|chunk| output(Stream::Stdout, chunk));
                report.stderr.chunks(3).for_each(|chunk| output(Stream::Stderr, chunk));
            }
            self.asked.lock().unwrap().push(spec);
            Box::pin(async move { answer })
        }

        fn room(&self, _owner: &CallerId, _deadline: Deadline) -> Result<(), ApiError> {
            Ok(())
        }
    }

    /// The report of a program that exited with `return_code` after writing `stdout`.
    pub fn report(return_code: i32, stdout: &str) -> RunReport {
        RunReport {
            status: if return_code == 0 { Status::Ok } else { Status::Error },
            return_code: Some(return_code),
            signal: None,
            stdout: stdout.into(),
            stderr: Vec::new(),
            stdout_truncated: false,
            stderr_truncated: false,
            duration: Duration::from_millis(12),
            cpu: Duration::from_millis(7),
            memory_peak_bytes: Some(9 << 20),
            artifacts: Vec::new(),
            artifact_notes: Vec::new(),
            message: None,
            isolation: Isolation {
                class: "native".into(),
                hard_limits: true,
                degraded: Vec::new(),
            },
        }
    }
}
