//! What is counted about tools and the engine; the names are contract for dashboards.
//!
//! Instruments are OpenTelemetry's, scraped as Prometheus text. Labels are bounded: tool names come from
//! the registry, statuses and reasons from enums.

mod observed;

use std::time::Duration;

use opentelemetry::metrics::{Counter, Histogram};
use opentelemetry::{KeyValue, global};

use crate::error::{ApiError, Code};
use crate::telemetry::{METER_NAME, Metrics};

/// Upper bounds of the duration buckets, in seconds.
const SECONDS: [f64; 13] =
    [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The instruments of the face.
pub struct Instruments {
    metrics: Metrics,
    executions: Counter<u64>,
    duration: Histogram<f64>,
    errors: Counter<u64>,
    auth_failures: Counter<u64>,
    forwards: Counter<u64>,
}

impl Instruments {
    /// Makes the instruments; `metrics` must be installed.
    pub fn new(metrics: Metrics) -> Self {
        let meter = global::meter(METER_NAME);
        Self {
            metrics,
            executions: meter
                .u64_counter("tool_executions")
                .with_description("calls of tools that were admitted, by how they ended")
                .build(),
            duration: meter
                .f64_histogram("tool_execution_duration_seconds")
                .with_description("from admission to the result, in seconds")
                .with_boundaries(SECONDS.to_vec())
                .build(),
            errors: meter
                .u64_counter("errors")
                .with_description("calls of tools that ended in an error, by its code")
                .build(),
            auth_failures: meter
                .u64_counter("auth_failures")
                .with_description("requests without a valid token, by reason")
                .build(),
            forwards: meter
                .u64_counter("node_forwards")
                .with_description("calls sent on to the node they belong to, by how they ended")
                .build(),
        }
    }

    /// An admitted call ended.
    pub fn tool_finished(&self, tool: &'static str, status: &'static str, took: Duration) {
        let name = KeyValue::new("tool_name", tool);
        self.duration.record(took.as_secs_f64(), std::slice::from_ref(&name));
        self.executions.add(1, &[name, KeyValue::new("status", status)]);
        if status != "ok" {
            self.errors.add(1, &[KeyValue::new("type", status)]);
        }
    }

    /// A call was sent on to another node and came back.
    pub fn forwarded(&self, status: &'static str) {
        self.forwards.add(1, &[KeyValue::new("status", status)]);
    }

    /// A request had no valid token.
    pub fn auth_failed(&self, reason: &'static str) {
        self.auth_failures.add(1, &[KeyValue::new("reason", reason)]);
    }

    /// Everything counted so far, as Prometheus text.
    ///
    /// # Errors
    /// A metric cannot be encoded: a mistake of ours.
    pub fn render(&self) -> Result<String, ApiError> {
        self.metrics.render().map_err(|error| {
            ApiError::new(Code::Internal, "the metrics could not be encoded").caused_by(error)
        })
    }
}
