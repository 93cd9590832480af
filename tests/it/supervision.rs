//! The supervision tree as an administrator sees it.

use crate::app::TestApp;

#[actix_web::test]
async fn the_tree_is_complete_and_everything_in_it_runs() {
    let app = TestApp::start();
    let admin = app.token("root", "admin");
    let answer = app.send("GET", "/api/v1/supervision", Some(&admin), &[], None).await;
    let root = answer.body;
    assert_eq!((root["name"].as_str(), root["kind"].as_str()), (Some("root"), Some("supervisor")));
    assert!(root["policy"]["max_restarts"].is_u64() && root["policy"]["strategy"].is_string());
    let children = root["children"].as_array().unwrap();
    let names: Vec<_> = children.iter().map(|child| child["name"].as_str().unwrap()).collect();
    let expected = [
        "audit",
        "authorization",
        "cache",
        "graph",
        "sessions-0",
        "sessions-1",
        "sessions-2",
        "sessions-3",
        "idempotency",
        "execution",
        "sandboxes",
        "jobs",
    ];
    assert_eq!(names, expected);
    for node in children.iter().chain([&root]) {
        assert_eq!(node["state"], "running", "{node}");
        let faults = ["restarts", "panics", "stalls", "stuck_threads"].map(|key| &node[key]);
        assert!(faults.iter().all(|count| **count == 0), "{node}");
    }
    for child in children {
        assert_eq!(child["kind"], "actor", "{child}");
        assert!(child["mailbox"]["capacity"].as_u64() > Some(0), "{child}");
        assert_eq!(child["mailbox"]["lost"], 0, "{child}");
        assert!(child.get("last_failure").is_none(), "{child}");
    }
    let metrics = app.send("GET", "/metrics", Some(&admin), &[], None).await;
    let text = String::from_utf8(metrics.bytes).unwrap();
    for name in expected {
        assert!(text.contains(&format!("actor_restarts{{actor=\"{name}\"}} 0")), "{name}\n{text}");
    }
}
