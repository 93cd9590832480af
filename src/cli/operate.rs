//! Subcommands that need the engine: `serve`, `graph …`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;

use ultimate_mcp_actors::engine::GRAPH_FILE;
use ultimate_mcp_actors::graph::model::ImportMode;
use ultimate_mcp_actors::graph::{EmbeddedGraph, GraphStore};

use super::{Exit, Failure, print};
use crate::config::Loaded;
use crate::serve::ServeError;

pub(super) fn serve(loaded: Loaded) -> Result<(), Failure> {
    crate::serve::serve(loaded).map_err(|error| {
        let exit = match error {
            ServeError::Files(_) | ServeError::Tools(_) | ServeError::Telemetry(_) => Exit::Config,
            _ => Exit::Unavailable,
        };
        Failure::new(exit, error.to_string())
    })
}

pub(super) fn graph_export(
    loaded: &Loaded,
    file: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let sink = File::create(file).map_err(|error| unusable("write", file, &error))?;
    let sink = Box::new(BufWriter::new(sink));
    let report = with_graph(loaded, |graph| async move { graph.export(sink).await })?;
    print(out, &format!("{}\n", serde_json::json!(report)))
}

pub(super) fn graph_import(
    loaded: &Loaded,
    file: &Path,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let source = File::open(file).map_err(|error| unusable("read", file, &error))?;
    let source = Box::new(BufReader::new(source));
    let mode = ImportMode::default();
    let report = with_graph(loaded, |graph| async move { graph.import(source, mode).await })?;
    print(out, &format!("{}\n", serde_json::json!(report)))
}

/// Works on the graph of a server that does not run: the file belongs to one process at a time.
fn with_graph<T, F>(loaded: &Loaded, work: impl FnOnce(EmbeddedGraph) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, ultimate_mcp_actors::graph::GraphError>>,
{
    let path = loaded.config.data_dir.join(GRAPH_FILE);
    let result = actix_rt::System::new().block_on(async {
        work(EmbeddedGraph::open(Some(&path), loaded.config.graph.clone())?).await
    });
    result.map_err(|error| Failure::new(Exit::Data, error.to_string()))
}

fn unusable(doing: &str, file: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("cannot {doing} {}: {error}", file.display()))
}
