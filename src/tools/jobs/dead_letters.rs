//! `dead_letters`: jobs that an operator should look at; list, show, replay, discard. Administrators only.
//!
//! A replayed job runs for whom it was queued, with the rights that person has then: who replays it lends
//! nobody his own. Arguments stay sealed; what is shown is why it died and how often it was tried.

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::ids::JobId;
use ultimate_mcp_actors::jobs::{JobFilter, JobsHandle};

use super::wrong;
use crate::error::ApiError;
use crate::jobs::{JobBrief, dead_letter, dead_letter_id, settle};
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Dead letters on one page.
const PAGE: usize = 50;

/// What to do.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Newest first, a page at a time.
    #[default]
    List,
    /// One of them.
    Show,
    /// Queue it again.
    Replay,
    /// Drop it and its arguments.
    Discard,
}

/// Arguments of `dead_letters`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with action, job_id, cursor")]
pub struct DeadLettersArgs {
    /// `list` (default), `show`, `replay` or `discard`.
    #[serde(default)]
    #[garde(skip)]
    pub action: Action,
    /// Which one; for all but `list`.
    #[serde(default)]
    #[garde(inner(length(bytes, min = 1, max = 64)))]
    pub job_id: Option<String>,
    /// For `list`: `next_cursor` of the page before.
    #[serde(default)]
    #[garde(inner(length(bytes, min = 1, max = 64)))]
    pub cursor: Option<String>,
}

/// Result of `dead_letters`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DeadLettersResult {
    /// `listed`, `shown`, `queued` or `discarded`.
    pub status: &'static str,
    /// Those listed or shown.
    pub dead_letters: Vec<JobBrief>,
    /// Where the next page begins; null after the last.
    pub next_cursor: Option<String>,
}

/// The tool.
pub struct DeadLetters {
    jobs: JobsHandle,
}

impl DeadLetters {
    /// A tool over this queue.
    pub fn new(jobs: JobsHandle) -> Self {
        Self { jobs }
    }

    async fn list(&self, cursor: Option<&str>) -> Result<DeadLettersResult, ApiError> {
        let before = cursor.map(uuid::Uuid::parse_str).transpose();
        let before = before.map_err(|_| wrong("cursor", "is not a next_cursor"))?.map(JobId::from);
        let filter = JobFilter { dead: true, before, limit: PAGE, ..JobFilter::default() };
        let page = self.jobs.list(filter).await?;
        Ok(DeadLettersResult {
            status: "listed",
            dead_letters: page.jobs.iter().map(JobBrief::from).collect(),
            next_cursor: page.next.map(|id| id.to_string()),
        })
    }

    async fn one(&self, action: Action, id: JobId) -> Result<DeadLettersResult, ApiError> {
        let (status, dead_letters) = match action {
            Action::List | Action::Show => {
                let view = dead_letter(&self.jobs, id).await?;
                ("shown", vec![JobBrief::from(&view.job)])
            }
            Action::Replay => (settle(&self.jobs, id, true).await?, Vec::new()),
            Action::Discard => (settle(&self.jobs, id, false).await?, Vec::new()),
        };
        Ok(DeadLettersResult { status, dead_letters, next_cursor: None })
    }
}

impl TypedTool for DeadLetters {
    type Args = DeadLettersArgs;
    type Output = DeadLettersResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "dead_letters",
            title: "Dead letters",
            description: DESCRIPTION.to_owned(),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: Annotations {
                read_only_hint: false,
                destructive_hint: true,
                idempotent_hint: true,
                open_world_hint: false,
            },
            permission: "system:admin",
            event_type: EventType::DataWrite,
            effects: Effects::Durable,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        args: DeadLettersArgs,
        _: &ToolCall<'_>,
    ) -> Result<Answer<DeadLettersResult>, ApiError> {
        if let Action::List = args.action {
            if args.job_id.is_some() {
                return Err(wrong("job_id", "goes with show, replay and discard"));
            }
            return Ok(Answer::from(self.list(args.cursor.as_deref()).await?));
        }
        if args.cursor.is_some() {
            return Err(wrong("cursor", "goes with list"));
        }
        let Some(text) = args.job_id else {
            return Err(wrong("job_id", "is needed: which dead letter?"));
        };
        let result = self.one(args.action, dead_letter_id(&text)?).await?;
        Ok(Answer::from(result).fact("job_id", text))
    }
}

const DESCRIPTION: &str = "\
Shows and settles dead letters: jobs that could not be carried out (attempts used up, outcome unknown after a \
crash, a permanent failure, waited too long). `list` gives them newest first, `show` one of them; `replay` queues \
one again for the person it was queued for, `discard` drops it. Replaying one whose outcome is unknown may do its \
work twice: look at what it did first.

Example: {\"action\": \"list\"} gives {\"status\": \"listed\", \"dead_letters\": [], \"next_cursor\": null}.";
