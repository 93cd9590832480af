//! `graph_query`: one reading Cypher statement.

use garde::Validate;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::graph::model::QueryRequest;
use ultimate_mcp_actors::graph::{COMMON_SUBSET, GraphHandle};

use super::{GraphCache, QueryAnswer, refusal};
use crate::error::ApiError;
use crate::tools::hash::sha256_hex;
use crate::tools::{Annotations, Answer, Edition, Effects, ToolCall, ToolDescriptor, TypedTool};

/// Longest query, in bytes; the graph's own bound on text.
const CYPHER_BYTES_MAX: usize = 16 * 1024;

/// Arguments of `graph_query`.
#[derive(Debug, Deserialize, JsonSchema, Validate)]
#[serde(deny_unknown_fields, expecting = "an object with cypher")]
pub struct GraphQueryArgs {
    /// One reading statement that ends in RETURN, at most 16 KiB. Data goes into `parameters`, never
    /// into the text.
    #[garde(length(bytes, min = 1, max = CYPHER_BYTES_MAX))]
    pub cypher: String,
    /// Values for `$name` in the text, any JSON: {"name": value}.
    #[serde(default)]
    #[garde(skip)]
    pub parameters: Map<String, Value>,
    /// Most rows to return; default 1000. `truncated` says when there are more.
    #[garde(range(min = 1, max = 1_000_000))]
    pub row_limit: Option<usize>,
    /// Time after which the query is stopped, in seconds; the server's own limit may be shorter.
    #[garde(range(min = 0.01, max = 60.0))]
    pub timeout_seconds: Option<f64>,
}

/// The tool.
pub struct GraphQuery {
    graph: GraphHandle,
    cache: GraphCache,
}

impl GraphQuery {
    /// A tool that reads this graph.
    pub fn new(graph: GraphHandle, cache: GraphCache) -> Self {
        Self { graph, cache }
    }
}

impl TypedTool for GraphQuery {
    type Args = GraphQueryArgs;
    type Output = QueryAnswer;

    fn describe(&self) -> ToolDescriptor {
        ToolDescriptor {
            name: "graph_query",
            title: "Query the knowledge graph",
            description: format!("{DESCRIPTION}{COMMON_SUBSET}"),
            input_schema: Value::Null,
            output_schema: Value::Null,
            annotations: Annotations::READS,
            permission: "graph:query",
            event_type: EventType::GraphQuery,
            effects: Effects::None,
            edition: Edition::ONLY,
        }
    }

    async fn run(
        &self,
        args: GraphQueryArgs,
        call: &ToolCall<'_>,
    ) -> Result<Answer<QueryAnswer>, ApiError> {
        let query_hash = sha256_hex(args.cypher.as_bytes());
        let parameters = args.parameters.len();
        let request = QueryRequest {
            cypher: args.cypher,
            parameters: args.parameters,
            row_limit: args.row_limit,
            timeout_ms: args.timeout_seconds.map(|seconds| (seconds * 1000.0).ceil() as u64),
        };
        let query = async {
            let result = self.graph.query(request.clone(), call.deadline).await;
            result.map_err(|error| refusal(error, "cypher"))
        };
        let answer = self.cache.answer(&request, query).await?;
        let facts = answer.facts;
        let keys = answer.keys();
        Ok(Answer::from(answer)
            .fact("query_hash", query_hash)
            .fact("parameters", parameters)
            .fact("rows", facts.rows)
            .fact("truncated", facts.truncated)
            .fact("generation", facts.generation)
            .touched(keys.iter().map(String::as_str)))
    }
}

const DESCRIPTION: &str = "\
Reads the knowledge graph with one Cypher statement. It is proven to only read before it runs: write with \
graph_upsert and graph_delete. Nodes come as {id, labels, properties}, relationships as {id, type, start, \
end, properties}, paths as {nodes, relationships, length}; temporal values as ISO 8601 text.

Example: {\"cypher\": \"MATCH (p:Person)-[:KNOWS]->(f) WHERE p.age > $age RETURN p.key, count(f) AS friends \
ORDER BY friends DESC LIMIT 10\", \"parameters\": {\"age\": 30}} gives {\"columns\": [\"p.key\", \"friends\"], \
\"rows\": [{\"p.key\": \"ada\", \"friends\": 3}], \"row_count\": 1, \"truncated\": false, …}.

What works:
";
