//! `graph export` and `graph import`: the knowledge graph as JSON Lines.
//!
//! The embedded graph's file is opened here; its lock refuses while a server has it. On Neo4j servers may go
//! on meanwhile. An import goes into an empty graph, all or nothing. So a graph moves from one engine to
//! the other: export with one configuration, import with the other.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use ultimate_mcp_actors::engine::GRAPH_FILE;
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::model::ImportMode;
use ultimate_mcp_actors::graph::{EmbeddedGraph, GraphEngine, GraphError, GraphStore, Neo4jGraph};
use ultimate_mcp_actors::neo4j::Neo4jClient;

use super::{Exit, Failure, print};
use crate::config::Config;

/// Stands for standard input and output.
const STANDARD: &str = "-";

/// Writes the whole graph to a file that must not exist yet, or to standard output.
pub(super) fn export(config: &Config, file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let graph = open(config, true)?;
    if file == Path::new(STANDARD) {
        run(graph.export(Box::new(std::io::stdout())))?;
        return Ok(());
    }
    let unwritable = |error| {
        let message = format!("cannot create {}: {error}; name a new file", file.display());
        Failure::new(Exit::Io, message)
    };
    // Never over an older export, and for the owner's eyes only, like the graph itself.
    let sink = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    let sink = sink.map_err(unwritable)?;
    let synced = sink.try_clone().map_err(unwritable)?;
    let report = run(graph.export(Box::new(sink)))?;
    synced.sync_all().map_err(unwritable)?;
    print(out, &format!("{}\n", serde_json::json!(report)))
}

/// Reads a file of `graph export` into an empty graph.
pub(super) fn import(config: &Config, file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let source: Box<dyn BufRead + Send> = if file == Path::new(STANDARD) {
        Box::new(BufReader::new(std::io::stdin()))
    } else {
        let opened = File::open(file).map_err(|error| {
            Failure::new(Exit::Io, format!("cannot read {}: {error}", file.display()))
        })?;
        Box::new(BufReader::new(opened))
    };
    let graph = open(config, false)?;
    let report = run(graph.import(source, ImportMode::IntoEmpty))?;
    print(out, &format!("{}\n", serde_json::json!(report)))
}

/// The graph on Neo4j, where that is the engine.
pub(super) fn on_neo4j(config: &Config) -> Result<Option<Box<dyn GraphStore>>, Failure> {
    if config.graph.engine != GraphEngine::Neo4j {
        return Ok(None);
    }
    // Nobody watches the breaker of a command that runs once.
    let client = Neo4jClient::new(config.neo4j.clone(), Arc::new(|_, _| {}))
        .map_err(|error| Failure::new(Exit::Unavailable, error.to_string()))?;
    Ok(Some(Box::new(Neo4jGraph::new(client, config.graph.clone()).map_err(failure)?)))
}

fn open(config: &Config, must_exist: bool) -> Result<Box<dyn GraphStore>, Failure> {
    if let Some(graph) = on_neo4j(config)? {
        return Ok(graph);
    }
    let path = config.data_dir.join(GRAPH_FILE);
    if must_exist && !path.exists() {
        let message = format!(
            "there is no graph at {}; name the server's directory with --data-dir",
            path.display()
        );
        return Err(Failure::new(Exit::Unavailable, message));
    }
    let dir = &config.data_dir;
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|error| {
        Failure::new(Exit::Io, format!("cannot create {}: {error}", dir.display()))
    })?;
    let graph = EmbeddedGraph::open(Some(&path), config.graph.clone()).map_err(failure)?;
    Ok(Box::new(graph))
}

fn run<T>(work: impl Future<Output = Result<T, GraphError>>) -> Result<T, Failure> {
    actix_rt::System::new().block_on(work).map_err(failure)
}

fn failure(error: GraphError) -> Failure {
    let exit = match error.kind() {
        Kind::InvalidInput | Kind::Conflict => Exit::Data,
        Kind::Unavailable | Kind::Overloaded | Kind::DeadlineExceeded => Exit::Unavailable,
        _ => Exit::Software,
    };
    Failure::new(exit, format!("graph: {error}"))
}
