//! Telemetry: log lines (ECS JSON on stdout, for `stdio` on stderr), metrics (OpenTelemetry, scraped as Prometheus text), and
//! the caller's trace context.
//!
//! `main` calls [`init`] once, before the engine starts, and keeps the [`Telemetry`] to the end: dropping
//! it flushes the log. Nothing here may fail a call: a full log buffer drops lines and counts them.

mod ecs;
mod fields;
mod logging;
mod metrics;
mod options;
mod traceparent;

pub use logging::{LogControl, LogTo};
pub use metrics::{METER_NAME, Metrics};
pub use options::TelemetryOptions;
pub use traceparent::TraceParent;
use tracing_appender::non_blocking::WorkerGuard;

/// `service.name` in logs and metrics.
pub const SERVICE_NAME: &str = "ultimate-mcp";

/// Why telemetry could not start, or why a filter was not taken.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("the log filter is invalid; write it like \"info,ultimate_mcp=debug\"")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Another subscriber is installed already.
    #[error("a log subscriber is already installed")]
    Installed(#[source] tracing_subscriber::util::TryInitError),
    /// The subscriber is gone.
    #[error("the log filter can no longer be changed")]
    Gone(#[source] tracing_subscriber::reload::Error),
    /// The metrics exporter could not be registered.
    #[error("the metrics exporter could not be registered")]
    Metrics(#[source] opentelemetry_sdk::error::OTelSdkError),
}

/// Telemetry in operation; keep it until the process ends.
pub struct Telemetry {
    /// The instruments.
    pub metrics: Metrics,
    /// Changes the log filter while running.
    pub log: LogControl,
    _flush: WorkerGuard,
}

/// Starts logging and metrics for the whole process; `node` stands in every line of the log, which goes `to`.
///
/// # Errors
/// The filter is invalid, or telemetry was started before.
pub fn init(
    options: &TelemetryOptions,
    node: &str,
    to: LogTo,
) -> Result<Telemetry, TelemetryError> {
    let metrics = Metrics::install()?;
    let (log, flush) = logging::start(options, node, to)?;
    Ok(Telemetry { metrics, log, _flush: flush })
}
