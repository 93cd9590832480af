//! Versioned, resumable changes of the schema in Neo4j.
//!
//! Each part (the graph, the audit) has its own list; a list only grows. What is done is written down as
//! `(:UmcpMigration {part, version, name, applied_at})`, after it was done: steps are idempotent, so a
//! half-finished one is done again. Called when a part first reaches its server. Refuses a database
//! that a newer program has migrated.

use std::borrow::Cow;

use super::client::Neo4jClient;
use super::error::Neo4jError;
use super::statement::{Limits, Params, Statement};
use crate::deadline::Deadline;

/// One change. Each statement runs in a transaction of its own, since Neo4j keeps schema and data
/// apart; each must be repeatable: `IF NOT EXISTS`, `MERGE`.
#[derive(Clone, Debug)]
pub struct Migration {
    /// From 1, without gaps.
    pub version: u32,
    /// What it does, in a word or two.
    pub name: &'static str,
    /// The statements.
    pub statements: Vec<Cow<'static, str>>,
}

/// What a run did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// Version before.
    pub from: u32,
    /// Version now.
    pub to: u32,
    /// Whether the first step had been begun before and not finished.
    pub resumed: bool,
}

/// Where the versions are kept.
const RECORDS: &str = "CREATE CONSTRAINT umcp_migration IF NOT EXISTS \
    FOR (m:UmcpMigration) REQUIRE (m.part, m.version) IS UNIQUE";

/// What the server says of a constraint whose name an index has.
const NAME_TAKEN: &str = ".Schema.IndexWithNameAlreadyExists";

/// Brings `part` to the last of `migrations`. Several nodes may do so at once.
///
/// # Errors
/// As [`Neo4jError`]; what was done stays done, and the next call goes on from there.
pub async fn run(
    client: &Neo4jClient,
    part: &str,
    migrations: &[Migration],
    deadline: Deadline,
) -> Result<Migrated, Neo4jError> {
    change(client, RECORDS, deadline).await?;
    let (from, begun) = state(client, part, deadline).await?;
    let newest = migrations.last().map_or(0, |last| last.version);
    if from > newest {
        return Err(Neo4jError::Config(format!(
            "uri: the database's {part} is at version {from}, this program knows {newest}; \
             start the newer program"
        )));
    }
    let mut resumed = false;
    for migration in migrations.iter().filter(|migration| migration.version > from) {
        resumed |= begun == Some(migration.version);
        if begun == Some(migration.version) {
            tracing::warn!(part, version = migration.version, "resuming a half-finished migration");
        }
        note(client, part, migration, false, deadline).await?;
        for statement in &migration.statements {
            change(client, statement, deadline).await?;
        }
        note(client, part, migration, true, deadline).await?;
        tracing::info!(part, version = migration.version, name = migration.name, "migrated Neo4j");
    }
    Ok(Migrated { from, to: newest, resumed })
}

/// Runs one statement. A server that is killed while it makes a constraint may keep the constraint's index without
/// it, and then refuses the constraint for ever: such an index is dropped and the statement run again.
async fn change(
    client: &Neo4jClient,
    statement: &str,
    deadline: Deadline,
) -> Result<(), Neo4jError> {
    let run = |text: String| async move {
        client.write(vec![Statement::new(text)], deadline, true).await.map(drop)
    };
    let refused = match run(statement.to_owned()).await {
        Err(error) if error.code().is_some_and(|code| code.ends_with(NAME_TAKEN)) => error,
        outcome => return outcome,
    };
    let Some(name) = constraint(statement) else { return Err(refused) };
    tracing::warn!(index = name, "an index of a constraint that was never finished is dropped");
    // The server refuses to drop the index of a constraint that exists.
    run(format!("DROP INDEX {name} IF EXISTS")).await?;
    run(statement.to_owned()).await
}

/// The name of the constraint that a statement makes.
fn constraint(statement: &str) -> Option<&str> {
    statement.strip_prefix("CREATE CONSTRAINT ")?.split(' ').next()
}

/// The last finished version, and the one begun but not finished.
async fn state(
    client: &Neo4jClient,
    part: &str,
    deadline: Deadline,
) -> Result<(u32, Option<u32>), Neo4jError> {
    let cypher = "MATCH (m:UmcpMigration {part: $part}) \
                  RETURN max(CASE WHEN m.applied_at IS NOT NULL THEN m.version END) AS done, \
                         max(CASE WHEN m.applied_at IS NULL THEN m.version END) AS begun";
    let params = Params::new().set("part", part);
    let rows = client.read(cypher, params, Limits::default(), deadline).await?;
    let version = |column| rows.int(column).and_then(|version| u32::try_from(version).ok());
    Ok((version("done").unwrap_or(0), version("begun")))
}

async fn note(
    client: &Neo4jClient,
    part: &str,
    migration: &Migration,
    done: bool,
    deadline: Deadline,
) -> Result<(), Neo4jError> {
    let cypher = if done {
        "MERGE (m:UmcpMigration {part: $part, version: $version}) \
         SET m.name = $name, m.applied_at = coalesce(m.applied_at, datetime())"
    } else {
        "MERGE (m:UmcpMigration {part: $part, version: $version}) SET m.name = $name"
    };
    let params = Params::new()
        .set("part", part)
        .set("version", i64::from(migration.version))
        .set("name", migration.name);
    client.write(vec![Statement::new(cypher).with(params)], deadline, true).await.map(|_| ())
}
