//! The OpenAPI 3.1 document: the table of routes, and every tool with its own schemas.
//!
//! The table is also what the security test walks: a route that is not in it fails a test, and a route
//! in it that answers without a token fails another.

use actix_web::HttpResponse;
use serde_json::{Value, json};

use super::Authenticated;
use crate::error::{ApiError, Code};
use crate::state::AppState;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anybody: liveness, and the one word of readiness.
    Open,
    /// Whoever has a valid token.
    Authenticated,
    /// Whoever holds this permission.
    Permission(&'static str),
}

/// One route.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    /// HTTP method.
    pub method: &'static str,
    /// Path with `{parameters}`.
    pub path: &'static str,
    /// What it does, in one line.
    pub summary: &'static str,
    /// Who may call it.
    pub access: Access,
    /// Query parameters and what they take.
    pub query: &'static [(&'static str, &'static str)],
    /// Body fields: name, JSON type, whether required.
    pub body: &'static [(&'static str, &'static str, bool)],
}

const fn route(
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    access: Access,
) -> Route {
    Route { method, path, summary, access, query: &[], body: &[] }
}

const ADMIN: Access = Access::Permission("system:admin");
const ROLES: &str = "/api/v1/users/{user_id}/roles";
const SCHEDULE: &str = "/api/v1/schedules/{id}";
const DEAD_LETTER: &str = "/api/v1/dead-letters/{id}";
const JOBS_QUERY: &[(&str, &str)] = &[
    ("state", "queued, claimed, running, completed, failed, cancelled, forbidden, outcome_unknown"),
    ("all", "true: everybody's, for administrators"),
    ("cursor", "next_cursor of the page before"),
    ("limit", "1 to 200, default 50"),
];
const SCHEDULE_BODY: &[(&str, &str, bool)] = &[
    ("name", "string", false),
    ("cron", "string", true),
    ("tool", "string", true),
    ("arguments", "object", false),
    ("priority", "string", false),
    ("idempotent", "boolean", false),
    ("max_attempts", "integer", false),
    ("ttl_seconds", "integer", false),
    ("enabled", "boolean", false),
];
const AUDIT_QUERY: &[(&str, &str)] = &[
    ("type", "event type, e.g. code_execution"),
    ("user", "user id"),
    ("tool", "tool name"),
    ("success", "true or false"),
    ("start", "RFC 3339 time, inclusive"),
    ("end", "RFC 3339 time, exclusive"),
    ("cursor", "next_cursor of the page before"),
    ("limit", "1 to 1000, default 100"),
];

const AUDIT_EXPORT: &[(&str, &str)] = &[
    ("format", "jsonl (default) or csv"),
    ("type", "event type, e.g. code_execution"),
    ("user", "user id"),
    ("tool", "tool name"),
    ("success", "true or false"),
    ("start", "RFC 3339 time, inclusive"),
    ("end", "RFC 3339 time, exclusive"),
];

/// Every REST route but the tools, which are one path each in the document.
pub const ROUTES: &[Route] = &[
    route("GET", "/health", "Liveness: the process answers.", Access::Open),
    route(
        "GET",
        "/.well-known/oauth-protected-resource",
        "Who issues tokens for this server (RFC 9728); 404 when nobody else does.",
        Access::Open,
    ),
    route(
        "GET",
        "/.well-known/oauth-protected-resource/mcp",
        "The same, by the path of the MCP endpoint.",
        Access::Open,
    ),
    route("GET", "/ready", "Readiness; with a token, each dependency.", Access::Open),
    route("GET", "/metrics", "Prometheus text.", Access::Permission("tools:read")),
    route("GET", "/api/v1/openapi.json", "This document.", Access::Authenticated),
    route("GET", "/api/v1/tools", "The tools the caller may use.", Access::Authenticated),
    route(
        "POST",
        "/api/v1/tools/{name}",
        "Calls a tool; see the paths per tool.",
        Access::Authenticated,
    ),
    route("GET", ROLES, "Roles stored for a user.", ADMIN),
    Route {
        body: &[("role", "string", true)],
        ..route("POST", ROLES, "Assigns a role; idempotent.", ADMIN)
    },
    Route {
        body: &[("role", "string", true)],
        ..route("DELETE", ROLES, "Removes a role; idempotent.", ADMIN)
    },
    route("GET", "/api/v1/bans", "Bans that hold, of users and networks.", ADMIN),
    Route {
        body: &[
            ("user_id", "string", false),
            ("network", "string", false),
            ("reason", "string", false),
            ("ttl_seconds", "integer", false),
        ],
        ..route("POST", "/api/v1/bans", "Bans a user or a network, on every node.", ADMIN)
    },
    Route {
        body: &[("user_id", "string", false), ("network", "string", false)],
        ..route("DELETE", "/api/v1/bans", "Lifts the bans on a user or a network.", ADMIN)
    },
    #[cfg(feature = "faults")]
    route("GET", "/api/v1/faults", "Fault points, and which are armed.", ADMIN),
    #[cfg(feature = "faults")]
    route("DELETE", "/api/v1/faults", "Disarms every fault point.", ADMIN),
    #[cfg(feature = "faults")]
    Route {
        body: &[("action", "string", true)],
        ..route("PUT", "/api/v1/faults/{point}", "Arms a fault point.", ADMIN)
    },
    route("GET", "/api/v1/config", "The configuration in force and its sources.", ADMIN),
    Route {
        query: &[("dry_run", "true = only check and compare")],
        ..route("PATCH", "/api/v1/config", "Sets keys until the next start.", ADMIN)
    },
    Route {
        query: &[("dry_run", "true = only check and compare")],
        ..route("POST", "/api/v1/config/rollback", "Undoes the last change.", ADMIN)
    },
    route("GET", "/api/v1/nodes", "The nodes, their versions, and whether they agree.", ADMIN),
    route(
        "DELETE",
        "/api/v1/users/{user_id}",
        "Erases a person from roles, artifacts and the audit; events stay and still verify.",
        ADMIN,
    ),
    Route {
        query: AUDIT_QUERY,
        ..route("GET", "/api/v1/audit", "The audit trail, newest first.", ADMIN)
    },
    Route {
        query: AUDIT_EXPORT,
        ..route("GET", "/api/v1/audit/export", "The audit trail as a file, oldest first.", ADMIN)
    },
    route("GET", "/api/v1/graph/export", "The whole graph as JSON Lines.", ADMIN),
    Route {
        body: &[
            ("sub", "string", true),
            ("roles", "array", true),
            ("ttl_seconds", "integer", false),
            ("custom", "object", false),
        ],
        ..route("POST", "/api/v1/auth/token", "Creates a token for somebody.", ADMIN)
    },
    Route {
        body: &[("roles", "array", false)],
        ..route(
            "POST",
            "/api/v1/auth/refresh",
            "A new token for this one, with the same roles or fewer.",
            Access::Authenticated,
        )
    },
    Route {
        body: &[("jti", "string", false), ("user_id", "string", false)],
        ..route(
            "POST",
            "/api/v1/auth/revoke",
            "Revokes this token; administrators: any, or all of a user's.",
            Access::Authenticated,
        )
    },
    route(
        "GET",
        "/api/v1/supervision",
        "The tree of actors: state, restarts, mailboxes, last failures.",
        ADMIN,
    ),
    route(
        "POST",
        "/api/v1/supervision/{name}/restart",
        "Restarts an actor now; levels of the tree are joined by dots.",
        ADMIN,
    ),
    Route {
        body: &[("node", "string", true)],
        ..route(
            "POST",
            "/api/v1/supervision/drain",
            "Makes this node unready; what still comes is served. A restart undoes it.",
            ADMIN,
        )
    },
    route("GET", "/api/v1/breakers", "Breakers of servers outside, with their counts.", ADMIN),
    route("POST", "/api/v1/breakers/{name}/open", "Refuses every call until reset.", ADMIN),
    route("POST", "/api/v1/breakers/{name}/close", "Lets every call through until reset.", ADMIN),
    route("POST", "/api/v1/breakers/{name}/reset", "Closes it and lets it decide again.", ADMIN),
    route("GET", "/api/v1/limits", "Limits in force and their use.", ADMIN),
    route("GET", "/api/v1/queues", "Mailboxes, runs, jobs, audit: what waits where.", ADMIN),
    Route {
        body: &[
            ("tool", "string", true),
            ("arguments", "object", false),
            ("priority", "string", false),
            ("run_at", "string", false),
            ("delay_seconds", "integer", false),
            ("idempotent", "boolean", false),
            ("max_attempts", "integer", false),
            ("ttl_seconds", "integer", false),
        ],
        ..route(
            "POST",
            "/api/v1/jobs",
            "Enqueues a call of a tool: 202. An Idempotency-Key makes it repeatable.",
            Access::Authenticated,
        )
    },
    Route {
        query: JOBS_QUERY,
        ..route("GET", "/api/v1/jobs", "The caller's jobs, newest first.", Access::Authenticated)
    },
    route("GET", "/api/v1/jobs/{id}", "A job, with its result.", Access::Authenticated),
    route("POST", "/api/v1/jobs/{id}/cancel", "Cancels a job.", Access::Authenticated),
    Route {
        query: &[("after", "id of the last event seen")],
        ..route(
            "GET",
            "/api/v1/jobs/{id}/events",
            "What happens to a job, as it happens: NDJSON or SSE.",
            Access::Authenticated,
        )
    },
    Route {
        body: SCHEDULE_BODY,
        ..route(
            "POST",
            "/api/v1/schedules",
            "Makes a schedule: a job at every tick of a cron expression in UTC.",
            Access::Authenticated,
        )
    },
    route("GET", "/api/v1/schedules", "The caller's schedules.", Access::Authenticated),
    route("GET", SCHEDULE, "A schedule.", Access::Authenticated),
    Route {
        body: SCHEDULE_BODY,
        ..route("PUT", SCHEDULE, "Replaces a schedule.", Access::Authenticated)
    },
    route("DELETE", SCHEDULE, "Removes a schedule.", Access::Authenticated),
    Route {
        query: &[("cursor", "next_cursor of the page before"), ("limit", "1 to 200, default 50")],
        ..route("GET", "/api/v1/dead-letters", "Jobs an operator should look at.", ADMIN)
    },
    route("GET", DEAD_LETTER, "A dead letter: reason, attempts, caller, trace.", ADMIN),
    route("DELETE", DEAD_LETTER, "Discards a dead letter.", ADMIN),
    route("POST", "/api/v1/dead-letters/{id}/replay", "Queues a dead letter again.", ADMIN),
    route(
        "GET",
        "/api/v1/artifacts/{id}",
        "A file that a run of the caller left in `out/`.",
        Access::Authenticated,
    ),
];

/// The document, with the tools this caller may use.
pub async fn document(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    auth.require_rate("openapi/read").await?;
    Ok(HttpResponse::Ok().json(build(&auth.state, &auth.caller)))
}

/// The same as JSON, with the tools this caller may use.
pub(crate) fn build(state: &AppState, caller: &crate::auth::Caller) -> Value {
    let mut paths = serde_json::Map::new();
    for route in ROUTES {
        let operation = operation(route);
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.to_lowercase()] = operation;
    }
    for (name, tool) in state.descriptors_for(caller) {
        paths.insert(
            format!("/api/v1/tools/{name}"),
            json!({ "post": {
                "operationId": name,
                "deprecated": tool.edition.deprecated.is_some(),
                "summary": tool.title,
                "description": tool.description,
                "security": [{ "bearer": [tool.permission] }],
                "parameters": [{
                    "name": "stream",
                    "in": "query",
                    "description": "`1`: lines of JSON while the tool runs (docs/streams.md); the last one is the outcome",
                    "schema": { "type": "string", "enum": ["0", "1"] },
                }],
                "requestBody": { "required": true, "content": json_content(&tool.input_schema) },
                "responses": responses(tool_content(&tool.output_schema)),
            }}),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ultimate MCP",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "REST twin of the MCP endpoint at /mcp. Same callers, same path, same audit.",
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" } },
            "schemas": { "Error": error_schema() },
        },
    })
}

fn operation(route: &Route) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    for segment in route.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}')) {
        parameters.push(json!({ "name": segment, "in": "path", "required": true, "schema": { "type": "string", "maxLength": super::NAME_BYTES_MAX } }));
    }
    for (name, takes) in route.query {
        parameters.push(json!({ "name": name, "in": "query", "description": takes, "schema": { "type": "string" } }));
    }
    let security = match route.access {
        Access::Open => json!([]),
        Access::Authenticated => json!([{ "bearer": [] }]),
        Access::Permission(permission) => json!([{ "bearer": [permission] }]),
    };
    let mut operation = json!({
        "summary": route.summary,
        "security": security,
        "parameters": parameters,
        "responses": responses(json!({ "application/json": {} })),
    });
    if !route.body.is_empty() {
        let properties: serde_json::Map<String, Value> = route
            .body
            .iter()
            .map(|(name, kind, _)| ((*name).to_owned(), json!({ "type": kind })))
            .collect();
        let required: Vec<&str> = route.body.iter().filter(|f| f.2).map(|f| f.0).collect();
        let schema = json!({ "type": "object", "additionalProperties": false, "properties": properties, "required": required });
        operation["requestBody"] =
            json!({ "required": !required.is_empty(), "content": json_content(&schema) });
    }
    operation
}

fn json_content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// What a tool answers: its result, or with `?stream=1` lines with an `event` each.
fn tool_content(output: &Value) -> Value {
    let mut content = json_content(output);
    let events = super::tool_stream::EVENTS;
    content["application/x-ndjson"] = json!({ "schema": {
        "type": "object",
        "required": ["event"],
        "properties": { "event": { "type": "string", "enum": events } },
    } });
    content
}

fn responses(success: Value) -> Value {
    json!({
        "200": { "description": "done", "content": success },
        "default": { "description": "see docs/errors", "content": json_content(&json!({ "$ref": "#/components/schemas/Error" })) },
    })
}

fn error_schema() -> Value {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.slug()).collect();
    json!({
        "type": "object",
        "required": ["error"],
        "properties": { "error": {
            "type": "object",
            "required": ["code", "message", "retry"],
            "properties": {
                "code": { "type": "string", "enum": codes },
                "message": { "type": "string" },
                "retry": { "type": "string", "enum": ["safe", "after", "unsafe", "never"] },
                "retry_after_seconds": { "type": "integer", "minimum": 1 },
                "required_permissions": { "type": "array", "items": { "type": "string" } },
                "problems": { "type": "array", "items": {
                    "type": "object",
                    "properties": { "path": { "type": "string" }, "problem": { "type": "string" } },
                } },
            },
        } },
    })
}
