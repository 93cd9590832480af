//! The tools as clients meet them: the real binary, the real cell, the real template worker.
//!
//! ruff, pytest and oxlint come from `ULTIMATE_MCP__CELL__TOOLS_DIR`, which `make test` sets; without it
//! the tools must say that they are missing.

use std::path::Path;

use serde_json::{Value, json};

use crate::app::TestApp;

/// Calls a tool that must succeed; its structured result.
async fn result(app: &TestApp, token: &str, tool: &str, arguments: Value) -> Value {
    let answer = app.tool(token, tool, arguments.clone()).await;
    assert_eq!(answer.status, 200, "{tool} {arguments}: {:?}", answer.body);
    answer.body
}

/// Whether the operator's tools are installed for this test run.
fn installed(path: &str) -> bool {
    let folder = std::env::var_os("ULTIMATE_MCP__CELL__TOOLS_DIR").unwrap_or_default();
    Path::new(&folder).join(path).exists()
}

#[actix_rt::test]
async fn programs_run_and_every_way_to_end_has_its_status() {
    let app = TestApp::start();
    let token = app.token("ada", "developer");
    let table = [
        (json!({"code": "print(6 * 7)"}), "ok", Some(0), "42\n"),
        (json!({"code": "raise SystemExit(3)"}), "error", Some(3), ""),
        (json!({"code": "def f(:"}), "compile_error", Some(1), ""),
        (json!({"code": "console.log(1 + 1)", "language": "javascript"}), "ok", Some(0), "2\n"),
        (
            json!({"code": "read -r x; echo \"$x!\"", "language": "bash", "stdin": "hi\n"}),
            "ok",
            Some(0),
            "hi!\n",
        ),
        (
            json!({"code": "print('kept', flush=True)\nwhile True: pass", "timeout_seconds": 1}),
            "timeout",
            None,
            "kept\n",
        ),
        (json!({"code": "x = bytearray(500 << 20)", "limits": {"memory_mb": 64}}), "oom", None, ""),
        (
            json!({"code": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"}),
            "killed",
            None,
            "",
        ),
    ];
    for (arguments, status, return_code, stdout) in table {
        let said = result(&app, &token, "execute_code", arguments.clone()).await;
        assert_eq!(said["status"], status, "{arguments}: {said}");
        assert_eq!(said["return_code"], json!(return_code), "{arguments}: {said}");
        assert_eq!(said["stdout"], stdout, "{arguments}: {said}");
    }
    let flood = json!({"code": "while True: print('y' * 1000)", "limits": {"output_kb": 4}});
    let said = result(&app, &token, "execute_code", flood).await;
    assert_eq!(
        (&said["status"], &said["truncated"]["stdout"]),
        (&json!("output_limit"), &json!(true))
    );
    assert_eq!(said["stdout"].as_str().unwrap().len(), 4096);
}

#[actix_rt::test]
async fn files_go_in_and_artifacts_come_out_for_their_owner_only() {
    let app = TestApp::start();
    let token = app.token("ada", "developer");
    let code = "import os; os.makedirs('out', exist_ok=True)\n\
        open('out/copy.bin', 'wb').write(open('in/data.bin', 'rb').read() * 2)";
    let files = json!([{"path": "in/data.bin", "base64": "AP8="}]);
    let said = result(&app, &token, "execute_code", json!({"code": code, "files": files})).await;
    let artifact = &said["artifacts"][0];
    assert_eq!(
        (&artifact["name"], &artifact["size_bytes"]),
        (&json!("copy.bin"), &json!(4)),
        "{said}"
    );
    let uri = artifact["uri"].as_str().unwrap();
    let id = uri.strip_prefix("resource://ultimate-mcp/artifacts/").unwrap();
    let path = format!("/api/v1/artifacts/{id}");
    let own = app.send("GET", &path, Some(&token), &[], None).await;
    assert_eq!(own.status, 200, "{:?}", own.body);
    let other = app.token("eve", "developer");
    assert_eq!(app.send("GET", &path, Some(&other), &[], None).await.status, 404);
    assert_eq!(app.send("GET", &path, None, &[], None).await.status, 401);
}

#[actix_rt::test]
async fn sources_are_linted_in_the_cell() {
    let app = TestApp::start();
    let token = app.token("vic", "viewer");
    let table = [
        ("python", "import os\n", "ruff", "F401", installed("python/bin/ruff")),
        (
            "javascript",
            "debugger;\n",
            "oxlint",
            "eslint(no-debugger)",
            installed("node/node_modules/oxlint"),
        ),
        (
            "typescript",
            "const a: number = 1;\ndebugger;\n",
            "oxlint",
            "eslint(no-debugger)",
            installed("node/node_modules/oxlint"),
        ),
        (
            "bash",
            "#!/bin/bash\nrm -r $1\n",
            "shellcheck",
            "SC2086",
            Path::new("/usr/bin/shellcheck").exists(),
        ),
    ];
    for (language, code, linter, rule, available) in table {
        let said =
            result(&app, &token, "lint_code", json!({"code": code, "language": language})).await;
        assert_eq!(said["linter"]["name"], linter);
        assert_eq!(said["linter"]["available"], available, "{said}");
        let found = said["diagnostics"].as_array().unwrap().iter().any(|d| d["rule"] == rule);
        assert_eq!(found, available, "{language}: {said}");
        let version = said["linter"]["version"].is_string();
        let missing = said["notes"].to_string().contains("is not available here");
        assert_eq!((version, missing), (available, !available), "{said}");
    }
}

#[actix_rt::test]
async fn each_test_is_reported_also_of_a_run_that_is_cut() {
    let app = TestApp::start();
    let token = app.token("ada", "developer");
    let node = "import test from 'node:test'; import assert from 'node:assert';\n\
        test('good', () => {}); test('bad', () => assert.equal(1, 2));";
    let said =
        result(&app, &token, "run_tests", json!({"code": node, "test_framework": "node:test"}))
            .await;
    assert_eq!(
        said["counts"],
        json!({"passed": 1, "failed": 1, "skipped": 0, "errors": 0}),
        "{said}"
    );
    assert_eq!(said["status"], "error");
    let good = "import time, calc\ndef test_good(): assert calc.two == 2\n";
    let files = json!([{"path": "calc.py", "content": "two = 2"}]);
    let arguments = json!({"code": good, "files": files, "timeout_seconds": 20});
    let said = result(&app, &token, "run_tests", arguments).await;
    if !installed("python/pytest") {
        assert!(said["notes"].to_string().contains("pytest is not installed"), "{said}");
        return;
    }
    assert_eq!((&said["status"], &said["counts"]["passed"]), (&json!("ok"), &json!(1)), "{said}");
    let hangs = format!("{good}def test_hangs(): time.sleep(60)\n");
    let arguments = json!({"code": hangs, "files": files, "timeout_seconds": 5});
    let said = result(&app, &token, "run_tests", arguments).await;
    assert_eq!(said["status"], "timeout");
    assert_eq!(said["tests"][0]["outcome"], "passed", "{said}");
    assert_eq!(said["tests"][1]["outcome"], "unfinished", "{said}");
    let lies = "import os\ndef test_lies(): os._exit(0)\n";
    let said = result(&app, &token, "run_tests", json!({"code": lies})).await;
    assert!(said["notes"].to_string().contains("contradicts the exit code"), "{said}");
}

#[actix_rt::test]
async fn a_hostile_template_ends_its_worker_and_not_the_server() {
    let app = TestApp::start();
    let token = app.token("ada", "developer");
    let hostile = [
        // A cycle: printing it recurses for ever.
        "{% set ns = namespace(x=0) %}{% set ns.x = ns %}{{ ns }}".to_owned(),
        // A chain: compiling it recurses once per sign.
        format!("{{{{ {}1 }}}}", "-".repeat(120_000)),
        // A lazily repeated list: printing it takes gigabytes.
        "{{ [1] * 100000000 }}".to_owned(),
        "{{ [range(100000)] * 100000 }}".to_owned(),
        "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"
            .to_owned(),
        "{{ 'a' * 100000000 }}".to_owned(),
    ];
    for template in &hostile {
        let start = template.get(..60).unwrap_or(template);
        let answer = app.tool(&token, "generate_code", json!({"template": template})).await;
        assert_eq!(answer.status, 422, "{start}: {:?}", answer.body);
        let problem = &answer.body["error"]["problems"][0];
        assert_eq!(problem["path"], "template", "{start}: {:?}", answer.body);
        let said = problem["problem"].as_str().unwrap();
        assert!(
            said.contains("than one rendering may take") || said.contains("smaller loops"),
            "{said}"
        );
        let said = result(&app, &token, "generate_code", json!({"template": "{{ 6 * 7 }}"})).await;
        assert_eq!(said["output"], "42");
    }
    let context = json!({"name": "greet", "about": "Greets"});
    let said =
        result(&app, &token, "generate_code", json!({"name": "rust_cli", "context": context}))
            .await;
    assert!(said["output"].as_str().unwrap().contains("#[command(name = \"greet\""), "{said}");
}

#[actix_rt::test]
async fn an_operators_templates_and_prompts_are_served_and_broken_ones_stop_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let head = |slug: &str| {
        format!(
            "+++\nslug = \"{slug}\"\ntitle = \"T\"\ndescription = \"D\"\nversion = 1\n\
             [[arguments]]\nname = \"who\"\ndescription = \"whom\"\nrequired = true\n+++\n"
        )
    };
    std::fs::write(folder.path().join("hello.j2"), head("hello") + "Hello {{ who }}\n").unwrap();
    std::fs::write(folder.path().join("hello.md"), head("hello") + "Greet {{ who }}.\n").unwrap();
    let path = folder.path().to_str().unwrap();
    let env =
        [("ULTIMATE_MCP__TOOLS__TEMPLATES_DIR", path), ("ULTIMATE_MCP__TOOLS__PROMPTS_DIR", path)];
    let app = TestApp::start_with(&env);
    let token = app.token("ada", "developer");
    let arguments = json!({"name": "hello", "context": {"who": "Ada"}});
    assert_eq!(result(&app, &token, "generate_code", arguments).await["output"], "Hello Ada\n");
    let arguments = json!({"slug": "hello", "arguments": {"who": "Ada"}});
    assert_eq!(result(&app, &token, "get_prompt", arguments).await["text"], "Greet Ada.\n");

    std::fs::write(folder.path().join("broken.j2"), head("broken") + "{{ whom }}\n").unwrap();
    let data = tempfile::tempdir().unwrap();
    let mut serve = crate::app::binary();
    let serve = serve.args(["serve", "--data-dir"]).arg(data.path()).envs(env);
    let output = serve.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("broken.j2: the body uses whom"), "{said}");
}
