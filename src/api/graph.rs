//! `GET /api/v1/graph/export`: the whole graph as JSON Lines, for backups beside a running server.
//!
//! The export is written to a file first, which has no name any more when the answer begins: a slow
//! reader holds no thread and no snapshot of the graph.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use actix_web::web::{self, Bytes};
use actix_web::{Error, HttpResponse};
use serde_json::{Map, json};
use ultimate_mcp_actors::audit::EventType;
use ultimate_mcp_actors::graph::model::TransferReport;

use super::Authenticated;
use crate::error::{ApiError, Code};

/// Carries the report: counts, and the digest to compare the lines with.
pub const REPORT_HEADER: &str = "ultimate-graph-report";
/// Bytes read and sent at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Streams one snapshot of the graph.
pub async fn export(auth: Authenticated) -> Result<HttpResponse, ApiError> {
    let work = async |deadline| {
        let file = unnamed(auth.state.data_dir()).map_err(broken)?;
        let sink = file.try_clone().map_err(broken)?;
        let report = auth.state.engine.graph.export(Box::new(sink), deadline).await?;
        Ok((file, report))
    };
    let resource = "graph".to_owned();
    let (file, report): (File, TransferReport) =
        auth.administer("graph/export", EventType::DataRead, resource, Map::new(), work).await?;
    let pieces = futures_util::stream::try_unfold((file, true), |(file, first)| async move {
        web::block(move || piece(file, first)).await?.map_err(Error::from)
    });
    Ok(HttpResponse::Ok()
        .content_type("application/x-ndjson")
        .insert_header((REPORT_HEADER, json!(report).to_string()))
        .streaming(pieces))
}

type Next = Option<(Bytes, (File, bool))>;

fn piece(mut file: File, first: bool) -> io::Result<Next> {
    if first {
        file.rewind()?;
    }
    let mut bytes = vec![0; PIECE_BYTES];
    let read = file.read(&mut bytes)?;
    bytes.truncate(read);
    Ok((read > 0).then(|| (Bytes::from(bytes), (file, false))))
}

/// A file on the data directory's disk that nobody else can open; it goes with its last handle.
fn unnamed(dir: &Path) -> io::Result<File> {
    let path = dir.join(format!("export-{}.tmp", uuid::Uuid::new_v4()));
    let file =
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn broken(error: io::Error) -> ApiError {
    ApiError::new(Code::Internal, "the export cannot be kept on this disk").caused_by(error)
}
