//! What a person sees when the server starts: where it is, how to get in, how to try it.
//!
//! Goes to standard error: standard output is the log. The developer token is printed only for a server
//! on loopback with its own generated key.

use std::fmt::Write as _;
use std::io::Write as _;

use secrecy::ExposeSecret;
use serde_json::json;
use ultimate_mcp_actors::ids::CallerId;

use super::DataFiles;
use crate::auth::IssueRequest;
use crate::config::Config;
use crate::http::Bound;
use crate::state::AppState;

/// `sub` of the developer token.
const DEVELOPER: &str = "developer@localhost";

/// Prints it. A closed standard error stops nobody.
pub(super) fn print(config: &Config, files: &DataFiles, state: &AppState, bound: &Bound) {
    let port = bound.addresses.first().map_or(config.http.port, |address| address.port());
    let text = text(config, files, state, &config.http.base_url(port));
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// The same for a node that only works jobs: nobody calls it, so there is no token to hand out.
pub(super) fn print_worker(config: &Config, files: &DataFiles, bound: &Bound) {
    let port = bound.addresses.first().map_or(config.http.port, |address| address.port());
    let (version, url) = (env!("CARGO_PKG_VERSION"), config.http.base_url(port));
    let (workers, data) = (config.jobs.workers, files.dir.display());
    let text = format!(
        "\nUltimate MCP {version} works jobs, {workers} at once; health on {url}/health\n\n  data      {data}\n\n"
    );
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

fn text(config: &Config, files: &DataFiles, state: &AppState, url: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let mut out = format!("\nUltimate MCP {version} is listening on {url}\n\n");
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<10}{value}");
    };
    line("MCP", &format!("{url}/mcp"));
    line("REST", &format!("{url}/api/v1/openapi.json"));
    line("data", &files.dir.display().to_string());
    let cell = state.readiness();
    let cell = cell.dependencies.iter().find(|dependency| dependency.name == "cell");
    if let Some(cell) = cell {
        line("cell", cell.status);
        for missing in &cell.detail {
            line("", missing);
        }
    }
    match developer_token(config, state) {
        Some(token) => invite(&mut out, url, &token),
        None => out.push_str(
            "\nKeys are configured: tokens come from their issuer, or from `ultimate-mcp token create`.\n\n",
        ),
    }
    out
}

/// A token for trying things out; `None` when keys are configured.
fn developer_token(config: &Config, state: &AppState) -> Option<String> {
    if !config.auth.keys.is_empty() || !config.http.bind.is_loopback() {
        return None;
    }
    let request = IssueRequest {
        sub: CallerId::parse(DEVELOPER).ok()?,
        roles: vec!["admin".to_owned()],
        ttl: None,
        custom: serde_json::Map::new(),
    };
    match state.authenticator.issue(request) {
        Ok(issued) => Some(issued.token.expose_secret().to_owned()),
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "no developer token");
            None
        }
    }
}

fn invite(out: &mut String, url: &str, token: &str) {
    let client = json!({ "mcpServers": { "ultimate-mcp": {
        "type": "http",
        "url": format!("{url}/mcp"),
        "headers": { "Authorization": format!("Bearer {token}") },
    }}});
    let client = serde_json::to_string_pretty(&client).unwrap_or_default();
    let _ = write!(
        out,
        "
Developer token (role `admin`: this instance is yours; others with `ultimate-mcp token create`):
{token}

Client configuration, ready to paste:
{client}

Run code now:
curl -s {url}/api/v1/tools/execute_code -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{{\"code\":\"print(6*7)\"}}'

"
    );
}
