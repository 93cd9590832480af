//! Prompts, resources and completion of the real server: who may, what comes, what the trail says.

use std::fs;

use serde_json::{Value, json};

use crate::app::{Answer, Shared, TestApp, eventually};
use crate::tokens::Mint;

static APP: Shared = Shared::new();

async fn read(app: &TestApp, token: &str, uri: &str) -> Answer {
    app.mcp(token, "resources/read", json!({ "uri": uri })).await
}

/// The one text of a resource that must be readable.
async fn text(app: &TestApp, token: &str, uri: &str) -> String {
    let answer = read(app, token, uri).await;
    let content = &answer.body["result"]["contents"][0];
    assert_eq!(content["uri"], uri, "{answer:?}");
    content["text"].as_str().unwrap().to_owned()
}

/// The names a list has, all pages of it.
async fn listed(app: &TestApp, token: &str, method: &str, field: &str, name: &str) -> Vec<String> {
    let answer = app.mcp(token, method, json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body["result"]["nextCursor"].is_null(), "more than a page");
    let entries = answer.body["result"][field].as_array().unwrap();
    entries.iter().map(|entry| entry[name].as_str().unwrap().to_owned()).collect()
}

async fn resources(app: &TestApp, token: &str) -> Vec<String> {
    listed(app, token, "resources/list", "resources", "uri").await
}

/// What the trail says of a user's finished actions and refusals, newest first.
async fn trail(app: &TestApp, mint: &Mint, user: &str) -> Vec<Value> {
    let admin = mint.token("auditor", &["admin"]);
    let path = format!("/api/v1/audit?user={user}&limit=100");
    let answer = app.send("GET", &path, Some(&admin), &[], None).await;
    answer.body["events"].as_array().unwrap().clone()
}

#[actix_web::test]
async fn prompts_are_listed_and_read_under_the_permission_and_in_the_trail_of_their_tools() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let viewer = mint.token("prompter", &["viewer"]);
    let names = listed(&app, &viewer, "prompts/list", "prompts", "name").await;
    let expected = [
        "clean",
        "code_review",
        "evaluate",
        "improve",
        "proceed",
        "real-a",
        "synthesize",
        "test-a",
    ];
    assert_eq!(names, expected);
    let arguments = json!({ "code": "x = 1", "seniority": "junior" });
    let params = json!({ "name": "code_review", "arguments": arguments });
    let got = app.mcp(&viewer, "prompts/get", params).await.body;
    let message = &got["result"]["messages"][0];
    assert_eq!(message["role"], "user");
    let told = message["content"]["text"].as_str().unwrap();
    assert!(told.contains("x = 1") && told.contains("concept to read about"), "{told}");
    for params in [json!({ "name": "nope" }), json!({ "name": "code_review" })] {
        let answer = app.mcp(&viewer, "prompts/get", params).await;
        assert_eq!(answer.body["error"]["code"], -32602, "{answer:?}");
    }
    let events = trail(&app, &mint, "prompter").await;
    let tools: Vec<_> = events.iter().map(|e| (&e["tool"], &e["success"])).collect();
    let (get, list) = (json!("get_prompt"), json!("list_prompts"));
    let (yes, no) = (json!(true), json!(false));
    assert_eq!(tools, [(&get, &no), (&get, &no), (&get, &yes), (&list, &yes)]);

    let nobody = mint.token("nobody-prompts", &["no-such-role"]);
    for (method, params) in
        [("prompts/list", json!({})), ("prompts/get", json!({ "name": "proceed" }))]
    {
        let answer = app.mcp(&nobody, method, params).await;
        assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{answer:?}");
        assert!(answer.header("www-authenticate").unwrap().contains("tools:read"));
    }
    assert_eq!(trail(&app, &mint, "nobody-prompts").await.len(), 2);
}

#[actix_web::test]
async fn a_list_of_resources_holds_what_its_caller_may_read_and_all_of_it_can_be_read() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let viewer = mint.token("lister", &["viewer"]);
    let uris = resources(&app, &viewer).await;
    let expected = [
        "resource://docs/api",
        "resource://schemas/neo4j",
        "resource://ultimate-mcp/agent-handbook",
        "resource://ultimate-mcp/ai-tools-setup",
        "resource://ultimate-mcp/architecture",
        "resource://ultimate-mcp/executive-summary",
        "resource://ultimate-mcp/quick-start",
        "resource://ultimate-mcp/readme",
        "ui://ultimate-mcp/graph",
        "ui://ultimate-mcp/run",
        "ui://ultimate-mcp/tests",
    ];
    assert_eq!(uris, expected);
    for uri in &uris {
        assert!(text(&app, &viewer, uri).await.len() > 50, "{uri}");
    }
    let api: Value = serde_json::from_str(&text(&app, &viewer, uris[0].as_str()).await).unwrap();
    assert_eq!(api["openapi"], "3.1.0");
    let paths = api["paths"].as_object().unwrap();
    assert!(paths.contains_key("/api/v1/tools/lint_code"));
    assert!(!paths.contains_key("/api/v1/tools/execute_code"), "viewers may not call it");

    let templates = async |token: &str| {
        listed(&app, token, "resources/templates/list", "resourceTemplates", "name").await
    };
    let all = ["artifact", "audit-day", "graph-neighbourhood", "run", "test-report"];
    assert_eq!(templates(&mint.token("root", &["admin"])).await, all);
    assert_eq!(templates(&viewer).await, [all[0], all[2], all[3], all[4]]);
    let nobody = mint.token("nobody-resources", &["no-such-role"]);
    assert!(resources(&app, &nobody).await.is_empty() && templates(&nobody).await.is_empty());
    let answer = read(&app, &nobody, "resource://ultimate-mcp/readme").await;
    assert_eq!((answer.status, answer.code()), (403, "forbidden"), "{answer:?}");
}

#[actix_web::test]
async fn an_artifact_is_read_by_its_owner_and_is_not_there_for_anybody_else() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let (ada, eve) = (mint.token("ada-files", &["developer"]), mint.token("eve", &["admin"]));
    let code = "open('out/a.csv', 'w').write('1,2')\nopen('out/b.bin', 'wb').write(b'\\x00\\xff')";
    let ran = app.tool(&ada, "execute_code", json!({ "code": code })).await;
    let mut uris: Vec<String> = ran.body["artifacts"]
        .as_array()
        .unwrap_or_else(|| panic!("{ran:?}"))
        .iter()
        .map(|artifact| artifact["uri"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(uris.len(), 2);
    let mut contents = Vec::new();
    for uri in &uris {
        let content = read(&app, &ada, uri).await.body["result"]["contents"][0].clone();
        contents.push((
            content["mimeType"].clone(),
            content["text"].clone(),
            content["blob"].clone(),
        ));
    }
    contents.sort_by_key(|content| content.0.to_string());
    assert_eq!(contents[0].0, "application/octet-stream");
    assert_eq!((&contents[0].1, &contents[0].2), (&Value::Null, &json!("AP8=")));
    assert_eq!(contents[1], (json!("text/csv"), json!("1,2"), Value::Null));

    uris.sort();
    let own = |uri: &String| uri.contains("/artifacts/");
    let seen: Vec<_> = resources(&app, &ada).await.into_iter().filter(own).collect();
    assert_eq!(seen, uris);
    assert!(!resources(&app, &eve).await.iter().any(own));

    let foreign = read(&app, &eve, &uris[0]).await.body["error"].clone();
    let none = "resource://ultimate-mcp/artifacts/00000000-0000-4000-8000-000000000000";
    let absent = read(&app, &eve, none).await.body["error"].clone();
    assert_eq!((&foreign["code"], &foreign["message"]), (&absent["code"], &absent["message"]));
    assert_eq!(foreign["code"], -32602);
    assert_eq!(foreign["data"]["uri"], json!(uris[0]));
    let asked = json!({
        "ref": { "type": "ref/resource", "uri": "resource://ultimate-mcp/artifacts/{id}" },
        "argument": { "name": "id", "value": "art_" },
    });
    let of = async |token: &str| {
        let answer = app.mcp(token, "completion/complete", asked.clone()).await;
        answer.body["result"]["completion"]["values"].as_array().unwrap().len()
    };
    assert_eq!((of(&ada).await, of(&eve).await), (2, 0));
}

#[actix_web::test]
async fn a_neighbourhood_holds_the_node_and_what_is_around_it() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let admin = mint.token("grapher", &["admin"]);
    let nodes = json!([
        { "key": "of:ada", "labels": ["Person"], "properties": {} },
        { "key": "of:engine", "labels": ["Machine"], "properties": {} },
        { "key": "of:alone", "labels": ["Machine"], "properties": {} },
    ]);
    let relationships =
        json!([{ "start": "of:ada", "end": "of:engine", "type": "DESCRIBED", "properties": {} }]);
    let write = json!({ "nodes": nodes, "relationships": relationships });
    let written = app.tool(&admin, "graph_upsert", write).await;
    assert_eq!(written.status, 200, "{written:?}");
    let around = async |key: &str| -> Value {
        let uri = format!("resource://ultimate-mcp/graph/nodes/{key}");
        serde_json::from_str(&text(&app, &admin, &uri).await).unwrap()
    };
    let engine = around("of:engine").await;
    assert_eq!(engine["node"]["properties"]["key"], "of:engine");
    assert_eq!(engine["neighbours"][0]["relationship"]["type"], "DESCRIBED");
    assert_eq!(engine["neighbours"][0]["node"]["properties"]["key"], "of:ada");
    assert_eq!(around("of%3Aalone").await["neighbours"], json!([]));
    let uri = "resource://ultimate-mcp/graph/nodes/of:nobody";
    assert_eq!(read(&app, &admin, uri).await.code(), "not_found");

    let asked = json!({
        "ref": { "type": "ref/resource", "uri": "resource://ultimate-mcp/graph/nodes/{key}" },
        "argument": { "name": "key", "value": "of:a" },
    });
    let answer = app.mcp(&admin, "completion/complete", asked.clone()).await;
    assert_eq!(answer.body["result"]["completion"]["values"], json!(["of:ada", "of:alone"]));
    let nobody = mint.token("nobody-graph", &["no-such-role"]);
    assert_eq!(app.mcp(&nobody, "completion/complete", asked).await.status, 403);
}

#[actix_web::test]
async fn a_finished_test_job_has_a_run_and_a_report_for_its_owner_only() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let (ada, eve) = (mint.token("ada-tests", &["developer"]), mint.token("eve", &["admin"]));
    let code = "def test_good():\n    pass\ndef test_bad():\n    assert '<' == '&'\n";
    let queued = app.tool(&ada, "run_tests_async", json!({ "code": code })).await;
    let id = queued.body["job_id"].as_str().unwrap_or_else(|| panic!("{queued:?}")).to_owned();
    let uri = format!("resource://ultimate-mcp/runs/{id}");
    let run: Value = eventually("the job ends", || async {
        let run: Value = serde_json::from_str(&text(&app, &ada, &uri).await).unwrap();
        (run["status"] == "completed").then_some(run)
    })
    .await;
    assert_eq!(run["tool"], "run_tests");
    let report = format!("resource://ultimate-mcp/test-reports/{id}");
    let xml = text(&app, &ada, &report).await;
    assert!(xml.contains("tests=\"2\" failures=\"1\""), "{xml}");
    assert!(xml.contains("test_good") && xml.contains("&lt;"), "{xml}");
    for uri in [&uri, &report] {
        assert_eq!(read(&app, &eve, uri).await.code(), "not_found");
    }
    let asked = json!({
        "ref": { "type": "ref/resource", "uri": "resource://ultimate-mcp/runs/{job_id}" },
        "argument": { "name": "job_id", "value": "" },
    });
    let own = app.mcp(&ada, "completion/complete", asked.clone()).await;
    assert_eq!(own.body["result"]["completion"]["values"], json!([id]));
    let other = app.mcp(&eve, "completion/complete", asked).await;
    assert!(!other.body.to_string().contains(&id), "{other:?}");
}

#[actix_web::test]
async fn a_day_of_the_audit_is_for_administrators_and_each_reading_is_in_it_once() {
    let app = APP.get(TestApp::start);
    let mint = Mint::of(&app);
    let viewer = mint.token("reader-1", &["viewer"]);
    let today = chrono::Utc::now().date_naive();
    let uri = format!("resource://ultimate-mcp/audit/{today}");
    text(&app, &viewer, "resource://ultimate-mcp/readme").await;
    let refused = read(&app, &viewer, &uri).await;
    assert_eq!((refused.status, refused.code()), (403, "forbidden"));
    assert!(refused.header("www-authenticate").unwrap().contains("system:admin"));
    let absent = read(&app, &viewer, "resource://ultimate-mcp/nothing").await;
    assert_eq!(absent.code(), "not_found");

    let events = trail(&app, &mint, "reader-1").await;
    let told: Vec<_> = events
        .iter()
        .map(|e| (e["action"].as_str().unwrap(), e["resource"].as_str().unwrap(), &e["success"]))
        .collect();
    let (yes, no) = (json!(true), json!(false));
    let expected = [
        ("resources/read", "resource://ultimate-mcp/nothing", &no),
        ("resources/read", uri.as_str(), &no),
        ("resources/read", "resource://ultimate-mcp/readme", &yes),
    ];
    assert_eq!(told, expected);
    let admin = mint.token("reader-2", &["admin"]);
    let day: Value = serde_json::from_str(&text(&app, &admin, &uri).await).unwrap();
    assert!(day["page"]["events"].to_string().contains("reader-1"));
}

#[actix_web::test]
async fn a_prompts_arguments_are_completed_from_what_its_document_proposes() {
    let app = APP.get(TestApp::start);
    let viewer = Mint::of(&app).token("typist", &["viewer"]);
    let complete = async |prompt: &str, argument: &str, value: &str| {
        let asked = json!({
            "ref": { "type": "ref/prompt", "name": prompt },
            "argument": { "name": argument, "value": value },
        });
        app.mcp(&viewer, "completion/complete", asked).await.body
    };
    let answer = complete("code_review", "seniority", "S").await;
    assert_eq!(answer["result"]["completion"]["values"], json!(["senior"]));
    let answer = complete("code_review", "code", "").await;
    assert_eq!(answer["result"]["completion"], json!({"values": [], "total": 0, "hasMore": false}));
    for (prompt, argument) in [("nope", "code"), ("code_review", "nope")] {
        assert_eq!(complete(prompt, argument, "").await["error"]["code"], -32602);
    }
}

#[actix_web::test]
async fn whoever_reads_or_completes_too_often_is_told_when_to_come_back() {
    let policy = tempfile::NamedTempFile::new().unwrap();
    let text = include_str!("../../config/policy.toml");
    let slow = text.replace("calls_per_minute = 6000", "calls_per_minute = 1");
    assert_ne!(text, slow);
    fs::write(policy.path(), slow).unwrap();
    let path = policy.path().to_str().unwrap();
    let app = TestApp::start_with(&[("ULTIMATE_MCP__POLICY_FILE", path)]);
    let mint = Mint::of(&app);
    let completing = json!({
        "ref": { "type": "ref/prompt", "name": "clean" },
        "argument": { "name": "mode", "value": "" },
    });
    for (index, (method, params)) in [
        ("prompts/list", json!({})),
        ("prompts/get", json!({ "name": "proceed" })),
        ("resources/list", json!({})),
        ("resources/templates/list", json!({})),
        ("resources/read", json!({ "uri": "resource://ultimate-mcp/readme" })),
        ("resources/read", json!({ "uri": "resource://ultimate-mcp/guess" })),
        ("completion/complete", completing),
    ]
    .into_iter()
    .enumerate()
    {
        let token = mint.token(&format!("hasty-{index}"), &["admin"]);
        let first = app.mcp(&token, method, params.clone()).await;
        assert_eq!(first.status, 200, "{method}: {first:?}");
        let second = app.mcp(&token, method, params).await;
        assert_eq!((second.status, second.code()), (429, "rate_limited"), "{method}");
        assert!(second.header("retry-after").is_some(), "{method}");
    }
}

#[actix_web::test]
async fn an_operators_prompt_is_served_once_it_is_whole_and_a_broken_one_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let app = TestApp::start_with(&[("ULTIMATE_MCP__TOOLS__PROMPTS_DIR", path)]);
    let mint = Mint::of(&app);
    let token = mint.token("operator", &["admin"]);
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let document = |slug: &str, body: &str| {
        format!(
            "+++\nslug = \"{slug}\"\ntitle = \"T\"\ndescription = \"D\"\nversion = 1\n+++\n{body}\n"
        )
    };
    let says = async |slug: &str| {
        let got = app.mcp(&token, "prompts/get", json!({ "name": slug })).await.body;
        got["result"]["messages"][0]["content"]["text"].as_str().map(str::to_owned)
    };
    assert_eq!(says("house-rules").await, None);
    write("house-rules.md", &document("house-rules", "Be kind."));
    eventually("the new prompt is served", || async {
        (says("house-rules").await? == "Be kind.\n").then_some(())
    })
    .await;
    write("broken.md", &document("another", "{{ undeclared }}"));
    let refused = async || {
        let admin = mint.token("auditor", &["admin"]);
        let path = "/api/v1/audit?type=config_change&success=false";
        let answer = app.send("GET", path, Some(&admin), &[], None).await;
        answer.body["events"].as_array().unwrap().iter().any(|e| e["action"] == "prompts/reload")
    };
    eventually("the refusal is recorded", || async { refused().await.then_some(()) }).await;
    assert_eq!(says("house-rules").await.as_deref(), Some("Be kind.\n"));
    fs::remove_file(folder.path().join("broken.md")).unwrap();
    write("house-rules.md", &document("house-rules", "Be kinder."));
    eventually("the change is served", || async {
        (says("house-rules").await? == "Be kinder.\n").then_some(())
    })
    .await;
}
