//! `graph_delete`: relationships and nodes, all or nothing.

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::graph::GraphHandle;
use ultimate_mcp_actors::graph::model::{DeleteRequest, DeleteResult, RelationshipRef};

use super::{GraphCache, refusal};
use crate::error::{ApiError, Code};
use crate::mcp::{Ask, Wanted};
use crate::tools::typed::problem;
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Arguments of `graph_delete`: at least one node or relationship.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with nodes or relationships")]
pub struct GraphDeleteArgs {
    /// Keys of nodes.
    #[serde(default)]
    #[garde(skip)]
    pub nodes: Vec<String>,
    /// Relationships, each by (start, type, end).
    #[serde(default)]
    #[garde(skip)]
    pub relationships: Vec<RelationshipRef>,
    /// Also deletes the relationships of the nodes; without it a connected node is refused.
    #[serde(default)]
    #[garde(skip)]
    pub detach: bool,
    /// Asks the person behind the client first, by a form that says what would be deleted (MCP 2026-07-28,
    /// capability `elicitation`); clients that cannot be asked get an error and nothing is deleted.
    #[serde(default)]
    #[garde(skip)]
    pub confirm: bool,
}

/// The tool.
pub struct GraphDelete {
    graph: GraphHandle,
    cache: GraphCache,
}

impl GraphDelete {
    /// A tool that deletes from this graph.
    pub fn new(graph: GraphHandle, cache: GraphCache) -> Self {
        Self { graph, cache }
    }
}

impl TypedTool for GraphDelete {
    type Args = GraphDeleteArgs;
    type Output = DeleteResult;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "graph_delete",
            title: "Delete from the knowledge graph",
            description: DESCRIPTION.to_owned(),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: Annotations {
                read_only_hint: false,
                destructive_hint: true,
                idempotent_hint: true,
                open_world_hint: false,
            },
            permission: "graph:delete",
            event_type: EventType::DataDelete,
            effects: Effects::Durable,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        args: GraphDeleteArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<DeleteResult>, ApiError> {
        let GraphDeleteArgs { nodes, relationships, detach, confirm } = args;
        if nodes.is_empty() && relationships.is_empty() {
            return Err(problem("arguments", "must name at least one node or relationship"));
        }
        if confirm {
            confirmed(call, nodes.len(), relationships.len(), detach).await?;
        }
        let mut keys = nodes.clone();
        keys.extend(relationships.iter().flat_map(|link| [link.start.clone(), link.end.clone()]));
        let request = DeleteRequest { nodes, relationships, detach };
        let result = self.cache.writing(self.graph.delete(request, call.deadline)).await;
        let result = result.map_err(|error| refusal(error, "arguments"))?;
        let (nodes, relationships) = (result.nodes_deleted, result.relationships_deleted);
        let generation = result.generation;
        Ok(Answer::from(result)
            .fact("nodes_deleted", nodes)
            .fact("relationships_deleted", relationships)
            .fact("detach", detach)
            .fact("confirmed", confirm)
            .fact("generation", generation)
            .touched(keys.iter().map(String::as_str)))
    }
}

/// The key under which the person is asked.
const CONFIRM: &str = "confirm";

/// Whether the person behind the client agreed to this very call. The sealed state proves that it was asked:
/// an answer nobody asked for does not count.
async fn confirmed(
    call: &ToolCall<'_>,
    nodes: usize,
    relationships: usize,
    detach: bool,
) -> Result<(), ApiError> {
    if let Some(input) = call.origin.input.as_deref()
        && input.state(call.deadline).await? == Some(CONFIRM)
    {
        if input.accepted(CONFIRM).is_some_and(|content| content["delete"] == true) {
            return Ok(());
        }
        if input.accepted(CONFIRM).is_some() || input.is_declined(CONFIRM) {
            let message = "the person who was asked did not agree; nothing was deleted";
            return Err(ApiError::new(Code::Conflict, message));
        }
    }
    let also = if detach { " and all relationships of these nodes" } else { "" };
    let message = format!(
        "Delete {nodes} node(s) and {relationships} relationship(s){also}? This cannot be undone."
    );
    let schema = json!({
        "type": "object",
        "properties": { "delete": { "type": "boolean", "title": "Delete", "default": false } },
        "required": ["delete"],
    });
    let asks = vec![(CONFIRM.to_owned(), Ask::Form { message, schema })];
    let wanted = Wanted { asks, state: Some(CONFIRM.to_owned()) };
    let otherwise =
        "this client cannot be asked; ask the person yourself, then call without confirm";
    Err(ApiError::input_required(wanted, otherwise))
}

const DESCRIPTION: &str = "\
Deletes relationships and nodes of the knowledge graph, all or nothing; what is answered is on disk. Nodes \
are named by key, relationships by (start, type, end). What does not exist is listed in the result and is \
no error, so a retry is safe. A node that still has relationships is refused unless `detach` is true. With `confirm` the person behind the client is asked first.

Example: {\"nodes\": [\"ada\"], \"detach\": true} gives {\"nodes_deleted\": 1, \"relationships_deleted\": 1, \
\"missing_nodes\": [], …}.";
