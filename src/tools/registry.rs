//! Every tool there is, by name. Built once at start; what cannot be listed or called stops the start.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ultimate_mcp_actors::cache::{CacheHandle, Namespace};
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::execution::ExecutionHandle;
use ultimate_mcp_actors::graph::GraphHandle;
use ultimate_mcp_actors::ids::CallerId;
use ultimate_mcp_sandbox::spec::{RunReport, RunSpec};

use super::artifacts::ArtifactStore;
use super::{Cell, Memo, Tool, ToolDescriptor, Typed, Unkept};
use crate::config::ToolsOptions;
use crate::error::ApiError;

/// What the tools are made of.
pub struct ToolParts {
    /// The cell.
    pub execution: ExecutionHandle,
    /// The graph.
    pub graph: GraphHandle,
    /// The cache.
    pub cache: CacheHandle,
    /// Files that runs leave.
    pub artifacts: ArtifactStore,
    /// `[tools]`.
    pub options: ToolsOptions,
}

/// The tools, sorted by name.
pub struct Registry {
    tools: Vec<Box<dyn Tool>>,
    by_name: HashMap<&'static str, usize>,
}

impl Registry {
    /// A registry of these tools.
    ///
    /// # Errors
    /// A name that is taken twice.
    pub fn new(mut tools: Vec<Box<dyn Tool>>) -> Result<Self, String> {
        tools.sort_by_key(|tool| tool.descriptor().name);
        let mut by_name = HashMap::with_capacity(tools.len());
        for (index, tool) in tools.iter().enumerate() {
            let name = tool.descriptor().name;
            if by_name.insert(name, index).is_some() {
                return Err(format!("two tools are called {name}"));
            }
        }
        Ok(Self { tools, by_name })
    }

    /// The tools of the product.
    ///
    /// # Errors
    /// A template or prompt that is wrong, with its file.
    pub fn standard(parts: ToolParts) -> Result<Self, String> {
        let ToolParts { execution, graph: _, cache, artifacts, options: _ } = parts;
        let cell: Arc<dyn Cell> = Arc::new(execution);
        let memo: Arc<dyn Memo> = Arc::new(LintMemo(cache));
        let mut tools: Vec<Box<dyn Tool>> = vec![
            Box::new(Typed::new(super::execute::ExecuteCode::new(cell.clone(), artifacts.clone()))),
            Box::new(Typed::new(super::run_tests::RunTests::new(cell.clone(), artifacts))),
            Box::new(Typed::new(super::lint::LintCode::new(cell, memo))),
        ];
        #[cfg(feature = "bench")]
        tools.push(Box::new(Typed::new(super::add::Add)));
        Self::new(tools)
    }

    /// The tool of this name.
    pub fn get(&self, name: &str) -> Option<&dyn Tool> {
        self.by_name.get(name).map(|index| &*self.tools[*index])
    }

    /// Every tool's descriptor, in name order.
    pub fn descriptors(&self) -> impl Iterator<Item = &ToolDescriptor> {
        self.tools.iter().map(|tool| tool.descriptor())
    }
}

impl Cell for ExecutionHandle {
    fn run<'a>(
        &'a self,
        spec: RunSpec,
        owner: &'a CallerId,
        deadline: Deadline,
    ) -> BoxFuture<'a, Result<RunReport, ApiError>> {
        Box::pin(async move { Ok(ExecutionHandle::run(self, spec, owner, deadline).await?) })
    }
}

/// Remembers lint results for as long as the cache's `lint` namespace keeps them.
struct LintMemo(CacheHandle);

impl Memo for LintMemo {
    fn remember<'a>(
        &'a self,
        key: &'a str,
        compute: BoxFuture<'a, Result<Arc<str>, Unkept>>,
    ) -> BoxFuture<'a, Result<Arc<str>, Arc<Unkept>>> {
        Box::pin(self.0.get_or_compute(Namespace::Lint, key, compute))
    }
}
