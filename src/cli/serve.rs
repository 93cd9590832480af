//! `serve` and `worker`: the server itself; everything about it is in [`crate::serve`].

use super::{Exit, Failure};
use crate::config::Loaded;
use crate::serve::{Role, ServeError};

pub(super) fn serve(loaded: Loaded, role: Role) -> Result<(), Failure> {
    crate::serve::serve(loaded, role).map_err(|error| {
        let exit = match error {
            ServeError::Worker(_) => Exit::Config,
            ServeError::Files(_) | ServeError::Tools(_) | ServeError::Telemetry(_) => Exit::Config,
            _ => Exit::Unavailable,
        };
        Failure::new(exit, error.to_string())
    })
}
