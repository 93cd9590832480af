//! A call that asks the person behind the client first: `graph_delete` with `confirm`.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::app::{Answer, Shared, TestApp};
use crate::nodes::Cluster;
use crate::streams::next;

static APP: Shared = Shared::new();

async fn make(app: &TestApp, admin: &str, key: &str) {
    let node = json!({ "nodes": [{ "key": key, "labels": ["Asked"], "properties": {} }] });
    assert_eq!(app.tool(admin, "graph_upsert", node).await.status, 200);
}

async fn exists(app: &TestApp, admin: &str, key: &str) -> bool {
    let cypher = "MATCH (n:Asked) WHERE n.key = $key RETURN count(n) AS n";
    let query = json!({ "cypher": cypher, "parameters": { "key": key } });
    let rows = app.tool(admin, "graph_query", query).await;
    rows.body["rows"][0]["n"] == 1
}

/// A call by a client that can show forms; `more` are members of `params`.
async fn delete(app: &TestApp, token: &str, key: &str, more: Value) -> Answer {
    let mut params = json!({
        "name": "graph_delete",
        "arguments": { "nodes": [key], "confirm": true },
        "_meta": { "io.modelcontextprotocol/clientCapabilities": { "elicitation": {} } },
    });
    let more = more.as_object().unwrap().clone();
    params.as_object_mut().unwrap().extend(more);
    app.mcp(token, "tools/call", params).await
}

fn answer(action: &str, delete: bool, state: &Value) -> Value {
    let response = json!({ "action": action, "content": { "delete": delete } });
    json!({ "inputResponses": { "confirm": response }, "requestState": state })
}

#[actix_rt::test]
async fn nothing_is_deleted_before_the_person_who_is_asked_agrees() {
    let app = APP.get(TestApp::start);
    let admin = app.token("root", "admin");
    make(&app, &admin, "kept").await;

    let asked = delete(&app, &admin, "kept", json!({})).await;
    let result = &asked.body["result"];
    assert_eq!(result["resultType"], "input_required", "{asked:?}");
    let form = &result["inputRequests"]["confirm"];
    assert_eq!(form["method"], "elicitation/create");
    assert!(form["params"]["message"].as_str().unwrap().contains("1 node"), "{form}");
    assert!(exists(&app, &admin, "kept").await);

    // An answer to a question that was never asked, and refusals in every form.
    let made_up = delete(&app, &admin, "kept", answer("accept", true, &json!("c3RhdGU"))).await;
    assert_eq!(made_up.body["error"]["code"], -32602, "{made_up:?}");
    let unasked = json!({ "inputResponses": answer("accept", true, &json!(""))["inputResponses"] });
    let unasked = delete(&app, &admin, "kept", unasked).await;
    assert_eq!(unasked.body["result"]["resultType"], "input_required", "{unasked:?}");
    for (action, yes) in [("decline", true), ("cancel", true), ("accept", false)] {
        let state =
            delete(&app, &admin, "kept", json!({})).await.body["result"]["requestState"].clone();
        let refused = delete(&app, &admin, "kept", answer(action, yes, &state)).await;
        assert_eq!(refused.code(), "conflict", "{action}: {refused:?}");
    }
    assert!(exists(&app, &admin, "kept").await);

    let state = result["requestState"].clone();
    let done = delete(&app, &admin, "kept", answer("accept", true, &state)).await;
    assert_eq!(done.body["result"]["structuredContent"]["nodes_deleted"], 1, "{done:?}");
    assert!(!exists(&app, &admin, "kept").await);
    let again = delete(&app, &admin, "kept", answer("accept", true, &state)).await;
    assert_eq!(again.body["error"]["code"], -32602, "used: {again:?}");
}

/// Asked by one node and answered to another; each has a graph of its own here.
pub async fn a_word_given_to_one_node_counts_once_on_all(cluster: &Cluster) {
    let (admin, nodes) = (cluster.admin(), &cluster.nodes);
    for node in nodes {
        make(node, &admin, "everywhere").await;
    }
    let asked = delete(&nodes[0], &admin, "everywhere", json!({})).await;
    let state = &asked.body["result"]["requestState"];
    let yes = answer("accept", true, state);
    let done = delete(&nodes[1], &admin, "everywhere", yes.clone()).await;
    assert_eq!(done.body["result"]["structuredContent"]["nodes_deleted"], 1, "{done:?}");
    for other in [0, 2] {
        let again = delete(&nodes[other], &admin, "everywhere", yes.clone()).await;
        assert_eq!(again.body["result"]["resultType"], "input_required", "{again:?}");
        assert!(exists(&nodes[other], &admin, "everywhere").await);
    }
}

#[actix_rt::test]
async fn a_word_given_for_one_call_and_caller_counts_for_no_other() {
    let app = APP.get(TestApp::start);
    let (admin, other) = (app.token("root", "admin"), app.token("second", "admin"));
    make(&app, &admin, "one").await;
    make(&app, &admin, "two").await;
    let state = delete(&app, &admin, "one", json!({})).await.body["result"]["requestState"].clone();
    for (token, key) in [(&admin, "two"), (&other, "one")] {
        let stolen = delete(&app, token, key, answer("accept", true, &state)).await;
        assert_eq!(stolen.body["error"]["code"], -32602, "{stolen:?}");
        assert!(exists(&app, &admin, key).await);
    }
    let done = delete(&app, &admin, "one", answer("accept", true, &state)).await;
    assert_eq!(done.body["result"]["isError"], false, "{done:?}");
}

#[actix_rt::test]
async fn who_cannot_be_asked_hears_what_to_do_instead_and_loses_nothing() {
    let app = APP.get(TestApp::start);
    let admin = app.token("root", "admin");
    make(&app, &admin, "silent").await;
    let arguments = json!({ "nodes": ["silent"], "confirm": true });
    let rest = app.tool(&admin, "graph_delete", arguments.clone()).await;
    assert_eq!((rest.status, rest.code()), (428, "input_required"), "{rest:?}");
    let call = json!({ "name": "graph_delete", "arguments": arguments });
    let mute = app.mcp(&admin, "tools/call", call).await;
    let error = &mute.body["error"];
    assert_eq!((mute.status, &error["code"]), (400, &json!(-32021)), "{mute:?}");
    assert_eq!(error["data"]["requiredCapabilities"], json!({ "elicitation": {} }), "{mute:?}");
    assert!(exists(&app, &admin, "silent").await);
    let path = "/api/v1/audit?user=root&tool=graph_delete&limit=1000";
    let trail = app.send("GET", path, Some(&admin), &[], None).await.body;
    let events = trail["events"].as_array().unwrap();
    let asked = |event: &&Value| event["details"]["code"] == "input_required";
    assert!(events.iter().filter(asked).all(|event| event["success"] == false));
    assert!(events.iter().filter(asked).count() >= 2, "{events:?}");
}

/// A message of a session of 2025-11-25, or `initialize` without one; the connection it was sent on.
fn say(app: &TestApp, token: &str, session: Option<&str>, message: &Value) -> BufReader<TcpStream> {
    let (address, body) = (app.url.strip_prefix("http://").unwrap(), message.to_string());
    let session = session.map(|id| format!("Mcp-Session-Id: {id}\r\n")).unwrap_or_default();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n{session}\
         Content-Type: application/json\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: 2025-11-25\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).unwrap();
    BufReader::new(stream)
}

/// Sends a message that needs no answer, and waits until it was taken.
fn tell(app: &TestApp, token: &str, session: &str, message: &Value) {
    let mut line = String::new();
    say(app, token, Some(session), message).read_line(&mut line).unwrap();
    assert!(line.contains("202"), "{line}");
}

/// Opens a session whose client can show forms.
async fn session(app: &TestApp, token: &str, revision: &str) -> String {
    let params = json!({
        "protocolVersion": revision,
        "capabilities": { "elicitation": {} },
        "clientInfo": { "name": "test", "version": "1" },
    });
    let hello = json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params });
    let headers =
        [("Accept", "application/json, text/event-stream"), ("Content-Type", "application/json")];
    let opened = app.send("POST", "/mcp", Some(token), &headers, Some(&hello)).await;
    opened.header("mcp-session-id").expect("a session").to_owned()
}

fn legacy_delete(id: u32, key: &str) -> Value {
    let params =
        json!({ "name": "graph_delete", "arguments": { "nodes": [key], "confirm": true } });
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params })
}

#[actix_rt::test]
async fn a_session_is_asked_on_the_calls_own_stream_and_only_its_own_client_answers() {
    let app = APP.get(TestApp::start);
    let (admin, other) = (app.token("root", "admin"), app.token("second", "admin"));
    let (ours, theirs) =
        (session(&app, &admin, "2025-11-25").await, session(&app, &other, "2025-11-25").await);
    for (key, action, deleted) in [("no", "decline", false), ("yes", "accept", true)] {
        make(&app, &admin, key).await;
        let mut stream = say(&app, &admin, Some(&ours), &legacy_delete(7, key));
        let question = next(&mut stream);
        assert_eq!(question["method"], "elicitation/create", "{question}");
        let result = json!({ "action": action, "content": { "delete": true } });
        let response = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
        // Another session's word is nobody's answer.
        tell(&app, &other, &theirs, &response);
        assert!(exists(&app, &admin, key).await);
        tell(&app, &admin, &ours, &response);
        let answer = next(&mut stream);
        assert_eq!(answer["id"], 7, "{answer}");
        let told = if deleted {
            &answer["result"]["structuredContent"]["nodes_deleted"]
        } else {
            &answer["error"]["data"]["code"]
        };
        assert_eq!(told, &if deleted { json!(1) } else { json!("conflict") }, "{answer}");
        assert_eq!(exists(&app, &admin, key).await, !deleted);
    }
}

#[actix_rt::test]
async fn a_cancelled_call_asks_no_more_and_does_nothing() {
    let app = APP.get(TestApp::start);
    let admin = app.token("root", "admin");
    let ours = session(&app, &admin, "2025-11-25").await;
    make(&app, &admin, "left").await;
    let mut stream = say(&app, &admin, Some(&ours), &legacy_delete(9, "left"));
    let question = next(&mut stream);
    let params = json!({ "requestId": 9 });
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params });
    tell(&app, &admin, &ours, &cancel);
    // Its stream ends without an answer: the last chunk is empty.
    let mut line = String::new();
    while line.trim() != "0" {
        line.clear();
        assert!(stream.read_line(&mut line).unwrap() > 0 && !line.contains("result"), "{line}");
    }
    let result = json!({ "action": "accept", "content": { "delete": true } });
    let late = json!({ "jsonrpc": "2.0", "id": question["id"], "result": result });
    tell(&app, &admin, &ours, &late);
    assert!(exists(&app, &admin, "left").await);
}

#[actix_rt::test]
async fn a_batch_has_no_stream_to_ask_in_and_is_answered_all_the_same() {
    let app = APP.get(TestApp::start);
    let admin = app.token("root", "admin");
    let ours = session(&app, &admin, "2025-03-26").await;
    make(&app, &admin, "batched").await;
    let headers = [
        ("Accept", "application/json, text/event-stream"),
        ("Content-Type", "application/json"),
        ("Mcp-Session-Id", ours.as_str()),
    ];
    let batch = json!([legacy_delete(1, "batched")]);
    let answers = app.send("POST", "/mcp", Some(&admin), &headers, Some(&batch)).await.body;
    assert_eq!(answers[0]["error"]["data"]["code"], "input_required", "{answers}");
    assert!(exists(&app, &admin, "batched").await);
}
