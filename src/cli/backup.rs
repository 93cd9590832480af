//! `backup` and `restore`: the whole instance to a folder or an S3 bucket and back.
//!
//! A backup works beside a running server: databases are copied through SQLite, the graph is asked of
//! the server, since its file has one owner. A restore makes a new data directory and touches nothing
//! that exists. The key is a file that neither the backup nor the data directory holds.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;
use serde_json::json;
use ultimate_mcp_actors::audit::AuditKey;
use ultimate_mcp_actors::backup::{
    self, BackupError, BackupKey, Listed, RestoreRequest, Source, Target, TargetOptions,
};
use ultimate_mcp_actors::engine::{AUDIT_FILE, GRAPH_FILE};
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::model::TransferReport;
use ultimate_mcp_actors::graph::{EmbeddedGraph, GraphStore};

use super::args::{BackupArgs, RestoreArgs};
use super::live::LiveServer;
use super::{Exit, Failure, graph, print};
use crate::auth::key_file;
use crate::config::Config;

/// Makes, lists or proves backups, or makes a key for them.
pub(super) fn backup(
    config: &Config,
    args: &BackupArgs,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    if let Some(file) = &args.new_key {
        return new_key(file, out);
    }
    let target = target(config, args.to.as_deref(), "--to")?;
    if args.list {
        let listed = run(async { target.list().await.map_err(failure) })?;
        return print(out, &lines(&listed));
    }
    let key = key(config, args.key_file.as_deref())?;
    if args.verify {
        return print(out, &run(verify_all(&target, &key))?);
    }
    let scratch = Scratch::new(&config.data_dir)?;
    let audit_key = audit_key(&config.data_dir)?;
    let done = if args.audit_only {
        let audit = config.data_dir.join(AUDIT_FILE);
        let archive = backup::archive(&audit, &audit_key, &scratch.0, &key, &target);
        json!(run(async { archive.await.map_err(failure) })?)
    } else {
        json!(run(async {
            let graph = export_graph(config, &scratch.0).await?;
            let source = Source {
                data_dir: &config.data_dir,
                scratch: &scratch.0,
                audit_key: &audit_key,
                graph,
                product: env!("CARGO_PKG_VERSION"),
            };
            backup::create(&source, &key, &target).await.map_err(failure)
        })?)
    };
    print(out, &format!("{done}\n"))
}

/// Restores a backup into the configured data directory, which must be new.
pub(super) fn restore(
    config: &Config,
    args: &RestoreArgs,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let target = target(config, args.from.as_deref(), "--from")?;
    let key = key(config, args.key_file.as_deref())?;
    let request = RestoreRequest {
        instance: args.instance.as_deref(),
        id: args.id.as_deref(),
        until: args.until,
        data_dir: &config.data_dir,
    };
    let (neo4j, graph_options) = (graph::on_neo4j(config)?, config.graph.clone());
    let restored = run(async {
        let open_graph = |dir: &Path| -> Result<Box<dyn GraphStore>, BackupError> {
            if let Some(graph) = neo4j {
                return Ok(graph);
            }
            let graph = EmbeddedGraph::open(Some(&dir.join(GRAPH_FILE)), graph_options)?;
            Ok(Box::new(graph))
        };
        let restored = backup::restore(&request, &key, &target, restored_key, open_graph);
        restored.await.map_err(failure)
    })?;
    print(out, &format!("{}\n", json!(restored)))
}

async fn verify_all(target: &Target, key: &BackupKey) -> Result<String, Failure> {
    let listed = target.list().await.map_err(failure)?;
    let mut said = String::new();
    for one in &listed {
        let manifest = backup::verify(one, key, target).await.map_err(failure)?;
        said.push_str(&format!("ok: {} {} files\n", one.id, manifest.items.len()));
    }
    if listed.is_empty() {
        return Err(Failure::new(Exit::Unavailable, "the target holds no complete backup"));
    }
    Ok(said)
}

/// The graph as a file: read from Neo4j, from its own file, or asked of the server that has that open.
async fn export_graph(
    config: &Config,
    scratch: &Path,
) -> Result<Option<(PathBuf, TransferReport)>, Failure> {
    let (file, exported) = (config.data_dir.join(GRAPH_FILE), scratch.join("graph.jsonl"));
    if let Some(graph) = graph::on_neo4j(config)? {
        let sink = Box::new(private_file(&exported)?);
        let report = graph.export(sink).await.map_err(|error| failure(error.into()))?;
        return Ok(Some((exported, report)));
    }
    if !file.exists() {
        return Ok(None);
    }
    let mut sink = private_file(&exported)?;
    let report = match EmbeddedGraph::open(Some(&file), config.graph.clone()) {
        Ok(graph) => graph.export(Box::new(sink)).await.map_err(|error| failure(error.into()))?,
        Err(error) if error.kind() == Kind::Unavailable => {
            let server = LiveServer::find(config)?;
            server.export_graph(&mut sink).await?
        }
        Err(error) => return Err(failure(error.into())),
    };
    Ok(Some((exported, report)))
}

fn new_key(file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let mut sink = private_file(file)?;
    let text = format!("{}\n", BackupKey::generate());
    let written = sink.write_all(text.as_bytes()).and_then(|()| sink.sync_all());
    written.map_err(|error| io(file, error))?;
    let said = format!("{}: keep a copy away from backups and server\n", file.display());
    print(out, &said)
}

fn target(config: &Config, given: Option<&str>, flag: &str) -> Result<Target, Failure> {
    let Some(given) = given.or(config.backup.target.as_deref()) else {
        let message = format!("no target: name one with {flag} or backup.target");
        return Err(Failure::new(Exit::Usage, message));
    };
    let options = TargetOptions {
        endpoint: config.backup.s3_endpoint.clone(),
        region: config.backup.s3_region.clone(),
    };
    Target::open(given, &options).map_err(failure)
}

fn key(config: &Config, given: Option<&Path>) -> Result<BackupKey, Failure> {
    let Some(file) = given.or(config.backup.key_file.as_deref()) else {
        let message = "no key: name one with --key-file or backup.key_file; \
            `backup --new-key FILE` makes one";
        return Err(Failure::new(Exit::Usage, message));
    };
    let text = fs::read_to_string(file).map_err(|error| io(file, error))?;
    BackupKey::parse(&text, file).map_err(failure)
}

fn audit_key(dir: &Path) -> Result<AuditKey, Failure> {
    restored_key(dir).map_err(failure)
}

/// The audit's key among the files of a data directory; never made here.
fn restored_key(dir: &Path) -> Result<AuditKey, BackupError> {
    let path = dir.join("keys").join(key_file::AUDIT_KEY);
    let key = key_file::load(&path);
    let key = key.map_err(|error| BackupError::NotFound(error.to_string()))?;
    Ok(AuditKey::from_bytes(key.expose_secret()))
}

fn private_file(path: &Path) -> Result<File, Failure> {
    let options = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    options.map_err(|error| io(path, error))
}

fn io(path: &Path, error: std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{}: {error}", path.display()))
}

fn lines(listed: &[Listed]) -> String {
    listed.iter().map(|one| format!("{} {}\n", one.instance, one.id)).collect()
}

fn run<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::new(Exit::Software, error.to_string()))?.block_on(work)
}

fn failure(error: BackupError) -> Failure {
    let exit = match error.kind() {
        Kind::InvalidInput | Kind::Conflict => Exit::Data,
        Kind::NotFound | Kind::Unavailable | Kind::Overloaded => Exit::Unavailable,
        _ => Exit::Io,
    };
    let mut text = format!("backup: {error}");
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(&format!(": {cause_text}"));
        }
        source = cause.source();
    }
    Failure::new(exit, text)
}

/// A folder for copies, on the data directory's disk; removed with this value.
struct Scratch(PathBuf);

impl Scratch {
    fn new(data_dir: &Path) -> Result<Self, Failure> {
        let mut name = data_dir.as_os_str().to_owned();
        name.push(format!(".backup-{}", std::process::id()));
        let path = PathBuf::from(name);
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|error| io(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing better can be done about a folder that will not go.
        let _ = fs::remove_dir_all(&self.0);
    }
}
