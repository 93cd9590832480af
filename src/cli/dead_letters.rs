//! `dead-letters …`: jobs an operator should look at, at the server that runs on this data directory.
//!
//! Asks that server over REST, so what is done here is authorized and audited as from anywhere else.

use std::io::Write;

use reqwest::Method;
use serde_json::Value;

use super::live::LiveServer;
use super::{DeadLettersCommand, Exit, Failure, print};
use crate::config::Config;

/// Carries out one command; what is listed goes out as one line of JSON each.
pub(super) fn run(
    config: &Config,
    command: &DeadLettersCommand,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let server = LiveServer::find(config)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(Exit::Software, error.to_string()))?;
    runtime.block_on(async {
        match command {
            DeadLettersCommand::List { .. } => list(&server, out).await,
            DeadLettersCommand::Show { id, .. } => {
                line(out, &server.send(Method::GET, &path(id, "")?).await?)
            }
            DeadLettersCommand::Replay { id, .. } => {
                line(out, &server.send(Method::POST, &path(id, "/replay")?).await?)
            }
            DeadLettersCommand::Discard { id, .. } => {
                line(out, &server.send(Method::DELETE, &path(id, "")?).await?)
            }
        }
    })
}

/// Every page, newest first.
async fn list(server: &LiveServer, out: &mut dyn Write) -> Result<(), Failure> {
    let mut query = String::new();
    loop {
        let page = server.send(Method::GET, &format!("/api/v1/dead-letters{query}")).await?;
        for letter in page["dead_letters"].as_array().into_iter().flatten() {
            line(out, letter)?;
        }
        let Some(cursor) = page["next_cursor"].as_str() else { return Ok(()) };
        query = format!("?cursor={cursor}");
    }
}

/// An id goes into the path only if it is one.
fn path(id: &str, verb: &str) -> Result<String, Failure> {
    let id = uuid::Uuid::parse_str(id);
    let id = id.map_err(|_| Failure::new(Exit::Usage, "ID: must be a job_id; see `list`"))?;
    Ok(format!("/api/v1/dead-letters/{id}{verb}"))
}

fn line(out: &mut dyn Write, value: &Value) -> Result<(), Failure> {
    print(out, &format!("{value}\n"))
}
