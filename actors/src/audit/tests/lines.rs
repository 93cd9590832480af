//! What reaches standard output.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::audit::lines::write_line;
use crate::audit::prepared::Prepared;
use crate::audit::{EventType, NewEvent, Phase};
use crate::testing::caller;

#[derive(Clone, Default)]
struct Capture(Arc<Mutex<BTreeMap<String, String>>>);

impl Visit for Capture {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.lock().unwrap().insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.lock().unwrap().insert(field.name().to_owned(), value.to_owned());
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "audit"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn a_line_has_the_common_schema_s_names_and_leaves_out_what_is_absent() {
    let mut event = NewEvent::new(EventType::CodeLint, Phase::Outcome, "tools/call");
    event.user_id = Some(caller("ada"));
    event.ip_address = Some([127, 0, 0, 1].into());
    event.success = Some(false);
    event.duration_ms = Some(1.5);
    event.error_message = Some("line one\nline two".into());
    event.details.insert("lines".into(), 3.into());
    let capture = Capture::default();
    tracing::subscriber::with_default(capture.clone(), || {
        write_line(&Prepared::new(&event), 7, &[0xAB; 32]);
    });
    let fields = capture.0.lock().unwrap();
    for (name, value) in [
        ("event.action", "code_lint"),
        ("event.outcome", "failure"),
        ("event.sequence", "7"),
        ("event.duration", "1500000"),
        ("user.id", "ada"),
        ("client.ip", "127.0.0.1"),
        ("error.message", "line one\nline two"),
        ("labels.details", r#"{"lines":3}"#),
        ("message", "tools/call"),
    ] {
        assert_eq!(fields.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(fields["event.hash"], "ab".repeat(32));
    assert!(!fields.contains_key("trace.id") && !fields.contains_key("labels.tool"));
}
