//! Every rung of the ladder in its order: each request below breaks one rung and all later ones, and
//! must be refused by the earliest.

use actix_web::http::Method;
use serde_json::{Value, json};

use super::*;

#[actix_web::test]
async fn rung_1_a_foreign_host_or_origin_is_refused_before_the_token_is_looked_at() {
    let client = client().await;
    let foreign = TestRequest::put().uri("/mcp").insert_header(("host", "evil.example"));
    assert_eq!(client.send(foreign).await.status, 403);
    let page = TestRequest::put()
        .uri("/mcp")
        .insert_header(("host", "localhost"))
        .insert_header(("origin", "https://evil.example"));
    assert_eq!(client.send(page).await.status, 403);
}

#[actix_web::test]
async fn rung_2_a_missing_token_is_401_with_a_challenge_before_anything_else_is_read() {
    let client = client().await;
    let bare = TestRequest::put().uri("/mcp").insert_header(("host", "localhost"));
    let answer = client.send(bare.set_payload("{")).await;
    assert_eq!(answer.error(), (401, -31401));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    assert!(answer.body.get("id").is_none());
    let wrong = post().insert_header(("authorization", "Bearer forged")).set_payload("{");
    let answer = client.send(wrong).await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.header("www-authenticate"), Some("Bearer error=\"invalid_token\""));
}

#[actix_web::test]
async fn rung_3_another_http_method_is_405_with_those_that_would_do() {
    let client = client().await;
    for method in [Method::PUT, Method::PATCH, Method::OPTIONS] {
        let answer = client.send(request(method)).await;
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), Some("POST, GET, DELETE"));
    }
}

#[actix_web::test]
async fn rung_4_media_types_and_size_come_before_json() {
    let client = client().await;
    let text = post().insert_header(("content-type", "text/plain")).set_payload("{");
    assert_eq!(client.send(text).await.error(), (415, -31415));
    let html = post().insert_header(("accept", "text/html")).set_payload("{");
    assert_eq!(client.send(html).await.error(), (406, -31406));
    let large = post().set_payload("{".repeat(9 * 1024));
    assert_eq!(client.send(large).await.error(), (413, -31413));
}

#[actix_web::test]
async fn rungs_5_and_6_what_is_no_message_is_400_with_a_null_id() {
    let client = client().await;
    let answer = client.send(post().set_payload("{\"jsonrpc\"")).await;
    assert_eq!(answer.error(), (400, -32700));
    assert_eq!(answer.body.get("id"), Some(&Value::Null));
    for id in ["null", "1.5", "{}"] {
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/list"}}"#);
        let answer = client.send(post().set_payload(body)).await;
        assert_eq!(answer.error(), (400, -32600));
        assert_eq!(answer.body.get("id"), Some(&Value::Null));
    }
    let modern = post().insert_header(("mcp-protocol-version", "2026-07-28"));
    assert_eq!(client.send(modern.set_payload("[]")).await.error(), (400, -32600));
    let modern = post().insert_header(("mcp-protocol-version", "2026-07-28"));
    let response = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
    assert_eq!(client.send(modern.set_payload(response)).await.error(), (400, -32600));
}

#[actix_web::test]
async fn rung_8_routing_headers_come_before_metadata() {
    let client = client().await;
    let message =
        json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "add"}});
    let version = ("mcp-protocol-version", "2026-07-28");
    for headers in [
        &[version][..],
        &[version, ("mcp-method", "tools/list"), ("mcp-name", "add")],
        &[version, ("mcp-method", "tools/call")],
        &[version, ("mcp-method", "tools/call"), ("mcp-name", "sub")],
    ] {
        let mut request = post();
        for header in headers {
            request = request.append_header(*header);
        }
        let answer = client.send(request.set_payload(message.to_string())).await;
        assert_eq!(answer.error(), (400, -32020), "{headers:?}");
        assert_eq!(answer.body["id"], 7);
    }
}

#[actix_web::test]
async fn rung_9_missing_metadata_comes_before_the_version() {
    let client = client().await;
    let message = json!({"jsonrpc": "2.0", "id": 7, "method": "no/such"});
    let request = post()
        .insert_header(("mcp-protocol-version", "2031-01-01"))
        .insert_header(("mcp-method", "no/such"))
        .set_payload(message.to_string());
    let answer = client.send(request).await;
    assert_eq!(answer.error(), (400, -32602));
    let message = answer.body["error"]["message"].as_str().unwrap();
    assert!(message.contains("io.modelcontextprotocol/clientCapabilities"), "{message}");
    let shapeless = json!({"jsonrpc": "2.0", "id": 7, "method": "no/such", "params": []});
    let request = post()
        .insert_header(("mcp-protocol-version", "2026-07-28"))
        .insert_header(("mcp-method", "no/such"))
        .set_payload(shapeless.to_string());
    assert_eq!(client.send(request).await.error(), (400, -32602));
}

#[actix_web::test]
async fn rungs_10_and_11_the_version_header_agrees_and_is_spoken() {
    let client = client().await;
    let mut message = modern("no/such", json!({}));
    let other = modern_post(&message).insert_header(("mcp-protocol-version", "2025-11-25"));
    assert_eq!(client.send(other).await.error(), (400, -32020));
    message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2031-01-01");
    message["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = json!("loud");
    let future = modern_post(&message).insert_header(("mcp-protocol-version", "2031-01-01"));
    let answer = client.send(future).await;
    assert_eq!(answer.error(), (400, -32022));
    assert_eq!(answer.body["error"]["data"]["requested"], "2031-01-01");
    let supported = json!(["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]);
    assert_eq!(answer.body["error"]["data"]["supported"], supported);
}

#[actix_web::test]
async fn rung_12_an_unknown_log_level_comes_before_the_method() {
    let client = client().await;
    let mut message = modern("no/such", json!({}));
    message["params"]["_meta"]["io.modelcontextprotocol/logLevel"] = json!("loud");
    assert_eq!(client.send(modern_post(&message)).await.error(), (400, -32602));
}

#[actix_web::test]
async fn rung_13_a_parameter_header_repeats_its_argument() {
    let client = client().await;
    let message = modern("tools/call", json!({"name": "routed", "arguments": {"region": "eu"}}));
    assert_eq!(client.send(modern_post(&message)).await.error(), (400, -32020));
    let wrong = modern_post(&message).insert_header(("mcp-param-region", "us"));
    assert_eq!(client.send(wrong).await.error(), (400, -32020));
    let right = modern_post(&message).insert_header(("Mcp-Param-Region", "=?base64?ZXU=?="));
    assert_eq!(client.send(right).await.status, 200);
}

#[actix_web::test]
async fn rung_14_methods_that_are_gone_or_not_advertised_are_404() {
    let client = client().await;
    for method in [
        "initialize",
        "ping",
        "logging/setLevel",
        "resources/subscribe",
        "resources/unsubscribe",
        "roots/list",
        "tasks/list",
        "no/such",
    ] {
        assert_eq!(client.modern(method, json!({})).await.error(), (404, -32601), "{method}");
    }
}

#[actix_web::test]
async fn rung_15_a_missing_scope_comes_before_the_arguments() {
    let client = client().await;
    let message = modern("tools/call", json!({"name": "secret", "arguments": [1]}));
    let viewer = modern_post(&message).insert_header(("authorization", "Bearer viewer"));
    let answer = client.send(viewer).await;
    assert_eq!(answer.error(), (403, -31003));
    assert_eq!(answer.body["id"], 1);
    let challenge = "Bearer error=\"insufficient_scope\", scope=\"system:admin\"";
    assert_eq!(answer.header("www-authenticate"), Some(challenge));
}

#[actix_web::test]
async fn rung_16_wrong_parameters_are_invalid_params_with_200() {
    let client = client().await;
    for params in [
        json!({"name": 7}),
        json!({}),
        json!({"name": "no_such_tool"}),
        json!({"name": "add", "arguments": [1]}),
        json!({"name": "add", "arguments": "x"}),
    ] {
        let answer = client.modern("tools/call", params.clone()).await;
        assert_eq!(answer.error(), (200, -32602), "{params}");
    }
    for cursor in [json!("x"), json!(""), json!(7), json!("dDE6")] {
        let answer = client.modern("tools/list", json!({"cursor": cursor})).await;
        assert_eq!(answer.error(), (200, -32602), "{cursor}");
    }
}

#[actix_web::test]
async fn every_answer_says_what_all_answers_say() {
    let client = client().await;
    let ok = modern_post(&modern("server/discover", json!({})));
    let answers = [
        client.send(ok.insert_header(("x-request-id", "abc-1"))).await,
        client.send(post().insert_header(("x-request-id", "abc-1")).set_payload("{")).await,
    ];
    for answer in answers {
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("x-request-id"), Some("abc-1"));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let lost = TestRequest::get().uri("/nowhere").insert_header(("host", "localhost"));
    let answer = client.send(lost).await;
    assert_eq!((answer.status, &answer.body["error"]["code"]), (404, &json!("not_found")));
}
