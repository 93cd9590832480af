//! Subcommands that need the engine: `serve`, `graph …`.

use std::io::Write;
use std::path::Path;

use super::{Exit, Failure};
use crate::config::Loaded;

pub(super) fn serve(_loaded: Loaded) -> Result<(), Failure> {
    Err(unavailable("serve"))
}

pub(super) fn graph_export(
    _loaded: &Loaded,
    _file: &Path,
    _out: &mut dyn Write,
) -> Result<(), Failure> {
    Err(unavailable("graph export"))
}

pub(super) fn graph_import(
    _loaded: &Loaded,
    _file: &Path,
    _out: &mut dyn Write,
) -> Result<(), Failure> {
    Err(unavailable("graph import"))
}

fn unavailable(command: &str) -> Failure {
    Failure::new(Exit::Unavailable, format!("{command}: this build has no engine"))
}
