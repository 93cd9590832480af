//! The cell through the front door: how runs end, what they leave, what a lost launcher or client means.

use std::fs;

use serde_json::{Value, json};

use crate::app::{Answer, Shared, TestApp, begun, eventually, finish, gone};
use crate::tokens::Mint;

static APP: Shared = Shared::new();

/// A call that runs until it is killed, under a name that can be looked for.
fn endless() -> (String, Value) {
    let marker = format!("itest-{}", uuid::Uuid::new_v4());
    let code = format!("exec -a {marker} sleep 50");
    (marker, json!({ "code": code, "language": "bash", "timeout_seconds": 55 }))
}

async fn run(arguments: Value) -> Value {
    let app = APP.get(TestApp::start);
    let token = Mint::of(&app).token("ada", &["developer"]);
    let answer = app.tool(&token, "execute_code", arguments).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

#[actix_web::test]
async fn a_program_that_ends_well_is_ok() {
    let code =
        "import sys; print(sys.stdin.read(), open('in/a.txt').read()); print(7, file=sys.stderr)";
    let files = json!([{ "path": "in/a.txt", "content": "file" }]);
    let result = run(json!({ "code": code, "stdin": "input", "files": files })).await;
    assert_eq!((&result["status"], &result["return_code"]), (&json!("ok"), &json!(0)), "{result}");
    assert_eq!(result["stdout"], "input file\n");
    assert_eq!(result["stderr"], "7\n");
    assert!(result["isolation"]["class"] == "native" && result["signal"].is_null(), "{result}");
}

#[actix_web::test]
async fn python_is_forked_from_a_zygote_unless_the_operator_says_no() {
    // Only its command line tells: a program behaves the same either way.
    let code = "print(b'def zygote' in open('/proc/self/cmdline', 'rb').read())";
    let born = async |app: &TestApp| {
        let token = Mint::of(app).token("ada", &["developer"]);
        let answer = app.tool(&token, "execute_code", json!({ "code": code })).await;
        answer.body["stdout"] == "True\n"
    };
    let app = APP.get(TestApp::start);
    eventually("a run is served by a zygote", async || born(&app).await.then_some(())).await;
    let without = TestApp::start_with(&[("ULTIMATE_MCP__CELL__ZYGOTE__ENABLED", "false")]);
    for _ in 0..5 {
        assert!(!born(&without).await);
    }
}

#[actix_web::test]
async fn a_program_that_fails_is_an_error_with_its_exit_code() {
    let result = run(json!({ "code": "process.exit(7)", "language": "javascript" })).await;
    assert_eq!(
        (&result["status"], &result["return_code"]),
        (&json!("error"), &json!(7)),
        "{result}"
    );
}

#[actix_web::test]
async fn a_program_that_does_not_compile_is_a_compile_error() {
    let result = run(json!({ "code": "def f(:" })).await;
    assert_eq!(result["status"], "compile_error", "{result}");
    assert!(result["stderr"].as_str().unwrap().contains("SyntaxError"), "{result}");
}

#[actix_web::test]
async fn a_program_that_does_not_end_is_a_timeout_and_keeps_its_output() {
    let code = "print('begun', flush=True)\nwhile True: pass";
    let result = run(json!({ "code": code, "timeout_seconds": 0.5 })).await;
    assert_eq!((&result["status"], &result["stdout"]), (&json!("timeout"), &json!("begun\n")));
    assert!(result["duration_seconds"].as_f64() >= Some(0.4), "{result}");
}

#[actix_web::test]
async fn a_program_that_takes_too_much_memory_is_oom() {
    let code = "a = bytearray(400 << 20)";
    let result = run(json!({ "code": code, "limits": { "memory_mb": 64 } })).await;
    assert_eq!(result["status"], "oom", "{result}");
}

#[actix_web::test]
async fn a_program_that_writes_too_much_is_an_output_limit_and_cut_there() {
    let code = "import sys\nwhile True: sys.stdout.write('x' * 4096)";
    let result = run(json!({ "code": code, "limits": { "output_kb": 4 } })).await;
    assert_eq!(result["status"], "output_limit", "{result}");
    assert_eq!(result["truncated"], json!({ "stdout": true, "stderr": false }));
    assert_eq!(result["stdout"].as_str().unwrap().len(), 4096);
}

#[actix_web::test]
async fn a_program_ended_by_a_signal_is_killed() {
    let code = "import os, subprocess, sys\nos.abort()";
    let result = run(json!({ "code": code })).await;
    assert_eq!((&result["status"], &result["signal"]), (&json!("killed"), &json!(6)), "{result}");
}

#[actix_web::test]
async fn what_a_run_leaves_in_out_is_read_by_its_owner_alone() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let code = "open('out/a.bin', 'wb').write(bytes(range(256)) * 3)";
    let result = run(json!({ "code": code })).await;
    let artifact = &result["artifacts"][0];
    assert_eq!((&artifact["name"], &artifact["size_bytes"]), (&json!("a.bin"), &json!(768)));
    let id = artifact["uri"].as_str().unwrap().rsplit('/').next().unwrap();
    let path = format!("/api/v1/artifacts/{id}");
    let get = async |token: &str| app.send("GET", &path, Some(token), &[], None).await;

    let own = get(&mint.token("ada", &["developer"])).await;
    let expected: Vec<u8> = (0..=255).cycle().take(768).collect();
    assert_eq!((own.status, own.bytes), (200, expected));
    let headers = own.headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>();
    assert!(headers.contains(&("content-type", "application/octet-stream")), "{headers:?}");
    assert!(headers.contains(&("content-disposition", "attachment")), "{headers:?}");

    for (sub, role) in [("eve", "developer"), ("root", "admin")] {
        let answer = get(&mint.token(sub, &[role])).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{sub}: {answer:?}");
    }
    let ada = mint.token("ada", &["developer"]);
    for id in ["nonsense", "00000000-0000-4000-8000-000000000000", "..%2F..%2Fkeys%2Ftoken.key"] {
        let path = format!("/api/v1/artifacts/{id}");
        let answer = app.send("GET", &path, Some(&ada), &[], None).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{id}: {answer:?}");
    }
}

#[actix_web::test]
async fn nobody_gets_more_of_the_cell_than_the_role_allows() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let ask = async |role: &str, limits: Value| {
        let arguments = json!({ "code": "print(1)", "limits": limits });
        app.tool(&mint.token("limited", &[role]), "execute_code", arguments).await
    };
    let refused = ask("viewer", json!({})).await;
    assert_eq!(refused.body["error"]["required_permissions"], json!(["tools:execute"]));
    let greedy = ask("developer", json!({ "memory_mb": 1025, "pids": 129, "cpu": 2.5 })).await;
    let problems = greedy.body["error"]["problems"].as_array().unwrap();
    let paths: Vec<_> = problems.iter().map(|p| p["path"].as_str().unwrap()).collect();
    assert_eq!(greedy.status, 422, "{greedy:?}");
    for path in ["limits.memory_mb", "limits.pids", "limits.cpu"] {
        assert!(paths.contains(&path), "{greedy:?}");
    }
    assert!(greedy.body.to_string().contains("at most 1024"), "{greedy:?}");
    assert_eq!(ask("developer", json!({ "memory_mb": 1024 })).await.status, 200);
    assert_eq!(ask("admin", json!({ "memory_mb": 1025 })).await.status, 200);
}

#[actix_web::test]
async fn a_launcher_killed_with_nine_fails_the_runs_in_hand_and_no_other() {
    let app = TestApp::start();
    let mint = Mint::of(&app);
    let (ada, admin) = (mint.token("ada", &["developer"]), mint.token("root", &["admin"]));
    let (marker, arguments) = endless();
    let (other, more) = endless();
    let calls = [app.begin(&ada, &arguments), app.begin(&admin, &more)];
    begun(&calls[0], &marker).await;
    begun(&calls[1], &other).await;
    let launcher = launcher_of(app.pid());
    rustix::process::kill_process(launcher, rustix::process::Signal::KILL).unwrap();
    for call in calls {
        let (status, body) = finish(call).expect("an answer, not a broken connection");
        assert_eq!((status, &body["error"]["code"]), (503, &json!("crashed")), "{body}");
        assert_eq!(body["error"]["retry"], "safe", "{body}");
    }
    gone(&marker).await;
    gone(&other).await;
    // The next call waits for the new launcher or is told to come back; it never fails otherwise.
    let answer: Answer = eventually("the next call works", || async {
        let answer = app.tool(&ada, "execute_code", json!({ "code": "print(6*7)" })).await;
        assert!(matches!(answer.status, 200 | 503), "{answer:?}");
        (answer.status == 200).then_some(answer)
    })
    .await;
    assert_eq!(answer.body["stdout"], "42\n");
    assert_ne!(launcher_of(app.pid()), launcher);

    let metrics = app.send("GET", "/metrics", Some(&admin), &[], None).await;
    let text = String::from_utf8(metrics.bytes).unwrap();
    assert!(text.lines().any(|line| line == "cell_launcher_losses 1"), "{text}");
    assert_eq!(app.send("GET", "/ready", None, &[], None).await.body["status"], "ready");
    let lost = app.send("GET", "/api/v1/audit?success=false", Some(&admin), &[], None).await;
    let lost = lost.body["events"].as_array().unwrap();
    let crashed = lost.iter().filter(|event| event["details"]["code"] == "crashed").count();
    assert_eq!(crashed, 2, "{lost:?}");
}

/// The child of the server that starts the runs.
fn launcher_of(server: u32) -> rustix::process::Pid {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{server}/task")).unwrap().flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace() {
            let line = fs::read(format!("/proc/{child}/cmdline")).unwrap_or_default();
            if line.ends_with(b"cell-launcher\0") {
                found.push(child.parse().unwrap());
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    rustix::process::Pid::from_raw(found[0]).unwrap()
}

#[actix_web::test]
async fn a_client_that_hangs_up_ends_its_run() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let (marker, arguments) = endless();
    let call = app.begin(&mint.token("leaver", &["developer"]), &arguments);
    begun(&call, &marker).await;
    drop(call);
    gone(&marker).await;
    let admin = mint.token("root", &["admin"]);
    let event = eventually("its outcome is recorded", || async {
        let path = "/api/v1/audit?user=leaver";
        let answer = app.send("GET", path, Some(&admin), &[], None).await;
        answer.body["events"].as_array().unwrap().first().cloned()
    })
    .await;
    assert_eq!((&event["phase"], &event["success"]), (&json!("outcome"), &json!(false)));
    assert!(event["error_message"].as_str().unwrap().contains("went away"), "{event}");
}
