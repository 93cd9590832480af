//! Elastic Common Schema 8.11: one JSON object a line, taken in by ELK as it is.
//!
//! Fields whose names are ECS names go to the top (`trace.id`, `user.id`, `http.request.id`, …); all
//! others become `labels`. An event inherits the fields of the spans around it; the nearest wins.

use std::fmt;

use chrono::{SecondsFormat, Utc};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing::{Event, Level, Metadata, Subscriber};
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

/// The field that tracing puts an event's text into.
const MESSAGE: &str = "message";
/// The field that our code puts the cause into.
const ERROR: &str = "error";

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
                of_span.iter().for_each(|(name, value)| fields.set(name, value.clone()));
            }
        }
        event.record(&mut fields);
        let line = Line { ecs: self, metadata: event.metadata(), fields: &fields };
        let line = serde_json::to_string(&line).map_err(|_| fmt::Error)?;
        writer.write_str(&line)?;
        writer.write_char('\n')
    }
}

/// One line; written as it is read, nothing is built up before.
struct Line<'a> {
    ecs: &'a Ecs,
    metadata: &'static Metadata<'static>,
    fields: &'a Fields,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { ecs, metadata, fields } = self;
        let mut line = serializer.serialize_map(None)?;
        let now = Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true);
        line.serialize_entry("@timestamp", &now)?;
        line.serialize_entry("log.level", level(*metadata.level()))?;
        match fields.get(MESSAGE) {
            Some(message) => line.serialize_entry(MESSAGE, message)?,
            None => line.serialize_entry(MESSAGE, metadata.name())?,
        }
        line.serialize_entry("ecs.version", ECS_VERSION)?;
        line.serialize_entry("service.name", SERVICE_NAME)?;
        line.serialize_entry("service.environment", &ecs.environment)?;
        line.serialize_entry("service.node.name", &ecs.node)?;
        line.serialize_entry("log.logger", metadata.target())?;
        line.serialize_entry("process.pid", &std::process::id())?;
        if let Some(error) = fields.get(ERROR)
            && fields.get("error.message").is_none()
        {
            line.serialize_entry("error.message", error)?;
        }
        for (name, value) in fields.iter().filter(|(name, _)| place(name) == Place::Top) {
            line.serialize_entry(name, value)?;
        }
        let labels = Labels(fields);
        if labels.all().next().is_some() {
            line.serialize_entry("labels", &labels)?;
        }
        line.end()
    }
}

/// The fields that the schema has no name for.
struct Labels<'a>(&'a Fields);

impl Labels<'_> {
    fn all(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().filter(|(name, _)| place(name) == Place::Label)
    }
}

impl Serialize for Labels<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.all())
    }
}

/// Where in the line a field stands.
#[derive(PartialEq, Eq)]
enum Place {
    Top,
    Label,
    /// It has a line's own field.
    Renamed,
}

fn place(name: &str) -> Place {
    match name {
        MESSAGE | ERROR => Place::Renamed,
        _ if FIELD_SETS.iter().any(|set| name.starts_with(set)) => Place::Top,
        _ => Place::Label,
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}
