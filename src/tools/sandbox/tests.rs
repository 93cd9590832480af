//! The sandbox tools where no launcher runs: what they refuse before anything is asked of the cell. What
//! they do is tested through the whole server, in `tests/it/sandboxes.rs`.

use std::sync::Arc;

use serde_json::json;
use ultimate_mcp_actors::supervision::{SupervisionOptions, Supervisor};

use super::*;
use crate::tools::artifacts::ArtifactOptions;
use crate::tools::testing::{call, refusal};

struct Bench {
    tools: Vec<Box<dyn Tool>>,
    _root: Supervisor,
    _folder: tempfile::TempDir,
}

impl Bench {
    fn tool(&self, name: &str) -> &dyn Tool {
        &**self.tools.iter().find(|tool| tool.descriptor().name == name).unwrap()
    }
}

async fn bench() -> Bench {
    let policy = SupervisionOptions::default().policy("root");
    let (root, _exit) = Supervisor::root("root", policy, Arc::new(|_| {})).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let artifacts = ArtifactStore::open_in(
        folder.path(),
        crate::tools::testing::node(),
        ArtifactOptions::default(),
    )
    .unwrap();
    let sandboxes = crate::tools::testing::sandboxes(&root).await;
    Bench { tools: tools(sandboxes, artifacts), _root: root, _folder: folder }
}

const ID: &str = "sbx_here_01890a5d-ac96-774b-bcce-b302099a8057";

#[actix_rt::test]
async fn bad_input_names_the_field_and_what_is_allowed() {
    let bench = bench().await;
    let wrong_id = "sandbox_id: must be a sandbox_id as sandbox_create returned it \
                    (sbx_<node>_<uuid>)";
    let table = [
        ("sandbox_create", json!({}), "arguments: missing field `language`"),
        (
            "sandbox_create",
            json!({ "language": "bash" }),
            "language: unknown variant `bash`, expected `python`",
        ),
        (
            "sandbox_create",
            json!({ "language": "python", "ttl_seconds": 20_000 }),
            "ttl_seconds: is 20000; at most 14400 here",
        ),
        (
            "sandbox_create",
            json!({ "language": "python", "limits": { "memory_mb": 4000 } }),
            "limits.memory_mb: is 4000; your roles allow at most 1024",
        ),
        (
            "sandbox_create",
            json!({ "language": "python", "fork_of": ID }),
            "fork_of: unknown field `fork_of`, expected one of `language`, `limits`, `ttl_seconds`",
        ),
        ("sandbox_execute", json!({ "sandbox_id": "x", "code": "1" }), wrong_id),
        (
            "sandbox_execute",
            json!({ "sandbox_id": ID, "code": "" }),
            "code: length must be at least 1",
        ),
        (
            "sandbox_execute",
            json!({ "sandbox_id": ID, "code": "1", "timeout_seconds": 61 }),
            "timeout_seconds: must be at most 60",
        ),
        (
            "sandbox_write_files",
            json!({ "sandbox_id": ID, "files": [{ "path": "../x", "content": "" }] }),
            "files[0].path: must not contain empty parts, . or ..",
        ),
        (
            "sandbox_write_files",
            json!({ "sandbox_id": ID, "files": [] }),
            "files: length must be at least 1",
        ),
        ("sandbox_read_file", json!({ "sandbox_id": "sbx_../x", "path": "a" }), wrong_id),
        ("sandbox_list_files", json!({ "sandbox_id": "art_here_x" }), wrong_id),
        ("sandbox_close", json!({ "sandbox_id": "" }), "sandbox_id: length must be at least 1"),
        ("sandbox_list", json!({ "all": true }), "all: unknown field `all`, there are no fields"),
    ];
    for (name, arguments, expected) in table {
        assert_eq!(refusal(bench.tool(name), arguments).await, expected, "{name}");
    }
}

#[actix_rt::test]
async fn a_sandbox_that_is_not_there_is_not_found_by_any_tool() {
    let bench = bench().await;
    for (name, arguments) in [
        ("sandbox_execute", json!({ "sandbox_id": ID, "code": "1" })),
        (
            "sandbox_write_files",
            json!({ "sandbox_id": ID, "files": [{ "path": "a", "content": "" }] }),
        ),
        ("sandbox_read_file", json!({ "sandbox_id": ID, "path": "a" })),
        ("sandbox_list_files", json!({ "sandbox_id": ID })),
        ("sandbox_close", json!({ "sandbox_id": ID })),
    ] {
        let error = call(bench.tool(name), arguments.clone()).await.unwrap_err();
        assert_eq!(error.code.slug(), "not_found", "{name}: {error}");
        let elsewhere = arguments.to_string().replace("sbx_here", "sbx_there");
        let elsewhere = serde_json::from_str(&elsewhere).unwrap();
        let error = call(bench.tool(name), elsewhere).await.unwrap_err();
        assert_eq!(error.code.slug(), "not_found", "{name}: {error}");
    }
}

#[actix_rt::test]
async fn every_tool_that_names_a_sandbox_can_be_sent_to_its_node() {
    let bench = bench().await;
    for tool in &bench.tools {
        let names_one = tool.descriptor().input_schema["properties"]["sandbox_id"].is_object();
        let argument = tool.handle_argument();
        assert_eq!(argument, names_one.then_some("sandbox_id"), "{}", tool.descriptor().name);
    }
}
