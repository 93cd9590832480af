//! `graph_upsert`: nodes and relationships, created or updated, all or nothing.

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::graph::GraphHandle;
use ultimate_mcp_actors::graph::model::{
    NodeInput, RelationshipInput, UpsertMode, UpsertRequest, UpsertResult,
};

use super::{GraphCache, refusal};
use crate::error::ApiError;
use crate::tools::typed::problem;
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Arguments of `graph_upsert`: at least one node or relationship.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with nodes or relationships")]
pub struct GraphUpsertArgs {
    /// Nodes to create or update, each key once.
    #[serde(default)]
    #[garde(skip)]
    pub nodes: Vec<NodeInput>,
    /// Relationships to create or update, each (start, type, end) once. Their nodes exist already or
    /// are in `nodes`.
    #[serde(default)]
    #[garde(skip)]
    pub relationships: Vec<RelationshipInput>,
    /// What happens to labels and properties already there.
    #[serde(default)]
    #[garde(skip)]
    pub mode: UpsertMode,
}

/// The tool.
pub struct GraphUpsert {
    graph: GraphHandle,
    cache: GraphCache,
}

impl GraphUpsert {
    /// A tool that writes this graph.
    pub fn new(graph: GraphHandle, cache: GraphCache) -> Self {
        Self { graph, cache }
    }
}

impl TypedTool for GraphUpsert {
    type Args = GraphUpsertArgs;
    type Output = UpsertResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "graph_upsert",
            title: "Write to the knowledge graph",
            description: DESCRIPTION.to_owned(),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: Annotations {
                read_only_hint: false,
                // `replace` discards what was there.
                destructive_hint: true,
                idempotent_hint: true,
                open_world_hint: false,
            },
            permission: "graph:upsert",
            event_type: EventType::GraphUpsert,
            effects: Effects::Durable,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        args: GraphUpsertArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<UpsertResult>, ApiError> {
        let GraphUpsertArgs { nodes, relationships, mode } = args;
        if nodes.is_empty() && relationships.is_empty() {
            return Err(problem("arguments", "must have at least one node or relationship"));
        }
        let (node_count, relationship_count) = (nodes.len(), relationships.len());
        let mut keys: Vec<String> = nodes.iter().map(|node| node.key.clone()).collect();
        let ends = relationships.iter().flat_map(|link| [&link.start, &link.end]);
        keys.extend(ends.cloned());
        let request = UpsertRequest { nodes, relationships, mode };
        let result = self.cache.writing(self.graph.upsert(request, call.deadline)).await;
        let result = result.map_err(|error| refusal(error, "arguments"))?;
        Ok(Answer::from(result)
            .fact("nodes", node_count)
            .fact("nodes_created", result.nodes.created)
            .fact("relationships", relationship_count)
            .fact("relationships_created", result.relationships.created)
            .fact("generation", result.generation)
            .touched(keys.iter().map(String::as_str)))
    }
}

const DESCRIPTION: &str = "\
Creates or updates nodes and relationships of the knowledge graph, all or nothing; what is answered is on \
disk. A node is identified by its `key`, whatever its labels; a relationship by (start, type, end). Sending \
the same again changes nothing, so a retry is safe. Labels, types and property names match \
[A-Za-z_][A-Za-z0-9_:-]{0,63}; property values are texts, numbers, booleans or lists of one of them.

`mode` \"merge\" (default) adds labels and sets the given properties, null removes one; \"replace\" makes \
labels and properties exactly the given ones.

Example: {\"nodes\": [{\"key\": \"ada\", \"labels\": [\"Person\"], \"properties\": {\"age\": 36}}, {\"key\": \
\"engine\", \"labels\": [\"Machine\"]}], \"relationships\": [{\"start\": \"ada\", \"type\": \"DESCRIBED\", \"end\": \
\"engine\", \"properties\": {\"year\": 1843}}]} gives {\"nodes\": {\"created\": 2, \"updated\": 0, \"unchanged\": 0}, \
\"relationships\": {\"created\": 1, …}, …}.";
