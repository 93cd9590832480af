//! `[telemetry]` of the configuration.

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// `[telemetry]` of the configuration; every key has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryOptions {
    /// Which events are written, e.g. `info,ultimate_mcp=debug`; changeable while running.
    pub log_filter: String,
    /// `service.environment` of every line.
    pub environment: String,
    /// Lines that may wait for a slow stdout; further ones are dropped, never waited for.
    pub log_lines_buffered_max: usize,
}

impl Default for TelemetryOptions {
    fn default() -> Self {
        Self {
            // The SDK reports its own housekeeping at info.
            log_filter: "info,opentelemetry=warn,opentelemetry_sdk=warn".to_owned(),
            environment: "local".to_owned(),
            log_lines_buffered_max: 128_000,
        }
    }
}

impl TelemetryOptions {
    /// Everything that is wrong, each with its key; empty when all is well.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Err(error) = EnvFilter::try_new(&self.log_filter) {
            problems.push(format!("telemetry.log_filter: {error}"));
        }
        if !(1..=10_000_000).contains(&self.log_lines_buffered_max) {
            problems.push("telemetry.log_lines_buffered_max must be 1 to 10000000".to_owned());
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_does_not_parse_is_reported_with_its_key() {
        assert!(TelemetryOptions::default().problems().is_empty());
        let options = TelemetryOptions { log_filter: "a=b=c".into(), ..Default::default() };
        assert!(options.problems()[0].starts_with("telemetry.log_filter"));
    }
}
