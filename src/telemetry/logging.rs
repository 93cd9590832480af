//! The log: tracing events → ECS JSON → a bounded buffer → stdout or stderr, written by a thread of its own.

use std::sync::Arc;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, reload};

use super::TelemetryError;
use super::ecs::Ecs;
use super::fields::KeepSpanFields;
use super::options::TelemetryOptions;

/// Changes the log filter while running; cheap to clone.
#[derive(Clone)]
pub struct LogControl {
    filter: Arc<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>,
}

impl LogControl {
    /// Takes a new filter, e.g. `info,ultimate_mcp=debug`.
    ///
    /// # Errors
    /// The filter does not parse; the old one stays.
    pub fn set_filter(&self, filter: &str) -> Result<(), TelemetryError> {
        let filter = EnvFilter::try_new(filter).map_err(TelemetryError::Filter)?;
        (self.filter)(filter).map_err(TelemetryError::Gone)
    }
}

/// Where the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogTo {
    /// Standard output.
    Stdout,
    /// Standard error, where standard output is the protocol's.
    Stderr,
}

/// Installs the process's subscriber.
pub fn start(
    options: &TelemetryOptions,
    node: &str,
    to: LogTo,
) -> Result<(LogControl, WorkerGuard), TelemetryError> {
    let builder = NonBlockingBuilder::default()
        .buffered_lines_limit(options.log_lines_buffered_max)
        .lossy(true);
    let (writer, guard) = match to {
        LogTo::Stdout => builder.finish(std::io::stdout()),
        LogTo::Stderr => builder.finish(std::io::stderr()),
    };
    let (subscriber, control) = subscriber(options, node, writer)?;
    subscriber.try_init().map_err(TelemetryError::Installed)?;
    Ok((control, guard))
}

/// The subscriber with its filter, writing to `writer`.
fn subscriber<W>(
    options: &TelemetryOptions,
    node: &str,
    writer: W,
) -> Result<(impl SubscriberInitExt, LogControl), TelemetryError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(&options.log_filter).map_err(TelemetryError::Filter)?;
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(filter);
    let control = LogControl { filter: Arc::new(move |filter| handle.reload(filter)) };
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Ecs { environment: options.environment.clone(), node: node.to_owned() })
        .with_writer(writer);
    Ok((tracing_subscriber::registry().with(filter).with(KeepSpanFields).with(lines), control))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Mutex;

    use serde_json::Value;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        fn lines(&self) -> Vec<Value> {
            let bytes = self.0.lock().unwrap().clone();
            let text = String::from_utf8(bytes).unwrap();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        }
    }

    fn with_log(filter: &str, work: impl FnOnce(&LogControl)) -> Vec<Value> {
        let sink = Sink::default();
        let options = TelemetryOptions { log_filter: filter.into(), ..Default::default() };
        let to = sink.clone();
        let (subscriber, control) = subscriber(&options, "node-1", move || to.clone()).unwrap();
        tracing::dispatcher::with_default(&subscriber.into(), || work(&control));
        sink.lines()
    }

    #[test]
    fn a_line_is_ecs_and_carries_the_fields_of_its_spans() {
        let lines = with_log("info", |_| {
            let span =
                tracing::info_span!("call", trace.id = "4bf9", user.id = "ada", tool = "add");
            let _entered = span.enter();
            let cause = io::Error::other("disk \"full\"\nat sda");
            tracing::error!(error = &cause as &dyn std::error::Error, attempts = 3, "not written");
        });
        let line = &lines[0];
        assert_eq!(line["message"], "not written");
        assert_eq!(line["log.level"], "error");
        assert_eq!(line["ecs.version"], "8.11.0");
        assert_eq!(line["service.node.name"], "node-1");
        assert_eq!(line["trace.id"], "4bf9");
        assert_eq!(line["user.id"], "ada");
        assert_eq!(line["error.message"], "disk \"full\"\nat sda");
        assert_eq!(line["labels"], serde_json::json!({"tool": "add", "attempts": 3}));
        assert_eq!(lines.len(), 1);
    }

    #[test]
    fn a_field_stands_in_a_line_once_and_the_nearest_wins() {
        let sink = Sink::default();
        let options = TelemetryOptions { log_filter: "info".into(), ..Default::default() };
        let to = sink.clone();
        let (subscriber, _) = subscriber(&options, "node-1", move || to.clone()).unwrap();
        tracing::dispatcher::with_default(&subscriber.into(), || {
            let _outer = tracing::info_span!("outer", user.id = "ada", tool = "a").entered();
            let _inner = tracing::info_span!("inner", tool = "b", n = 1).entered();
            tracing::info!(n = 2, error = "cause", error.message = "said", "twice");
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        for name in ["user.id", "tool", "n", "error.message", "message"] {
            assert_eq!(text.matches(&format!("\"{name}\":")).count(), 1, "{name} in {text}");
        }
        let line = &sink.lines()[0];
        assert_eq!(line["error.message"], "said");
        assert_eq!(line["user.id"], "ada");
        assert_eq!(line["labels"], serde_json::json!({"tool": "b", "n": 2}));
    }

    #[test]
    fn the_filter_changes_while_running_and_a_bad_one_changes_nothing() {
        let lines = with_log("warn", |control| {
            tracing::info!("one");
            control.set_filter("info").unwrap();
            tracing::info!("two");
            assert!(matches!(control.set_filter("a=b=c"), Err(TelemetryError::Filter(_))));
            tracing::info!("three");
        });
        let messages: Vec<_> = lines.iter().map(|line| line["message"].as_str().unwrap()).collect();
        assert_eq!(messages, ["two", "three"]);
    }
}
