//! `execute_code` against a cell that answers from a function.

use serde_json::json;
use ultimate_mcp_sandbox::spec::{Artifact, Status};

use super::*;
use crate::tools::Typed;
use crate::tools::artifacts::ArtifactOptions;
use crate::tools::cell::fake::{FakeCell, report};
use crate::tools::testing::{call, refusal, result};

struct Bench {
    tool: Typed<ExecuteCode>,
    cell: Arc<FakeCell>,
    store: ArtifactStore,
    _folder: tempfile::TempDir,
    _root: ultimate_mcp_actors::supervision::Supervisor,
}

async fn bench(cell: FakeCell) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = ArtifactStore::open_in(
        folder.path(),
        crate::tools::testing::node(),
        ArtifactOptions::default(),
    )
    .unwrap();
    let cell = Arc::new(cell);
    let (root, _) = ultimate_mcp_actors::supervision::Supervisor::root(
        "root",
        ultimate_mcp_actors::supervision::SupervisionOptions::default().policy("root"),
        std::sync::Arc::new(|_| {}),
    )
    .unwrap();
    let jobs = crate::tools::jobs::testing::queue(&root, folder.path()).await;
    let tool = Typed::new(ExecuteCode::new(cell.clone(), store.clone(), jobs));
    Bench { tool, cell, store, _folder: folder, _root: root }
}

#[actix_rt::test]
async fn the_run_gets_code_files_stdin_and_limits_and_the_result_says_what_happened() {
    let bench = bench(FakeCell::new(|_| Ok(report(3, "hello\n")))).await;
    let said = result(
        &bench.tool,
        json!({
            "code": "print('hello')", "stdin": "in", "timeout_seconds": 2,
            "files": [{"path": "a/b.txt", "content": "text"}, {"path": "c.bin", "base64": "AP8="}],
            "limits": {"memory_mb": 100, "cpu": 0.5},
        }),
    )
    .await;
    assert_eq!(said["status"], "error");
    assert_eq!(said["return_code"], 3);
    assert_eq!(said["stdout"], "hello\n");
    assert_eq!(said["truncated"], json!({"stdout": false, "stderr": false}));
    assert_eq!(said["code_hash"], sha256_hex(b"print('hello')"));
    assert_eq!(said["isolation"]["class"], "native");
    let asked = &bench.cell.asked()[0];
    assert_eq!(asked.execution_id, said["execution_id"]);
    assert_eq!(asked.stdin, b"in");
    assert!(asked.files.iter().any(|f| f.path == "c.bin" && f.content == [0, 255]));
    assert_eq!(asked.limits.memory_bytes, 100 << 20);
    assert_eq!(asked.limits.cpu_milli, 500);
    assert_eq!(asked.limits.wall.as_secs(), 2);
}

#[actix_rt::test]
async fn artifacts_come_back_with_a_uri_that_only_the_caller_can_open() {
    let bench = bench(FakeCell::new(|_| {
        let content = b"a,b\n".to_vec();
        let sha256 = sha256_hex(&content);
        let artifacts = vec![Artifact { name: "table.csv".into(), sha256, content }];
        Ok(ultimate_mcp_sandbox::spec::RunReport { artifacts, ..report(0, "") })
    }))
    .await;
    let said = result(&bench.tool, json!({"code": "…"})).await;
    let artifact = &said["artifacts"][0];
    assert_eq!(artifact["name"], "table.csv");
    assert_eq!(artifact["size_bytes"], 4);
    let uri = artifact["uri"].as_str().unwrap();
    let handle = uri.strip_prefix(crate::tools::artifacts::URI_PREFIX).unwrap();
    let handle = ultimate_mcp_actors::node::Handle::parse("art", handle).unwrap();
    assert_eq!(handle.node, crate::tools::testing::node());
    let id = handle.id;
    let ada = ultimate_mcp_actors::ids::CallerId::parse("ada").unwrap();
    let eve = ultimate_mcp_actors::ids::CallerId::parse("eve").unwrap();
    assert_eq!(bench.store.open(&ada, id).unwrap().1, b"a,b\n");
    assert!(bench.store.open(&eve, id).is_err());
}

#[actix_rt::test]
async fn only_the_engines_own_failure_is_an_error_result() {
    for (status, is_error) in [
        (Status::Ok, false),
        (Status::Error, false),
        (Status::Timeout, false),
        (Status::Oom, false),
        (Status::SandboxError, true),
        (Status::Unsupported, true),
    ] {
        let bench = bench(FakeCell::new(move |_| {
            Ok(ultimate_mcp_sandbox::spec::RunReport { status, ..report(0, "") })
        }))
        .await;
        let output = call(&bench.tool, json!({"code": "x"})).await.unwrap();
        assert_eq!(output.is_error, is_error, "{status:?}");
    }
}

#[actix_rt::test]
async fn the_audit_gets_hashes_and_sizes_and_never_the_code() {
    let bench = bench(FakeCell::new(|_| Ok(report(0, "SECRET-OUT")))).await;
    let output = call(
        &bench.tool,
        json!({"code": "SECRET-CODE", "stdin": "SECRET-IN",
               "files": [{"path": "SECRET-NAME", "content": "SECRET-FILE"}]}),
    )
    .await
    .unwrap();
    let audit = serde_json::to_string(&output.audit).unwrap();
    assert!(!audit.contains("SECRET"), "{audit}");
    for fact in ["execution_id", "code_hash", "code_bytes", "status", "duration_seconds"] {
        assert!(output.audit.contains_key(fact), "{fact} is missing");
    }
}

#[actix_rt::test]
async fn bad_input_names_the_field_and_what_is_allowed() {
    let bench = bench(FakeCell::new(|_| panic!("bad input must not reach the cell"))).await;
    let long = "x".repeat(CODE_BYTES_MAX + 1);
    let many: Vec<_> = (0..65).map(|i| json!({"path": format!("f{i}"), "content": ""})).collect();
    let table = [
        (json!({}), "arguments: missing field `code`"),
        (json!({"code": ""}), "code: length must be at least 1"),
        (json!({"code": long}), "code: length must be at most 1048576"),
        (json!({"code": 1}), "code: invalid type: integer `1`, expected a string"),
        (
            json!({"code": "x", "language": "ruby"}),
            "language: unknown variant `ruby`, expected one of `python`, `javascript`, `bash`",
        ),
        (json!({"code": "x", "timeout_seconds": 0.1}), "timeout_seconds: must be at least 0.5"),
        (json!({"code": "x", "timeout_seconds": 61}), "timeout_seconds: must be at most 60"),
        (
            json!({"code": "x", "limits": {"memory_mb": 4000}}),
            "limits.memory_mb: is 4000; your roles allow at most 1024",
        ),
        (json!({"code": "x", "limits": {"memory_mb": 1}}), "limits.memory_mb: must be at least 16"),
        (
            json!({"code": "x", "limits": {"memory": 1}}),
            "limits.memory: unknown field `memory`, expected one of `memory_mb`, `pids`, \
             `output_kb`, `disk_mb`, `cpu`",
        ),
        (
            json!({"code": "x", "files": [{"path": "../up", "content": ""}]}),
            "files[0].path: must not contain empty parts, . or ..",
        ),
        (
            json!({"code": "x", "files": [{"path": "a", "content": "", "base64": ""}]}),
            "files[0]: must have content or base64, not both",
        ),
        (json!({"code": "x", "files": many}), "files: length must be at most 64"),
        (
            json!({"code": "x", "cwd": "/"}),
            "cwd: unknown field `cwd`, expected one of `code`, `language`, `stdin`, `files`, \
             `timeout_seconds`, `limits`, `async`, `idempotent`",
        ),
    ];
    for (arguments, expected) in table {
        assert_eq!(refusal(&bench.tool, arguments).await, expected);
    }
}

#[actix_rt::test]
async fn output_is_said_as_it_comes_in_whole_characters_and_the_result_has_it_all() {
    use crate::tools::events::{CallEvent, LogLevel, Wanted, channel};
    use crate::tools::testing::call_watched;
    let bench = bench(FakeCell::new(|_| Ok(report(0, "größer\n😀\n")))).await;
    let wanted = Wanted { progress: true, level: Some(LogLevel::Info) };
    let (sink, events) = channel(wanted).unwrap();
    let output = call_watched(&bench.tool, json!({"code": "x"}), Some(&sink)).await.unwrap();
    let said: Vec<_> = std::iter::from_fn(|| events.take()).collect();
    let texts = said.iter().filter_map(|event| match event {
        CallEvent::Log { logger: "stdout", text, .. } => Some(text.as_str()),
        _ => None,
    });
    assert_eq!(texts.collect::<String>(), "größer\n😀\n");
    assert!(said.iter().any(
        |event| matches!(event, CallEvent::Progress { message: Some(line), .. } if line == "😀")
    ));
    assert!(output.structured.get().contains("größer\\n😀\\n"));
}
