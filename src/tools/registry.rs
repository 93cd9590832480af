//! Every tool there is, by name. Built once at start; what cannot be listed or called stops the start.
//!
//! Called by `serve`; read by every call and every list. Refuses two tools of one name, and templates and
//! prompts that would only fail later.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use ultimate_mcp_actors::cache::{CacheHandle, Namespace};
use ultimate_mcp_actors::execution::ExecutionHandle;
use ultimate_mcp_actors::graph::GraphHandle;
use ultimate_mcp_actors::jobs::JobsHandle;
use ultimate_mcp_actors::sandboxes::SandboxesHandle;

use super::artifacts::ArtifactStore;
use super::documents::Library;
use super::execute::ExecuteCode;
use super::generate::worker::{Renderer, Worker};
use super::generate::{GenerateCode, load_templates};
use super::graph::{GraphCache, GraphDelete, GraphQuery, GraphUpsert};
use super::jobs::{DeadLetters, JobCancel, JobResult, JobStatusTool, RunTestsAsync};
use super::lint::{LintCode, LintCode2};
use super::memo::{CacheMemo, Memo};
use super::prompts::{GetPrompt, ListPrompts, Prompts};
use super::run_tests::RunTests;
use super::workflow::{WorkflowRun, WorkflowStatus};
use super::{Cell, Tool, ToolDescriptor, Typed, TypedTool, sandbox};
use crate::config::ToolsOptions;
use crate::workflow::{KnownTool, Steps, Workflows};

/// What the tools of a server are made of.
pub struct ToolParts {
    /// The cell.
    pub execution: ExecutionHandle,
    /// Sandboxes that stay.
    pub sandboxes: SandboxesHandle,
    /// The graph.
    pub graph: GraphHandle,
    /// The cache.
    pub cache: CacheHandle,
    /// The job queue.
    pub jobs: JobsHandle,
    /// Files that runs leave.
    pub artifacts: ArtifactStore,
    /// Prompts.
    pub prompts: Arc<Prompts>,
    /// How workflows call tools.
    pub steps: Arc<dyn Steps>,
    /// `[tools]`.
    pub options: ToolsOptions,
}

/// The same, as what the tools ask of it.
struct Parts {
    cell: Arc<dyn Cell>,
    sandboxes: SandboxesHandle,
    memo: Arc<dyn Memo>,
    renderer: Arc<dyn Renderer>,
    graph: GraphHandle,
    jobs: JobsHandle,
    results: GraphCache,
    artifacts: ArtifactStore,
    steps: Arc<dyn Steps>,
    templates: Library,
    prompts: Arc<Prompts>,
}

/// The tools, sorted by name.
pub struct Registry {
    tools: Vec<Box<dyn Tool>>,
    by_name: HashMap<&'static str, usize>,
    /// Tools that have several versions: plain name and version.
    editions: HashMap<&'static str, BTreeMap<u16, usize>>,
}

impl Registry {
    /// A registry of these tools.
    ///
    /// # Errors
    /// A name or a version that is taken twice.
    pub fn new(mut tools: Vec<Box<dyn Tool>>) -> Result<Self, String> {
        tools.sort_by_key(|tool| tool.descriptor().name);
        let mut by_name = HashMap::with_capacity(tools.len());
        for (index, tool) in tools.iter().enumerate() {
            let name = tool.descriptor().name;
            if by_name.insert(name, index).is_some() {
                return Err(format!("two tools are called {name}"));
            }
        }
        let mut editions: HashMap<_, BTreeMap<u16, usize>> = HashMap::new();
        for (index, tool) in tools.iter().enumerate() {
            let (name, edition) = (tool.descriptor().plain_name(), tool.descriptor().edition);
            if editions.entry(name).or_default().insert(edition.version, index).is_some() {
                return Err(format!("two tools are version {} of {name}", edition.version));
            }
        }
        editions.retain(|_, versions| versions.len() > 1);
        Ok(Self { tools, by_name, editions })
    }

    /// The tools of the product.
    ///
    /// # Errors
    /// A template or workflow that is wrong, with its name.
    pub fn standard(parts: ToolParts) -> Result<Self, String> {
        let ToolParts {
            execution,
            sandboxes,
            graph,
            cache,
            jobs,
            artifacts,
            prompts,
            steps,
            options,
        } = parts;
        let templates = load_templates(options.templates_dir.as_deref());
        Self::of(Parts {
            cell: Arc::new(execution),
            sandboxes,
            memo: Arc::new(CacheMemo::new(cache.clone(), Namespace::Lint)),
            renderer: Arc::new(Worker::default()),
            graph,
            jobs,
            results: GraphCache::new(cache),
            artifacts,
            steps,
            templates: templates.map_err(|error| format!("template {error}"))?,
            prompts,
        })
    }

    fn of(parts: Parts) -> Result<Self, String> {
        let Parts {
            cell,
            sandboxes,
            memo,
            renderer,
            graph,
            jobs,
            results,
            artifacts,
            steps,
            templates,
            prompts,
        } = parts;
        let workflows = Arc::new(Workflows::load().map_err(|error| format!("workflow {error}"))?);
        let mut tools = vec![
            boxed(ExecuteCode::new(cell.clone(), artifacts.clone(), jobs.clone())),
            boxed(RunTests::new(cell.clone(), artifacts.clone())),
            boxed(RunTestsAsync::new(jobs.clone())),
            boxed(JobStatusTool::new(jobs.clone())),
            boxed(JobResult::new(jobs.clone())),
            boxed(JobCancel::new(jobs.clone())),
            boxed(WorkflowRun::new(jobs.clone(), steps, Arc::clone(&workflows))),
            boxed(WorkflowStatus::new(jobs.clone())),
            boxed(DeadLetters::new(jobs)),
            boxed(LintCode::new(cell.clone(), memo.clone())),
            boxed(LintCode2::new(cell, memo)),
            boxed(GenerateCode::new(Arc::new(templates), renderer)),
            boxed(GraphUpsert::new(graph.clone(), results.clone())),
            boxed(GraphQuery::new(graph.clone(), results.clone())),
            boxed(GraphDelete::new(graph, results)),
            boxed(ListPrompts::new(prompts.clone())),
            boxed(GetPrompt::new(prompts)),
            #[cfg(feature = "bench")]
            boxed(super::add::Add),
        ];
        tools.extend(sandbox::tools(sandboxes, artifacts));
        let registry = Self::new(tools)?;
        let known = |tool: &str, _: &serde_json::Map<String, serde_json::Value>| {
            let tool = registry.get(tool).ok_or("there is no such tool")?;
            KnownTool::of(tool.descriptor())
        };
        workflows.check(&known).map_err(|error| format!("workflow {error}"))?;
        Ok(registry)
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Tool> {
        self.by_name.get(name).map(|index| &*self.tools[*index])
    }

    /// The tool that this name means where `pinned` says which version of it counts.
    pub fn meant(&self, name: &str, pinned: impl FnOnce() -> Option<u16>) -> Option<&dyn Tool> {
        let Some(versions) = self.editions.get(name) else { return self.get(name) };
        match pinned() {
            None => self.get(name),
            // A version that is not there means nothing: better no answer than another one.
            Some(version) => versions.get(&version).map(|index| &*self.tools[*index]),
        }
    }

    /// Every further version of a tool: the plain name, the version, the tool.
    pub fn editions(&self) -> impl Iterator<Item = (&'static str, u16, &ToolDescriptor)> {
        self.editions.iter().flat_map(|(name, versions)| {
            versions
                .iter()
                .map(|(version, index)| (*name, *version, self.tools[*index].descriptor()))
        })
    }

    /// Every tool's descriptor, in name order.
    pub fn descriptors(&self) -> impl Iterator<Item = &ToolDescriptor> {
        self.tools.iter().map(|tool| tool.descriptor())
    }
}

/// A tool as the registry holds it.
pub(super) fn boxed<T: TypedTool>(tool: T) -> Box<dyn Tool> {
    Box::new(Typed::new(tool))
}

#[cfg(test)]
mod tests;
