//! Prompts, resources and completion, in both eras.

use serde_json::{Value, json};

use super::*;

const OLDEST: &str = "2025-03-26";
const LATEST_LEGACY: &str = "2025-11-25";

/// Every page of a list, by name.
async fn pages(client: &Client, method: &str, field: &str, name: &str) -> Vec<String> {
    let (mut seen, mut cursor) = (Vec::new(), Value::Null);
    for _ in 0..10 {
        let params = if cursor.is_null() { json!({}) } else { json!({ "cursor": cursor }) };
        let answer = client.modern(method, params).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let entries = answer.body["result"][field].as_array().unwrap();
        assert!((1..=3).contains(&entries.len()), "{entries:?}");
        seen.extend(entries.iter().map(|entry| entry[name].as_str().unwrap().to_owned()));
        cursor = answer.body["result"]["nextCursor"].clone();
        if cursor.is_null() {
            return seen;
        }
    }
    panic!("{method} never ends");
}

#[actix_web::test]
async fn pages_of_every_list_hold_each_entry_once() {
    let client = client().await;
    let prompts = pages(&client, "prompts/list", "prompts", "name").await;
    assert_eq!(prompts, ["draft", "greet", "plan", "sum"]);
    let resources = pages(&client, "resources/list", "resources", "uri").await;
    assert_eq!(resources, ["test://a", "test://b", "test://c", "test://d"]);
}

#[actix_web::test]
async fn a_cursor_of_another_list_is_refused() {
    let client = client().await;
    let first = client.modern("prompts/list", json!({})).await;
    let cursor = &first.body["result"]["nextCursor"];
    assert!(cursor.is_string());
    for method in ["tools/list", "resources/list", "resources/templates/list"] {
        let answer = client.modern(method, json!({ "cursor": cursor })).await;
        assert_eq!(answer.error(), (200, -32602), "{method}");
    }
}

#[actix_web::test]
async fn lists_of_the_modern_era_may_be_kept_privately_and_legacy_ones_say_nothing() {
    let client = client().await;
    let session = client.open(LATEST_LEGACY).await;
    for method in ["prompts/list", "resources/list", "resources/templates/list"] {
        let result = &client.modern(method, json!({})).await.body["result"];
        assert_eq!(result["resultType"], "complete", "{method}");
        assert_eq!((&result["cacheScope"], &result["ttlMs"]), (&json!("private"), &json!(60_000)));
        let result = &client.legacy(&session, method, json!({})).await.body["result"];
        for absent in ["resultType", "cacheScope", "ttlMs", "_meta"] {
            assert!(result.get(absent).is_none(), "{method}: {result}");
        }
    }
}

#[actix_web::test]
async fn a_prompt_that_is_unknown_or_lacks_an_argument_is_invalid_params() {
    let client = client().await;
    let session = client.open(LATEST_LEGACY).await;
    for params in [
        json!({"name": "nope"}),
        json!({"name": "greet"}),
        json!({"name": "greet", "arguments": {"who": 7}}),
        json!({"name": "greet", "arguments": ["Ada"]}),
        json!({"name": 7}),
        json!({}),
    ] {
        let answer = client.legacy(&session, "prompts/get", params.clone()).await;
        assert_eq!(answer.error(), (200, -32602), "{params}");
    }
    let answer = client.modern("prompts/get", json!({"name": "greet"})).await;
    assert_eq!(answer.error(), (200, -32602));
}

#[actix_web::test]
async fn a_resource_that_is_not_there_has_the_code_of_its_era() {
    let client = client().await;
    let answer = client.modern("resources/read", json!({"uri": "test://x"})).await;
    assert_eq!(answer.error(), (200, -32602));
    assert_eq!(answer.body["error"]["data"]["uri"], "test://x");
    assert_eq!(answer.body["error"]["data"]["code"], "not_found");
    for revision in [OLDEST, LATEST_LEGACY] {
        let session = client.open(revision).await;
        let answer = client.legacy(&session, "resources/read", json!({"uri": "test://x"})).await;
        assert_eq!(answer.error(), (200, -32002), "{revision}");
        let answer = client.legacy(&session, "resources/read", json!({"uri": 7})).await;
        assert_eq!(answer.error(), (200, -32602), "{revision}");
    }
}

#[actix_web::test]
async fn who_lacks_the_permission_is_told_which() {
    let client = client().await;
    let as_viewer = |method: &str, params: Value| {
        let request = modern_post(&modern(method, params));
        request.insert_header(("authorization", "Bearer viewer"))
    };
    for (method, params, scope) in [
        ("resources/read", json!({"uri": "test://c"}), "graph:query"),
        ("prompts/get", json!({"name": "greet", "arguments": {"who": "x"}}), "tools:read"),
    ] {
        let answer = client.send(as_viewer(method, params)).await;
        assert_eq!(answer.status, 403, "{answer:?}");
        assert!(answer.header("www-authenticate").unwrap().contains(scope));
    }
}

#[actix_web::test]
async fn bytes_come_as_base64_and_only_fixed_content_may_be_kept() {
    let client = client().await;
    let fixed = client.modern("resources/read", json!({"uri": "test://a"})).await.body;
    assert_eq!(fixed["result"]["contents"][0]["text"], "words");
    assert_eq!(fixed["result"]["ttlMs"], 60_000);
    let bytes = client.modern("resources/read", json!({"uri": "test://b"})).await.body;
    assert_eq!(bytes["result"]["contents"][0]["blob"], "AP8=");
    assert!(bytes["result"]["contents"][0].get("text").is_none());
    assert_eq!(bytes["result"]["ttlMs"], 0);
}

#[actix_web::test]
async fn a_completion_holds_at_most_100_values_and_says_how_many_there_are() {
    let client = client().await;
    let asked = json!({
        "ref": {"type": "ref/prompt", "name": "greet"},
        "argument": {"name": "who", "value": "a"},
    });
    let answer = client.modern("completion/complete", asked).await.body;
    let completion = &answer["result"]["completion"];
    assert_eq!(completion["values"].as_array().unwrap().len(), 100);
    assert_eq!((&completion["total"], &completion["hasMore"]), (&json!(150), &json!(true)));
    assert_eq!(completion["values"][0], "a0");
}

#[actix_web::test]
async fn a_completion_of_the_wrong_shape_is_invalid_params() {
    let client = client().await;
    let prompt = json!({"type": "ref/prompt", "name": "greet"});
    let argument = json!({"name": "who", "value": ""});
    for params in [
        json!({}),
        json!({"ref": prompt}),
        json!({"argument": argument}),
        json!({"ref": {"type": "ref/prompt", "uri": "greet"}, "argument": argument}),
        json!({"ref": {"type": "ref/other", "name": "greet"}, "argument": argument}),
        json!({"ref": ["ref/prompt", "greet"], "argument": argument}),
        json!({"ref": prompt, "argument": {"name": "who"}}),
        json!({"ref": prompt, "argument": {"name": "who", "value": "x".repeat(1025)}}),
        json!({"ref": prompt, "argument": argument, "context": {"arguments": {"a": 1}}}),
        json!({"ref": prompt, "argument": {"name": "nope", "value": ""}}),
    ] {
        let answer = client.modern("completion/complete", params.clone()).await;
        assert_eq!(answer.error(), (200, -32602), "{params}");
    }
}

#[actix_web::test]
async fn the_oldest_revision_gets_no_titles() {
    let client = client().await;
    let session = client.open(OLDEST).await;
    for (method, field) in [("prompts/list", "prompts"), ("resources/list", "resources")] {
        let entry = &client.legacy(&session, method, json!({})).await.body["result"][field][0];
        assert!(entry.get("title").is_none() && entry.get("_meta").is_none(), "{entry}");
        let entry = &client.modern(method, json!({})).await.body["result"][field][0];
        assert!(entry["title"].is_string(), "{entry}");
    }
}
