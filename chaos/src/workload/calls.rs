//! The calls: what is sent, and where the known answer stands.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Request, Workload, judge};
use crate::record::{Kind, Outcome};

/// Its one finding is `F401`.
const LINTED: &str = "import os\n";

/// One attempt of a call.
pub(super) struct Call<'a> {
    pub kind: Kind,
    pub node: usize,
    pub request_id: &'a str,
    pub subject: &'a str,
}

impl Workload {
    /// Makes the call; its outcome and what it made (`""` = nothing with a name).
    pub(super) async fn call(&self, call: &Call<'_>) -> (Outcome, String) {
        let subject = call.subject;
        match call.kind {
            Kind::Run => {
                let code = json!({ "code": format!("print('{subject}')") });
                judge::printed(self.tool(call, "execute_code", code, None).await, subject)
            }
            Kind::McpRun => {
                let code = json!({ "code": format!("echo {subject}"), "language": "bash" });
                let answer = self.mcp(call, "execute_code", code).await;
                judge::printed(judge::unwrap_mcp(answer), subject)
            }
            Kind::Once => {
                let code = json!({ "code": format!("print('{subject}')") });
                judge::printed(self.tool(call, "execute_code", code, Some(subject)).await, subject)
            }
            Kind::Lint => {
                let code =
                    json!({ "code": format!("{LINTED}# {subject}\n"), "language": "python" });
                judge::linted(self.tool(call, "lint_code", code, None).await)
            }
            Kind::Prompts => {
                let answer = self.mcp(call, "list_prompts", json!({})).await;
                judge::held(judge::unwrap_mcp(answer), |body| body["prompts"].is_array())
            }
            Kind::Upsert => {
                let node = json!({ "nodes": [{ "key": subject, "labels": ["Chaos"] }] });
                let answer = self.tool(call, "graph_upsert", node, None).await;
                // An attempt whose acknowledgement got lost on the way to Neo4j had made it already.
                let right =
                    |body: &Value| body["nodes"]["created"] == 1 || body["nodes"]["unchanged"] == 1;
                judge::held(answer, right)
            }
            Kind::Query => self.query(call).await,
            Kind::Job => self.job(call).await,
            Kind::Role => {
                let path = format!("/api/v1/users/{subject}/roles");
                let body = json!({ "role": "viewer" });
                let answer = self.post(call, &path, &self.tokens().admin, &[], body).await;
                judge::held(answer, |body| body["roles"] == json!(["viewer"]))
            }
            Kind::Refused => self.refused(call).await,
        }
    }

    async fn post(
        &self,
        call: &Call<'_>,
        path: &str,
        token: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Answer {
        let headers = [&[("X-Request-Id", call.request_id)], headers].concat();
        let (method, body) = (Method::POST, Some(body));
        let token = (!token.is_empty()).then_some(token);
        let node = call.node;
        self.send(Request { node, method, path, token, headers: &headers, body }).await
    }

    async fn tool(&self, call: &Call<'_>, name: &str, body: Value, key: Option<&str>) -> Answer {
        let path = format!("/api/v1/tools/{name}");
        let headers: Vec<(&str, &str)> =
            key.map(|key| ("Idempotency-Key", key)).into_iter().collect();
        self.post(call, &path, &self.tokens().admin, &headers, body).await
    }

    /// One `tools/call` of revision 2026-07-28.
    async fn mcp(&self, call: &Call<'_>, name: &str, arguments: Value) -> Answer {
        let headers = [
            ("Accept", "application/json, text/event-stream"),
            ("MCP-Protocol-Version", "2026-07-28"),
            ("Mcp-Method", "tools/call"),
            ("Mcp-Name", name),
        ];
        let meta = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let body = json!({
            "jsonrpc": "2.0", "id": call.request_id, "method": "tools/call",
            "params": { "name": name, "arguments": arguments, "_meta": meta },
        });
        let tokens = self.tokens();
        let token = if call.kind == Kind::Prompts { &tokens.many } else { &tokens.admin };
        self.post(call, "/mcp", token, &headers, body).await
    }

    /// Asks for a node that was acknowledged; before the first, for one that cannot be there.
    async fn query(&self, call: &Call<'_>) -> (Outcome, String) {
        let known = self.known_node();
        let key = known.as_deref().unwrap_or("nobody");
        let text = "MATCH (n:Chaos {key: $key}) RETURN n.key AS key";
        let body = json!({ "cypher": text, "parameters": { "key": key } });
        let answer = self.tool(call, "graph_query", body, None).await;
        let rows = known.as_ref().map_or(json!([]), |key| json!([{ "key": key }]));
        judge::held(answer, |body| body["rows"] == rows)
    }

    async fn job(&self, call: &Call<'_>) -> (Outcome, String) {
        let body = json!({
            "tool": "execute_code", "arguments": { "code": format!("print('{}')", call.subject) },
            "idempotent": false, "max_attempts": 10,
        });
        let key = [("Idempotency-Key", call.subject)];
        let answer = self.post(call, "/api/v1/jobs", &self.tokens().admin, &key, body).await;
        let made = match &answer {
            Ok((202, body)) => body["job_id"].as_str().unwrap_or("").to_owned(),
            _ => String::new(),
        };
        (judge::held(answer, |body| body["job_id"].is_string()).0, made)
    }

    /// What policy denies, in turn: to a viewer, to nobody, to a user whose stored role is lower than the
    /// token's, to a developer.
    async fn refused(&self, call: &Call<'_>) -> (Outcome, String) {
        let tokens = self.tokens();
        let run = json!({ "code": "print('never')" });
        let node = json!({ "nodes": [{ "key": "never", "labels": ["Never"] }] });
        let turn = call.subject.bytes().last().unwrap_or(0) % 4;
        let (token, name, body) = match turn {
            0 => (tokens.viewer.as_str(), "execute_code", run),
            1 => ("", "execute_code", run),
            2 => (tokens.lowered.as_str(), "execute_code", run),
            _ => (tokens.developer.as_str(), "graph_upsert", node),
        };
        let answer = self.post(call, &format!("/api/v1/tools/{name}"), token, &[], body).await;
        (judge::refused(answer), String::new())
    }
}
