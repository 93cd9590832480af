//! `serve` and `worker`: the server itself; everything about it is in [`crate::serve`].

use super::{Exit, Failure};
use crate::config::Loaded;
use crate::serve::{Role, ServeError};
use crate::stdio::StdioError;

pub(super) fn serve(loaded: Loaded, role: Role) -> Result<(), Failure> {
    ended(crate::serve::serve(loaded, role))
}

/// The failure of a server as one of the command line.
pub(super) fn ended(result: Result<(), ServeError>) -> Result<(), Failure> {
    result.map_err(|error| {
        let exit = match error {
            ServeError::Worker(_) => Exit::Config,
            ServeError::Files(_) | ServeError::Tools(_) | ServeError::Telemetry(_) => Exit::Config,
            ServeError::Stdio(StdioError::Output) => Exit::Io,
            ServeError::Stdio(StdioError::Refused(_) | StdioError::Ended) => Exit::Config,
            _ => Exit::Unavailable,
        };
        Failure::new(exit, error.to_string())
    })
}
