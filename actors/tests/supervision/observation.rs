//! What the outside hears of a crash.

use std::sync::{Arc, Mutex};

use ultimate_mcp_actors::supervision::{Event, EventKind, Observer, Supervisor};

use crate::support::*;

fn recorder() -> (Arc<Mutex<Vec<Event>>>, Observer) {
    let events = Arc::<Mutex<Vec<Event>>>::default();
    let record = Arc::clone(&events);
    (events, Arc::new(move |event| record.lock().unwrap().push(event.clone())))
}

#[actix_rt::test]
async fn an_observer_hears_of_every_crash_with_its_child_text_and_time() {
    let (events, observer) = recorder();
    let before = chrono::Utc::now();
    let (root, _exit) = Supervisor::root("root", quick(), observer).unwrap();
    let child = root.spawn(worker("worker")).await.unwrap();
    crash(&child).await;
    until("both events", || events.lock().unwrap().len() == 2).await;
    let events = events.lock().unwrap().clone();
    assert!(events.iter().all(|event| &*event.name == "worker" && event.at >= before));
    assert_eq!(events[0].kind, EventKind::Crashed);
    assert!(events[0].text.starts_with("handler failed"));
    assert_eq!(events[1].kind, EventKind::Restarting { delay_ms: 1 });
}

#[actix_rt::test]
async fn an_observer_that_panics_harms_nobody() {
    let (root, _exit) =
        Supervisor::root("root", quick(), Arc::new(|_| panic!("observer failed"))).unwrap();
    let child = root.spawn(worker("worker")).await.unwrap();
    for _ in 0..3 {
        crash(&child).await;
        assert_eq!(child.ask(Add(1), soon()).await.unwrap(), 1);
    }
}
