//! RED metrics of the HTTP border.
//!
//! Labels are bounded: methods from a fixed list, routes as registered (never the path), status codes.

use std::time::Duration;

use actix_web::http::Method;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use opentelemetry::{KeyValue, global};

use crate::telemetry::METER_NAME;

/// Bucket bounds of the duration, in seconds.
const BOUNDS_SECONDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Route label of requests that matched nothing.
const ROUTE_UNMATCHED: &str = "unmatched";

/// The instruments; cheap to clone.
#[derive(Clone, Debug)]
pub struct Instruments {
    requests: Counter<u64>,
    duration: Histogram<f64>,
}

impl Instruments {
    /// Instruments on the global meter: install the provider first.
    pub fn new() -> Self {
        Self::on(&global::meter(METER_NAME))
    }

    /// Instruments on this meter.
    pub fn on(meter: &Meter) -> Self {
        Self {
            requests: meter
                .u64_counter("http_requests")
                .with_description("requests answered")
                .build(),
            duration: meter
                .f64_histogram("http_request_duration")
                .with_unit("s")
                .with_description("time from the head of the request to the head of the answer")
                .with_boundaries(BOUNDS_SECONDS.to_vec())
                .build(),
        }
    }

    /// Counts one answer.
    pub fn record(&self, method: &'static str, route: Option<String>, status: u16, took: Duration) {
        let route = KeyValue::new(
            "route",
            route.map_or(opentelemetry::Value::from(ROUTE_UNMATCHED), opentelemetry::Value::from),
        );
        self.duration.record(took.as_secs_f64(), std::slice::from_ref(&route));
        let method = KeyValue::new("method", method);
        self.requests.add(1, &[method, route, KeyValue::new("status", i64::from(status))]);
    }
}

impl Default for Instruments {
    fn default() -> Self {
        Self::new()
    }
}

/// The method as a label; a client can invent method names, so unknown ones share one.
pub fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::metrics::MeterProvider;

    use super::*;
    use crate::telemetry::Metrics;

    #[test]
    fn an_answer_is_scraped_by_method_route_and_status() {
        let metrics = Metrics::new().unwrap();
        let instruments = Instruments::on(&metrics.provider().meter(METER_NAME));
        let took = Duration::from_millis(3);
        instruments.record("POST", Some("/mcp".to_owned()), 200, took);
        instruments.record("GET", None, 404, took);
        let text = metrics.render().unwrap();
        for line in [
            "http_requests_total{method=\"POST\",route=\"/mcp\",status=\"200\"} 1",
            "http_requests_total{method=\"GET\",route=\"unmatched\",status=\"404\"} 1",
            "http_request_duration_seconds_bucket{route=\"/mcp\",le=\"0.0025\"} 0",
            "http_request_duration_seconds_bucket{route=\"/mcp\",le=\"0.005\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }

    #[test]
    fn an_invented_method_does_not_become_a_label() {
        let invented = Method::from_bytes(b"INVENTED123").unwrap();
        assert_eq!(method_label(&invented), "other");
        assert_eq!(method_label(&Method::POST), "POST");
    }
}
