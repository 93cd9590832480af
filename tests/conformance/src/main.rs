//! Serves what the MCP conformance suites call: the protocol layer of the product (`ultimate_mcp::mcp`,
//! behind its HTTP edge) over a host with the suites' tools, resources and prompts.
//!
//! Listens on a loopback port that the system chooses, prints the endpoint's URL and runs until it is
//! killed. Checks no token: the suites have none to send. For tests only.
#![forbid(unsafe_code)]

mod asking;
mod fixture_tools;
mod host;
mod media;
mod prompts;
mod resources;
mod tasks;

use std::io::Write;
use std::sync::Arc;

use actix_web::web::{Data, ServiceConfig};
use anyhow::Context;
use ultimate_mcp::http::{self, HttpOptions};
use ultimate_mcp::mcp::{Endpoint, Hub, Identity, McpOptions, Sealer};

use host::FixtureHost;

fn main() -> anyhow::Result<()> {
    actix_rt::System::new().block_on(serve())
}

async fn serve() -> anyhow::Result<()> {
    let hub = Arc::new(Hub::default());
    let host = Arc::new(FixtureHost::new(Arc::clone(&hub))?);
    let options = HttpOptions { port: 0, workers: 2, ..HttpOptions::default() };
    let identity = Identity {
        name: "ultimate-mcp-conformance".to_owned(),
        title: "Fixtures of the conformance suites".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instructions: "For tests only.".to_owned(),
    };
    let mcp = McpOptions::default();
    let sealer = Sealer::of_this_process().context("no randomness")?;
    let limits = options.body_limits();
    let endpoint = Data::new(Endpoint::new(host, mcp, limits, identity, hub, sealer)?);
    let routes = move |app: &mut ServiceConfig| {
        app.configure(Endpoint::routes(endpoint.clone()));
    };
    let bound = http::bind(&options, routes)?;
    let address = bound.addresses.first().context("no address")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "http://{address}/mcp")?;
    out.flush()?;
    drop(out);
    Ok(bound.server.await?)
}
