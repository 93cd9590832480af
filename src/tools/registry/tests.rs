//! What every tool of the registry promises to clients.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tempfile::TempDir;
use ultimate_mcp_actors::cache::CacheOptions;
use ultimate_mcp_actors::graph::GraphOptions;
use ultimate_mcp_actors::supervision::{SupervisionOptions, Supervisor};

use super::*;
use crate::error::ApiError;
use crate::tools::artifacts::ArtifactOptions;
use crate::tools::cell::fake::{FakeCell, report};
use crate::tools::memo::fake::FakeMemo;

/// The nine permissions of `config/policy.toml`.
const PERMISSIONS: [&str; 9] = [
    "tools:read",
    "tools:lint",
    "graph:query",
    "tools:execute",
    "tools:test",
    "tools:generate",
    "graph:upsert",
    "graph:delete",
    "system:admin",
];

struct Bench {
    registry: Registry,
    _root: Supervisor,
    _folder: TempDir,
}

/// All tools but with a cell that answers by itself.
async fn bench() -> Bench {
    let folder = TempDir::new().unwrap();
    let policy = SupervisionOptions::default().policy("root");
    let (root, _exit) = Supervisor::root("root", policy, Arc::new(|_| {})).unwrap();
    let path = folder.path().join("graph.mars");
    let graph = GraphHandle::start(&root, &path, GraphOptions::default()).await.unwrap();
    let cache = CacheHandle::start(&root, CacheOptions::default(), None).await.unwrap();
    let artifacts = ArtifactStore::open_in(
        folder.path(),
        crate::tools::testing::node(),
        ArtifactOptions::default(),
    )
    .unwrap();
    let cell: Arc<dyn Cell> = Arc::new(FakeCell::new(|_| Ok(report(0, "[]"))));
    let sandboxes = crate::tools::testing::sandboxes(&root).await;
    let jobs = crate::tools::jobs::testing::queue(&root, folder.path()).await;
    let parts = Parts {
        cell,
        sandboxes,
        memo: Arc::new(FakeMemo::default()),
        renderer: Arc::new(Worker::default()),
        graph,
        jobs,
        results: GraphCache::new(cache),
        artifacts,
        steps: Arc::new(crate::workflow::EngineSteps::default()),
        templates: load_templates(None).unwrap(),
        prompts: Arc::new(Prompts::load(None).unwrap()),
    };
    Bench { registry: Registry::of(parts).unwrap(), _root: root, _folder: folder }
}

/// Every object schema at any depth: its path, and the schema.
fn objects(path: &str, schema: &Value, found: &mut Vec<(String, Value)>) {
    if schema["type"] == "object" && schema["properties"].is_object() {
        found.push((path.to_owned(), schema.clone()));
    }
    match schema {
        Value::Object(map) => {
            map.iter().for_each(|(key, inner)| objects(&format!("{path}/{key}"), inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| objects(path, inner, found)),
        _ => {}
    }
}

#[actix_rt::test]
async fn every_tool_is_there_by_name_in_one_order() {
    let bench = bench().await;
    let names: Vec<_> = bench.registry.descriptors().map(|tool| tool.name).collect();
    let mut expected = vec![
        "dead_letters",
        "execute_code",
        "generate_code",
        "get_prompt",
        "graph_delete",
        "graph_query",
        "graph_upsert",
        "job_cancel",
        "job_result",
        "job_status",
        "lint_code",
        "lint_code.v2",
        "list_prompts",
        "run_tests",
        "run_tests_async",
        "sandbox_close",
        "sandbox_create",
        "sandbox_execute",
        "sandbox_list",
        "sandbox_list_files",
        "sandbox_read_file",
        "sandbox_write_files",
        "workflow_run",
        "workflow_status",
    ];
    if cfg!(feature = "bench") {
        expected.insert(0, "add");
    }
    assert_eq!(names, expected);
    assert!(bench.registry.get("execute_code").is_some());
    assert!(bench.registry.get("Execute_Code").is_none() && bench.registry.get("").is_none());
}

#[test]
fn a_name_cannot_be_taken_twice() {
    let list = || {
        let prompts = Arc::new(Prompts::load(None).unwrap());
        boxed(ListPrompts::new(prompts))
    };
    let error = Registry::new(vec![list(), list()]).err().unwrap();
    assert_eq!(error, "two tools are called list_prompts");
}

#[actix_rt::test]
async fn versions_of_a_tool_differ_in_their_answer_only_and_the_policy_may_name_each() {
    let bench = bench().await;
    let registry = &bench.registry;
    let mut newest: BTreeMap<&str, u16> = BTreeMap::new();
    for (name, version, tool) in registry.editions() {
        let plain = registry.get(name).unwrap().descriptor();
        assert_eq!((tool.permission, tool.effects), (plain.permission, plain.effects), "{name}");
        assert_eq!(tool.event_type, plain.event_type, "{name}");
        let deprecated = tool.edition.deprecated;
        if let Some(deprecated) = deprecated {
            let day = |text: &str| text.parse::<chrono::NaiveDate>().unwrap();
            let left = day(deprecated.removal) - day(deprecated.since);
            assert!(left.num_days() >= 180, "{name}: {left} to change over");
            assert!(registry.get(deprecated.successor).is_some(), "{name}");
        }
        let best = newest.entry(name).or_default();
        *best = version.max(*best);
    }
    let known: BTreeMap<&str, u16> = crate::tools::VERSIONS.into_iter().collect();
    assert_eq!(newest, known);
    let meant = |pin: Option<u16>| registry.meant("lint_code", || pin).map(|t| t.descriptor().name);
    assert_eq!(meant(None), Some("lint_code"));
    assert_eq!((meant(Some(1)), meant(Some(2))), (Some("lint_code"), Some("lint_code.v2")));
    assert_eq!(meant(Some(3)), None);
    let other = registry.meant("execute_code", || Some(2)).map(|tool| tool.descriptor().name);
    assert_eq!(other, Some("execute_code"), "only tools with versions are looked up");
}

#[actix_rt::test]
async fn every_tool_says_what_it_is_in_full() {
    let bench = bench().await;
    for tool in bench.registry.descriptors() {
        let ToolDescriptor { name, description, .. } = tool;
        assert!(PERMISSIONS.contains(&tool.permission), "{name}: {}", tool.permission);
        assert!(!tool.title.is_empty(), "{name}");
        let (text, _) = description.split_once("Example: {").unwrap_or_else(|| panic!("{name}"));
        // Two spaces are what a broken line continuation leaves.
        assert!(text.len() > 40 && !text.contains("  "), "{name}: {text}");
        // A tool that changes nothing says so, and only such a tool.
        let quiet = tool.annotations.read_only_hint && !tool.annotations.destructive_hint;
        let expected = tool.effects == crate::tools::Effects::None;
        assert_eq!(quiet, expected, "{name}: hints and effects disagree");
    }
}

#[actix_rt::test]
async fn every_schema_is_a_plain_object_schema_with_every_field_described() {
    let bench = bench().await;
    for tool in bench.registry.descriptors() {
        for (side, schema) in [("input", &tool.input_schema), ("output", &tool.output_schema)] {
            let at = format!("{} {side}", tool.name);
            assert_eq!(schema["type"], "object", "{at}: {schema}");
            let text = schema.to_string();
            assert!(!text.contains("$ref") && !text.contains("$defs"), "{at} has references");
            assert!(text.len() < 20_000, "{at} is {} bytes", text.len());
            let mut found = Vec::new();
            objects("", schema, &mut found);
            // Only a tool without arguments has none.
            let none = side == "input" && schema["additionalProperties"] == Value::Bool(false);
            assert!(!found.is_empty() || none, "{at} has no properties");
            for (path, object) in found {
                for (field, property) in object["properties"].as_object().unwrap() {
                    let described = property["description"].is_string();
                    assert!(described, "{at}{path}: {field} is not described: {property}");
                }
                if side == "input" {
                    let closed = object["additionalProperties"] == Value::Bool(false);
                    assert!(closed, "{at}{path} takes unknown fields");
                }
            }
        }
    }
}

#[actix_rt::test]
async fn the_example_of_every_description_is_a_call_that_works() {
    let bench = bench().await;
    // In this order: what is queried and deleted was written before. Rendering needs the real binary.
    for name in [
        "graph_upsert",
        "graph_query",
        "graph_delete",
        "execute_code",
        "run_tests",
        "run_tests_async",
        "lint_code",
        "lint_code.v2",
        "list_prompts",
        "get_prompt",
        "sandbox_list",
        "dead_letters",
    ] {
        let tool = bench.registry.get(name).unwrap();
        let description = &tool.descriptor().description;
        let start = description.find("Example: ").unwrap() + "Example: ".len();
        let mut values = serde_json::Deserializer::from_str(&description[start..]).into_iter();
        let arguments: Value = values.next().unwrap().unwrap();
        let result: Result<_, ApiError> = crate::tools::testing::call(tool, arguments).await;
        let output = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(!output.is_error, "{name}");
        conforms(name, &tool.descriptor().output_schema, output.structured.get());
    }
}

/// The result has the fields its schema requires and none it does not know.
fn conforms(name: &str, schema: &Value, structured: &str) {
    let result: Value = serde_json::from_str(structured).unwrap();
    let fields: BTreeSet<_> = result.as_object().unwrap().keys().cloned().collect();
    let known: BTreeSet<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    let none = Vec::new();
    let required = schema["required"].as_array().unwrap_or(&none).iter();
    let required: BTreeSet<_> = required.map(|field| field.as_str().unwrap().to_owned()).collect();
    assert!(fields.is_subset(&known), "{name}: {fields:?} beyond {known:?}");
    assert!(required.is_subset(&fields), "{name}: {required:?} not in {fields:?}");
}
