//! The open graph file and the engine's errors in our words. Called by the embedded store's jobs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use marsdb_graph::{GraphError as EngineError, GraphStore as Store, Txn};

use super::pool::panic_text;
use crate::graph::error::GraphError;
use crate::graph::model::{BASE_LABEL, GraphStats, IndexSpec, KEY_PROPERTY, NameCount};

/// An open graph.
pub(super) struct Engine {
    pub(super) store: Store,
    file: Option<PathBuf>,
}

impl Engine {
    /// Opens the file, creating it with rights for its owner only, or an empty graph in memory.
    ///
    /// # Errors
    /// [`GraphError::Unavailable`]: in use by another process, damaged, of another format, or not
    /// readable. A damaged file can make the storage layer panic; that is caught here.
    pub(super) fn open(file: Option<&Path>) -> Result<Self, GraphError> {
        let opened = catch_unwind(AssertUnwindSafe(|| match file {
            Some(path) => {
                create_private(path)?;
                Store::open_file(path).map_err(open_error)
            }
            None => Store::open_memory().map_err(open_error),
        }));
        let store = opened.unwrap_or_else(|panic| {
            tracing::error!(panic = panic_text(panic.as_ref()), "opening the graph file panicked");
            Err(damaged())
        })?;
        let engine = Self { store, file: file.map(Path::to_owned) };
        let base = IndexSpec {
            label: BASE_LABEL.to_owned(),
            property: KEY_PROPERTY.to_owned(),
            unique: true,
        };
        engine.ensure_index(&base)?;
        Ok(engine)
    }

    /// Declares an index; answers whether it is new.
    pub(super) fn ensure_index(&self, index: &IndexSpec) -> Result<bool, GraphError> {
        let present = self.store.index_def(&index.label, &index.property).map_err(error)?;
        match present {
            Some(present) if present.unique == index.unique => Ok(false),
            Some(present) => {
                let is = if present.unique { "unique" } else { "not unique" };
                Err(GraphError::Conflict(format!(
                    "the index on {}.{} exists and is {is}",
                    index.label, index.property
                )))
            }
            None => {
                self.store
                    .create_index(&index.label, &index.property, index.unique)
                    .map_err(error)?;
                Ok(true)
            }
        }
    }

    /// Size and schema, from one snapshot.
    pub(super) fn stats(&self) -> Result<GraphStats, GraphError> {
        let snapshot = self.store.begin_read().map_err(error)?;
        let txn = Txn::Read(&snapshot);
        let counts = |names: Vec<(String, u64)>| {
            names.into_iter().map(|(name, count)| NameCount { name, count }).collect()
        };
        let mut property_keys = Store::list_property_keys_in_txn(txn).map_err(error)?;
        property_keys.sort();
        let indexes = Store::list_indexes_in_txn(txn).map_err(error)?;
        Ok(GraphStats {
            nodes: Store::node_count_in_txn(txn).map_err(error)?,
            relationships: Store::edge_count_in_txn(txn).map_err(error)?,
            labels: counts(Store::list_node_labels_in_txn(txn).map_err(error)?),
            relationship_types: counts(Store::list_rel_types_in_txn(txn).map_err(error)?),
            property_keys,
            indexes: indexes
                .into_iter()
                .map(|(label, property, unique)| IndexSpec { label, property, unique })
                .collect(),
            file_bytes: self
                .file
                .as_ref()
                .map_or(0, |file| std::fs::metadata(file).map_or(0, |metadata| metadata.len())),
            generation: 0,
        })
    }

    /// A read that goes through the storage layer.
    pub(super) fn probe(&self) -> Result<(), GraphError> {
        let snapshot = self.store.begin_read().map_err(error)?;
        Store::node_count_in_txn(Txn::Read(&snapshot)).map_err(error).map(drop)
    }
}

/// The graph may hold anything its callers know: nobody else on the host may read it.
fn create_private(path: &Path) -> Result<(), GraphError> {
    let failed = |what: &str, source: &std::io::Error| {
        tracing::error!(path = %path.display(), error = %source, "cannot open the graph file");
        GraphError::Unavailable(format!("{what}: {}", source.kind()))
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(|e| failed("its folder cannot be made", &e))?;
    }
    let mut options = std::fs::OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(|e| failed("its file cannot be opened", &e))
}

fn damaged() -> GraphError {
    GraphError::Unavailable(
        "its file is damaged; put a backup in its place, or move it away and import an export"
            .to_owned(),
    )
}

fn open_error(error: EngineError) -> GraphError {
    let detail = error.to_string();
    tracing::error!(error = detail, "cannot open the graph");
    // The storage layer's types are not ours to name; its text is pinned by a test.
    if detail.contains("already open") {
        return GraphError::Unavailable(
            "another process has its file open; stop that one or use another data directory"
                .to_owned(),
        );
    }
    if detail.contains("unsupported database format version") {
        return GraphError::Unavailable(
            "its file was written by another version of the engine; export it with that version \
             and import it here"
                .to_owned(),
        );
    }
    damaged()
}

/// An engine's error while it works.
pub(super) fn error(error: EngineError) -> GraphError {
    match error {
        EngineError::UniqueConstraintViolation { label, property } => {
            GraphError::NotUnique { label, property }
        }
        other => GraphError::Engine { detail: other.to_string() },
    }
}
