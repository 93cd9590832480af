//! One integration binary: the tree itself, and the real server driven as its users drive it.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]
#![allow(clippy::print_stderr, reason = "TEST_LOG shows what the server says")]

#[path = "it/alarms.rs"]
mod alarms;
#[path = "it/app.rs"]
mod app;
#[path = "it/asking.rs"]
mod asking;
#[path = "it/audit.rs"]
mod audit;
#[path = "it/backup.rs"]
mod backup;
#[path = "it/cell.rs"]
mod cell;
#[path = "it/cli.rs"]
mod cli;
#[cfg(feature = "faults")]
#[path = "it/faults.rs"]
mod faults;
#[path = "it/idempotency.rs"]
mod idempotency;
#[path = "it/input.rs"]
mod input;
#[path = "it/jobs.rs"]
mod jobs;
#[path = "it/jobs_crash.rs"]
mod jobs_crash;
#[path = "it/loss.rs"]
mod loss;
#[path = "it/mcp_clients.rs"]
mod mcp_clients;
#[path = "it/mcp_clients_more.rs"]
mod mcp_clients_more;
#[path = "it/neo4j.rs"]
mod neo4j;
#[path = "it/nodes.rs"]
mod nodes;
#[path = "it/nodes_down.rs"]
mod nodes_down;
#[path = "it/nodes_graph.rs"]
mod nodes_graph;
#[path = "it/nodes_handles.rs"]
mod nodes_handles;
#[path = "it/offers.rs"]
mod offers;
#[path = "it/openid.rs"]
mod openid;
#[path = "it/operators.rs"]
mod operators;
#[path = "it/overload.rs"]
mod overload;
#[path = "it/redis.rs"]
mod redis;
#[path = "it/reload.rs"]
mod reload;
#[path = "it/rmcp_client.rs"]
mod rmcp_client;
#[path = "it/roles.rs"]
mod roles;
#[path = "it/sandboxes.rs"]
mod sandboxes;
#[path = "it/security.rs"]
mod security;
#[path = "it/shipping.rs"]
mod shipping;
#[path = "it/start.rs"]
mod start;
#[path = "it/stdio.rs"]
mod stdio;
#[path = "it/streams.rs"]
mod streams;
#[path = "it/supervision.rs"]
mod supervision;
#[path = "it/tasks.rs"]
mod tasks;
#[path = "it/tidy.rs"]
mod tidy;
#[path = "it/time_limits.rs"]
mod time_limits;
#[path = "it/tokens.rs"]
mod tokens;
#[path = "it/tools.rs"]
mod tools;
#[path = "it/versions.rs"]
mod versions;
#[path = "it/websocket.rs"]
mod websocket;
#[path = "it/workflows.rs"]
mod workflows;
#[path = "it/workflows_crash.rs"]
mod workflows_crash;
