//! Every alarm of `deploy/alerts.yml` is about something a server really says, and has a page with a drill
//! that exists.

use std::collections::BTreeSet;
use std::path::Path;

use ultimate_mcp_testkit::{Redis, neo4j_exclusive};

use crate::app::TestApp;

/// Words of PromQL that are no metrics, and labels.
const WORDS: [&str; 12] = [
    "up",
    "or",
    "sum",
    "max",
    "delta",
    "rate",
    "job",
    "status",
    "overloaded",
    "m",
    "ultimate",
    "mcp",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The values of one key of the rules, in order.
fn values(key: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deploy/alerts.yml")).unwrap();
    let key = format!("{key}: ");
    let value =
        |line: &str| Some(line.trim().trim_start_matches("- ").strip_prefix(&*key)?.to_owned());
    text.lines().filter_map(value).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c| !word(c)).filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Every Rust file of the workspace, as one text.
fn sources(dir: &Path, into: &mut String) {
    for entry in std::fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "target" {
            sources(&path, into);
        } else if name.ends_with(".rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_alarm_has_a_page_whose_drills_exist_and_no_page_is_without_an_alarm() {
    let (alarms, pages) = (values("alert"), values("runbook"));
    assert_eq!(alarms.len(), pages.len(), "each alarm names its page");
    let named: BTreeSet<&str> = pages.iter().map(String::as_str).collect();
    let mut code = String::new();
    sources(root(), &mut code);
    for entry in std::fs::read_dir(root().join("docs/runbooks")).unwrap().map(Result::unwrap) {
        let name = format!("docs/runbooks/{}", entry.file_name().to_string_lossy());
        assert!(named.contains(name.as_str()), "{name} belongs to no alarm");
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let drills: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("Drill: `")?.split('`').next())
            .collect();
        assert!(!drills.is_empty(), "{name} has no drill");
        for drill in drills {
            check(drill, &code, &name);
        }
    }
    for page in &named {
        assert!(root().join(page).is_file(), "{page} is missing");
    }
}

/// A drill is a test that exists, scenarios that exist, or `make load`.
fn check(drill: &str, code: &str, page: &str) {
    let last = drill.split_whitespace().last().unwrap();
    let chaos = std::fs::read_to_string(root().join("docs/chaos.md")).unwrap();
    match drill.split_once("make chaos ARGS='") {
        Some((_, scenarios)) => {
            let names = scenarios.trim_end_matches('\'').split("--only ").filter(|n| !n.is_empty());
            for name in names.map(str::trim) {
                assert!(chaos.contains(&format!("`{name}`")), "{page}: no scenario {name}");
            }
        }
        None if drill == "make load" => {}
        None => {
            assert!(drill.starts_with("cargo test "), "{page}: {drill}");
            let found =
                code.contains(&format!("fn {last}(")) || code.contains(&format!("mod {last};"));
            assert!(found, "{page}: no test {last}");
        }
    }
}

#[actix_web::test]
async fn every_alarm_is_about_what_a_running_server_says() {
    let turn = neo4j_exclusive().await;
    let redis = Redis::start();
    let urls = serde_json::to_string(&[redis.url()]).unwrap();
    let app = TestApp::start_with(&[
        ("ULTIMATE_MCP__REDIS__URLS", urls.as_str()),
        ("ULTIMATE_MCP__NEO4J__URI", turn.server.uri.as_str()),
        ("ULTIMATE_MCP__NEO4J__PASSWORD", turn.server.password.as_str()),
    ]);
    let admin = app.token("root", "admin");
    let call = serde_json::json!({ "code": "print(1)" });
    assert_eq!(app.tool(&admin, "execute_code", call).await.status, 200);
    let metrics = app.send("GET", "/metrics", Some(&admin), &[], None).await;
    let text = String::from_utf8(metrics.bytes).unwrap();
    let said: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for rule in values("expr") {
        for name in words(&rule).filter(|word| !WORDS.contains(word)) {
            assert!(said.contains(name), "{name} of `{rule}` is not among {said:?}");
        }
    }
}
