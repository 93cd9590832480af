//! `audit export`: the trail as a file, beside a running server or without one. `audit verify --export`:
//! proves such a file, with the key of the instance it came from.
//!
//! Refuses to overwrite a file; what it makes only its owner can read.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use ultimate_mcp_actors::audit::{ExportFormat, Filter, export_file, verify_export};

use super::args::ExportAudit;
use super::audit::trail;
use super::{Exit, Failure, print};
use crate::config::Config;

/// Writes an export.
pub(super) fn export(
    request: &ExportAudit,
    config: &Config,
    out: &mut dyn Write,
) -> Result<(), Failure> {
    let usage = |text: String| Failure::new(Exit::Usage, text);
    let format = ExportFormat::parse(&request.format)
        .ok_or_else(|| usage(format!("--format: {:?} is neither jsonl nor csv", request.format)))?;
    let kind = request.event_type.as_deref().map(Filter::parse_type).transpose();
    let filter = Filter {
        event_type: kind.map_err(|error| usage(format!("--{error}")))?,
        user: request.user.clone(),
        tool: request.tool.clone(),
        success: request.success,
        start: request.start,
        end: request.end,
        ..Filter::default()
    };
    filter.check().map_err(|error| usage(format!("--{error}")))?;
    let (path, _) = trail(config)?;
    let failed = |error: String| Failure::new(Exit::Io, format!("cannot export: {error}"));
    if request.file == Path::new("-") {
        return match export_file(&path, &filter, format, out) {
            Ok(_) => Ok(()),
            Err(error) => Err(failed(error.to_string())),
        };
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&request.file);
    let file = file.map_err(|error| failed(format!("{}: {error}", request.file.display())))?;
    let written = export_file(&path, &filter, format, &mut BufWriter::new(file));
    let count = written.map_err(|error| {
        // Half an export must not look like a whole one.
        let _ = std::fs::remove_file(&request.file);
        failed(error.to_string())
    })?;
    print(out, &format!("{count} events\n"))
}

/// Proves an exported file.
pub(super) fn verify(config: &Config, file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let (_, key) = trail(config)?;
    let failed = |error: std::io::Error| {
        Failure::new(Exit::Io, format!("cannot read {}: {error}", file.display()))
    };
    let report = if file == Path::new("-") {
        verify_export(std::io::stdin().lock(), &key)
    } else {
        verify_export(BufReader::new(File::open(file).map_err(failed)?), &key)
    };
    let report = report.map_err(failed)?;
    match report.broken {
        None => {
            let (events, gaps) = (report.events, report.gaps);
            let (first, last) = (report.first_seq, report.last_seq);
            print(out, &format!("ok: {events} events, {first} to {last}, {gaps} gaps\n"))
        }
        Some((line, why)) => Err(Failure::new(
            Exit::Data,
            format!("{}: line {line}: {why}; the lines before it are intact", file.display()),
        )),
    }
}
