//! The panic hook. A process of its own: the hook and the subscriber belong to the whole process.
#![allow(clippy::unwrap_used, reason = "a failed unwrap in a test is a failed test")]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::*;
use ultimate_mcp_actors::deadline::Deadline;
use ultimate_mcp_actors::supervision::{
    ChildSpec, PolicyOptions, Supervisor, install_panic_hook, unobserved,
};

#[derive(Message)]
#[rtype(result = "()")]
struct Boom;

struct Fragile;

impl Actor for Fragile {
    type Context = Context<Self>;
}

impl Supervised for Fragile {}

impl Handler<Boom> for Fragile {
    type Result = ();
    fn handle(&mut self, _: Boom, _: &mut Context<Self>) {
        panic!("a very particular text");
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[actix_rt::test]
async fn a_panic_is_logged_once_with_its_child_and_place() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt().json().with_writer(move || writer.clone()).init();
    install_panic_hook();
    let (root, _exit) = Supervisor::root("root", PolicyOptions::default(), unobserved()).unwrap();
    let child = root.spawn(ChildSpec::new("fragile", 8, || Fragile)).await.unwrap();
    child.ask(Boom, Deadline::after(Duration::from_secs(20))).await.unwrap_err();
    let failure = root.tree().snapshot().find("fragile").unwrap().last_failure.clone().unwrap();
    assert!(failure.text.contains("a very particular text (") && failure.text.contains(".rs:"));

    let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let telling: Vec<_> =
        written.lines().filter(|line| line.contains("a very particular text")).collect();
    assert_eq!(telling.len(), 1, "{written}");
    let entry: serde_json::Value = serde_json::from_str(telling[0]).unwrap();
    assert_eq!((&entry["level"], &entry["fields"]["child"]), (&"ERROR".into(), &"fragile".into()));
    assert!(entry["fields"]["place"].as_str().unwrap().contains("panic_hook.rs:"));
}
