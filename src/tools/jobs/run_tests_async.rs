//! `run_tests_async`: `run_tests` as a job.

use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::jobs::JobsHandle;

use super::{JobTicket, Queued, enqueue};
use crate::error::ApiError;
use crate::tools::run_tests::RunTestsArgs;
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};

/// The tool.
pub struct RunTestsAsync {
    jobs: JobsHandle,
}

impl RunTestsAsync {
    /// A tool over this queue.
    pub fn new(jobs: JobsHandle) -> Self {
        Self { jobs }
    }
}

impl TypedTool for RunTestsAsync {
    type Args = RunTestsArgs;
    type Output = JobTicket;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "run_tests_async",
            title: "Run tests later",
            description: DESCRIPTION.to_owned(),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: Annotations {
                read_only_hint: false,
                destructive_hint: false,
                idempotent_hint: false,
                open_world_hint: false,
            },
            permission: "tools:test",
            event_type: EventType::CodeTest,
            effects: Effects::Durable,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        _: RunTestsArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<JobTicket>, ApiError> {
        enqueue(&self.jobs, Queued { tool: "run_tests", idempotent: false }, call).await
    }
}

const DESCRIPTION: &str = "\
Does what run_tests does, with the same arguments, as a job: answers at once with a `job_id`. Ask job_status \
or job_result with it; job_cancel ends it. The tests run once at most.

Example: {\"code\": \"def test_one():\\n    assert True\\n\"} gives {\"job_id\": \"0192…\", \"status\": \"queued\"}.";
