//! `sandbox_create`: opens a sandbox and says what it may use.

use std::time::Duration;

use garde::Validate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_sandbox::spec::{Language, Limits};

use super::{Parts, descriptor};
use crate::error::ApiError;
use crate::tools::limits::{LimitArgs, resolve};
use crate::tools::outcome::IsolationReport;
use crate::tools::typed::problem;
use crate::tools::{Answer, Effects, ToolCall, ToolDescriptor, TypedTool};

/// A language whose interpreter can stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SandboxLanguage {
    /// CPython 3 with its standard library.
    Python,
}

/// Arguments of `sandbox_create`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with a language")]
pub struct SandboxCreateArgs {
    /// Language of the interpreter. Others run with `execute_code`, without state.
    #[garde(skip)]
    pub language: SandboxLanguage,
    /// Bounds of the whole sandbox, for its whole life; your roles may narrow them. `output_kb` bounds
    /// each step.
    #[serde(default)]
    #[garde(dive)]
    pub limits: LimitArgs,
    /// Seconds after which the sandbox ends however busy it is; the operator sets default and maximum.
    #[garde(range(min = 1, max = 86_400))]
    pub ttl_seconds: Option<u64>,
}

/// Result of `sandbox_create`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SandboxCreated {
    /// Names the sandbox in all further calls; only you can use it.
    pub sandbox_id: String,
    /// Language of its interpreter.
    pub language: SandboxLanguage,
    /// Seconds until it ends, however busy it is.
    pub expires_in_seconds: f64,
    /// Seconds without a call after which it ends.
    pub idle_seconds: u64,
    /// What it may use.
    pub limits: SandboxLimits,
    /// How strongly it is confined.
    pub isolation: IsolationReport,
}

/// What a sandbox may use.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SandboxLimits {
    /// Memory of all its processes and files, in MiB.
    pub memory_mb: u64,
    /// Processes and threads at once.
    pub pids: u32,
    /// KiB kept of stdout and of stderr per step, each.
    pub output_kb: u64,
    /// MiB in files.
    pub disk_mb: u64,
    /// Processors a step may use at once.
    pub cpu: f64,
    /// Processor seconds in its whole life.
    pub cpu_seconds: u64,
}

impl From<Limits> for SandboxLimits {
    fn from(limits: Limits) -> Self {
        Self {
            memory_mb: limits.memory_bytes >> 20,
            pids: limits.pids,
            output_kb: limits.output_bytes >> 10,
            disk_mb: limits.disk_bytes >> 20,
            cpu: f64::from(limits.cpu_milli) / 1000.0,
            cpu_seconds: limits.cpu.as_secs(),
        }
    }
}

/// The tool.
pub(super) struct SandboxCreate(pub(super) Parts);

impl TypedTool for SandboxCreate {
    type Args = SandboxCreateArgs;
    type Output = SandboxCreated;

    fn describe(&self) -> ToolDescriptor {
        let title = "Open a sandbox that stays";
        let event = EventType::CodeExecution;
        descriptor("sandbox_create", title, DESCRIPTION, event, Effects::Durable)
    }

    async fn run(
        &self,
        args: SandboxCreateArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<SandboxCreated>, ApiError> {
        let sandboxes = &self.0.sandboxes;
        let options = sandboxes.options();
        let ttl_seconds = args.ttl_seconds.unwrap_or(options.ttl_seconds_default);
        if ttl_seconds > options.ttl_seconds_max {
            let most = options.ttl_seconds_max;
            return Err(problem("ttl_seconds", &format!("is {ttl_seconds}; at most {most} here")));
        }
        let caps = call.permit.caps();
        let limits = Limits {
            wall: Duration::from_secs(ttl_seconds),
            cpu: Duration::from_secs(options.cpu_seconds_max),
            ..resolve(None, caps.timeout_seconds_max, &args.limits, caps)?
        };
        let owner = call.permit.caller().id();
        let SandboxLanguage::Python = args.language;
        let info = sandboxes.create(owner, Language::Python, limits, call.deadline).await?;
        let created = SandboxCreated {
            sandbox_id: info.handle.to_string(),
            language: args.language,
            expires_in_seconds: info.left.as_secs_f64(),
            idle_seconds: options.idle_seconds,
            limits: info.limits.into(),
            isolation: sandboxes.isolation().into(),
        };
        let (id, degraded) = (created.sandbox_id.clone(), !created.isolation.degraded.is_empty());
        Ok(Answer::from(created)
            .fact("sandbox_id", id)
            .fact("language", "python")
            .fact("ttl_seconds", ttl_seconds)
            .fact("memory_bytes", limits.memory_bytes)
            .fact("degraded", degraded))
    }
}

const DESCRIPTION: &str = "\
Opens an isolated Python interpreter of your own that stays between calls: variables, imports, files and \
background threads live on until you close it, nobody uses it for `idle_seconds`, or its `ttl_seconds` \
are over. Same isolation as execute_code: no network, no access to the host, hard limits. Use \
sandbox_execute to run code in it, and sandbox_close when done: few can be open at once.

Example: {\"language\": \"python\", \"ttl_seconds\": 600, \"limits\": {\"memory_mb\": 256}} gives \
{\"sandbox_id\": \"sbx_…\", …}.";
