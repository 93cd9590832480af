//! Elastic Common Schema 8.11: one JSON object a line, taken in by ELK as it is.
//!
//! Fields whose names are ECS names go to the top (`trace.id`, `user.id`, `http.request.id`, …); all
//! others become `labels`. An event inherits the fields of the spans around it; the nearest wins.

use std::fmt;

use chrono::{SecondsFormat, Utc};
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::SERVICE_NAME;
use super::fields::Fields;

/// The version of the schema the names come from.
const ECS_VERSION: &str = "8.11.0";

/// First words of ECS field names that our code uses (elastic/ecs 8.11, field sets).
const FIELD_SETS: [&str; 9] =
    ["client.", "error.", "event.", "http.", "span.", "trace.", "url.", "user.", "user_agent."];

/// Formats events as ECS JSON.
pub struct Ecs {
    /// `service.environment`.
    pub environment: String,
    /// `service.node.name`.
    pub node: String,
}

impl<S, N> FormatEvent<S, N> for Ecs
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields
                    .0
                    .extend(of_span.0.iter().map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        event.record(&mut fields);
        let line = self.line(event, fields.0);
        writeln!(writer, "{}", Value::Object(line))
    }
}

impl Ecs {
    fn line(&self, event: &Event<'_>, mut fields: Map<String, Value>) -> Map<String, Value> {
        let metadata = event.metadata();
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        let level = metadata.level().as_str().to_ascii_lowercase();
        let message = fields.remove("message").unwrap_or_else(|| metadata.name().into());
        let mut line = Map::new();
        line.insert("@timestamp".into(), now.into());
        line.insert("log.level".into(), level.into());
        line.insert("message".into(), message);
        line.insert("ecs.version".into(), ECS_VERSION.into());
        line.insert("service.name".into(), SERVICE_NAME.into());
        line.insert("service.environment".into(), self.environment.as_str().into());
        line.insert("service.node.name".into(), self.node.as_str().into());
        line.insert("log.logger".into(), metadata.target().into());
        line.insert("process.pid".into(), std::process::id().into());
        if let Some(error) = fields.remove("error") {
            line.insert("error.message".into(), error);
        }
        let mut labels = Map::new();
        for (name, value) in fields {
            if FIELD_SETS.iter().any(|set| name.starts_with(set)) {
                line.insert(name, value);
            } else {
                labels.insert(name, value);
            }
        }
        if !labels.is_empty() {
            line.insert("labels".into(), labels.into());
        }
        line
    }
}
