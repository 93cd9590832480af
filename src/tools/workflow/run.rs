//! `workflow_run`: checks a workflow, leaves it to the queue, waits for it; and, as that job, carries it out.
//!
//! Called through the registry. Refuses a definition with all its mistakes at once, and to be a step itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::JobId;
use ultimate_mcp_actors::jobs::{Grip, JobRequest, JobsHandle, Lane, State, now_ms};

use super::{progress, standing, told};
use crate::error::{ApiError, Code, Problem};
use crate::origin::Transport;
use crate::tools::typed::problem;
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};
use crate::workflow::{
    Definition, Journal, Progress, RUN, Run, Steps, WorkflowReport, Workflows, check, inputs,
};

/// A caller who waits hears that the workflow goes on this long before its deadline.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);
/// How often a waiting call looks again when nothing on this node moved: another node may have.
const LOOK: Duration = Duration::from_millis(500);

/// Calls that wait for their workflows at the same time, on this node; further ones are answered at once.
const WAITING_MAX: usize = 64;

/// Arguments of `workflow_run`: exactly one of `name` and `definition`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with name or definition")]
pub struct WorkflowRunArgs {
    /// A named workflow of this server. Give this or `definition`.
    #[garde(length(bytes, min = 1, max = 64))]
    pub name: Option<String>,
    /// The workflow itself, at most 256 KiB. Give this or `name`.
    #[garde(skip)]
    pub definition: Option<Definition>,
    /// Its inputs, by name, at most 256 KiB.
    #[serde(default)]
    #[garde(skip)]
    pub inputs: Map<String, Value>,
    /// True: do not wait. The answer is a `workflow_id`; workflow_status takes it.
    #[serde(default, rename = "async")]
    #[garde(skip)]
    pub later: bool,
}

/// The tool.
pub struct WorkflowRun {
    jobs: JobsHandle,
    steps: Arc<dyn Steps>,
    library: Arc<Workflows>,
    waiting: Semaphore,
}

/// The journal of a job in hand.
struct Held<'a> {
    jobs: &'a JobsHandle,
    grip: Grip,
}

impl Journal for Held<'_> {
    fn note<'a>(&'a self, entry: u32, text: &'a str) -> BoxFuture<'a, Result<(), ApiError>> {
        Box::pin(async move {
            match self.jobs.note(self.grip, entry, text).await? {
                true => Ok(()),
                false => {
                    let lost = "the workflow was taken over by another worker";
                    Err(ApiError::new(Code::Unavailable, lost))
                }
            }
        })
    }
}

impl WorkflowRun {
    /// A tool that leaves workflows to `jobs`, makes their calls through `steps`, and knows `library`.
    pub fn new(jobs: JobsHandle, steps: Arc<dyn Steps>, library: Arc<Workflows>) -> Self {
        Self { jobs, steps, library, waiting: Semaphore::new(WAITING_MAX) }
    }

    /// The definition and its inputs, both checked.
    fn checked(&self, args: WorkflowRunArgs) -> Result<(Definition, Map<String, Value>), ApiError> {
        let definition = match (args.name, args.definition) {
            (Some(name), None) => match self.library.get(&name) {
                Some(definition) => definition.clone(),
                None => {
                    let names = self.library.names();
                    return Err(problem("name", &format!("no such workflow; there are: {names}")));
                }
            },
            (None, Some(definition)) => definition,
            (Some(_), Some(_)) => {
                return Err(problem("arguments", "must have name or definition, not both"));
            }
            (None, None) => return Err(problem("arguments", "must have name or definition")),
        };
        let known = |tool: &str, arguments: &Map<String, Value>| self.steps.known(tool, arguments);
        let mut problems: Vec<Problem> = check(&definition, &known);
        match inputs(&definition, args.inputs) {
            Ok(inputs) if problems.is_empty() => Ok((definition, inputs)),
            Ok(_) => Err(ApiError::invalid_arguments(problems)),
            Err(more) => {
                problems.extend(more);
                Err(ApiError::invalid_arguments(problems))
            }
        }
    }

    /// Leaves the workflow to the queue. It may be run again from its journal, whatever its steps may.
    async fn enqueue(
        &self,
        definition: &Definition,
        inputs: &Map<String, Value>,
        call: &ToolCall<'_>,
    ) -> Result<JobId, ApiError> {
        let arguments: Box<RawValue> = to_raw_value(
            &json!({ "definition": definition, "inputs": inputs }),
        )
        .map_err(|error| {
            ApiError::new(Code::Internal, "the workflow cannot be stored").caused_by(error)
        })?;
        let request = JobRequest {
            id: JobId::new(),
            identity: call.permit.caller().identity(),
            tool: RUN.to_owned(),
            arguments: &arguments,
            lane: Lane::Interactive,
            run_at: None,
            idempotent: true,
            max_attempts: Some(u32::MAX),
            ttl_seconds: None,
            trace: call.origin.traceparent(),
            request_id: Some(call.origin.request_id.as_str().to_owned()),
            dedupe: None,
        };
        Ok(self.jobs.enqueue(request).await?.id())
    }

    /// Waits for the end, or nearly as long as the caller does.
    async fn waited(&self, id: JobId, call: &ToolCall<'_>) -> Result<WorkflowReport, ApiError> {
        let gone = || ApiError::new(Code::NotFound, "the workflow is gone; it may have expired");
        loop {
            let job = standing(&self.jobs, id, call).await?.ok_or_else(gone)?;
            let left = call.deadline.remaining().saturating_sub(ANSWER_MARGIN);
            let goes_on_elsewhere = self.jobs.is_closing() && job.state == State::Queued;
            if job.state.is_final() || left.is_zero() || goes_on_elsewhere {
                let progress = progress(&self.jobs, id).await?;
                return Ok(WorkflowReport::of(id, Some(&job), &progress, true));
            }
            self.jobs.moved(LOOK.min(left)).await;
        }
    }

    /// Carries the workflow out, from where an earlier run left it.
    async fn carry_out(
        &self,
        args: WorkflowRunArgs,
        grip: Grip,
        call: &ToolCall<'_>,
    ) -> Result<WorkflowReport, ApiError> {
        let known: Progress = progress(&self.jobs, grip.id).await?;
        let journal = Held { jobs: &self.jobs, grip };
        let run = Run {
            steps: &*self.steps,
            journal: &journal,
            id: grip.id,
            identity: call.permit.caller().identity(),
            origin: call.origin,
            parent: call.permit.call_id(),
            deadline: call.deadline,
            now: &now_ms,
        };
        let progress = match known.definition {
            Some(_) => known,
            None => {
                let (definition, inputs) = self.checked(args)?;
                run.open(definition, inputs).await?
            }
        };
        let progress = run.go_on(progress).await?;
        Ok(WorkflowReport::of(grip.id, None, &progress, true))
    }
}

impl TypedTool for WorkflowRun {
    type Args = WorkflowRunArgs;
    type Output = WorkflowReport;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: RUN,
            title: "Run a workflow",
            description: format!("{DESCRIPTION}{}", self.library.lines()),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: Annotations {
                read_only_hint: false,
                // Its steps may do whatever the caller may.
                destructive_hint: true,
                idempotent_hint: false,
                open_world_hint: false,
            },
            permission: "tools:read",
            event_type: EventType::DataWrite,
            effects: Effects::Durable,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        args: WorkflowRunArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<WorkflowReport>, ApiError> {
        if let (Transport::Job, Some(grip)) = (call.origin.transport, call.origin.job) {
            return Ok(told(self.carry_out(args, grip, call).await?));
        }
        if call.origin.transport == Transport::Workflow {
            return Err(problem("tool", "a workflow cannot start another one"));
        }
        let later = args.later;
        let (definition, inputs) = self.checked(args)?;
        let id = self.enqueue(&definition, &inputs, call).await?;
        match self.waiting.try_acquire() {
            Ok(_place) if !later => Ok(told(self.waited(id, call).await?)),
            _ => Ok(told(WorkflowReport::queued(id, &definition))),
        }
    }
}

const DESCRIPTION: &str = "\
Runs several tools as one workflow: steps with `needs` (order; the rest runs in parallel), `if` and `expect` \
(conditions), `retry`, `timeout_seconds`, `compensate` (undoes a completed step when the workflow fails) and \
`on_failure`. Each step is a call of yours like any other. Arguments take values by reference: {\"$from\": \
\"/inputs/NAME\"}, {\"$from\": \"/steps/ID/result/FIELD\", \"default\": …}; {\"$json\": V} is V as text, {\"$literal\": \
V} is V as it stands. Conditions: {\"eq\": [a, b]}, {\"not\": c}, {\"all\": [c]}, {\"any\": [c]}, {\"exists\": \
\"/steps/ID/result/FIELD\"}. It waits for the end as long as a request may, then answers with status `running`; \
workflow_status tells the rest. A workflow survives a crash of the server; a step whose outcome is unknown is \
repeated only if it is idempotent.

Example: {\"definition\": {\"inputs\": {\"n\": {}}, \"steps\": [{\"id\": \"square\", \"tool\": \"execute_code\", \"arguments\": \
{\"code\": \"print(int(input()) ** 2)\", \"stdin\": {\"$json\": {\"$from\": \"/inputs/n\"}}}}], \"output\": {\"$from\": \
\"/steps/square/result/stdout\"}}, \"inputs\": {\"n\": 12}} gives {\"status\": \"completed\", \"output\": \"144\\n\", …}.

Named workflows (? = optional input):
";
