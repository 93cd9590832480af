//! One set of instruments (OpenTelemetry), scraped as Prometheus text.

use opentelemetry::global;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use prometheus::{Registry, TextEncoder};

use super::{SERVICE_NAME, TelemetryError};

/// The meter all parts take their instruments from: `global::meter(METER_NAME)`.
pub const METER_NAME: &str = "ultimate-mcp";

/// The meter provider and the registry it is scraped from; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    provider: SdkMeterProvider,
    registry: Registry,
}

impl Metrics {
    /// Builds the provider and makes it the global one. Call before anything takes an instrument:
    /// those taken earlier count nothing.
    ///
    /// # Errors
    /// The exporter could not be registered.
    pub fn install() -> Result<Self, TelemetryError> {
        let metrics = Self::new()?;
        global::set_meter_provider(metrics.provider.clone());
        Ok(metrics)
    }

    /// Builds a provider without installing it.
    ///
    /// # Errors
    /// The exporter could not be registered.
    pub fn new() -> Result<Self, TelemetryError> {
        let registry = Registry::new();
        let exporter = opentelemetry_prometheus::exporter()
            .with_registry(registry.clone())
            // One meter: its name on every line would say nothing.
            .scope_info_enabled(false)
            .build()
            .map_err(TelemetryError::Metrics)?;
        let resource = Resource::builder().with_service_name(SERVICE_NAME).build();
        let provider =
            SdkMeterProvider::builder().with_resource(resource).with_reader(exporter).build();
        Ok(Self { provider, registry })
    }

    /// The provider, for parts that must not use the global one (tests).
    pub fn provider(&self) -> &SdkMeterProvider {
        &self.provider
    }

    /// Everything counted so far, as Prometheus text.
    ///
    /// # Errors
    /// A metric cannot be encoded.
    pub fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;
    use opentelemetry::metrics::MeterProvider;

    use super::*;

    #[test]
    fn what_is_counted_is_scraped_under_the_name_dashboards_use() {
        let metrics = Metrics::new().unwrap();
        let counter = metrics.provider().meter(METER_NAME).u64_counter("http_requests").build();
        counter.add(3, &[KeyValue::new("status", 200)]);
        let text = metrics.render().unwrap();
        assert!(text.contains("http_requests_total{status=\"200\"} 3"), "{text}");
    }
}
