//! A malformed anything gets a typed refusal: never a panic, a 500 or an answer without a body.

use actix_web::http::header::HeaderValue;
use actix_web::rt::System;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Whole requests from pieces that are right often enough to reach every rung.
#[derive(Debug, Clone)]
struct Attempt {
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

fn header_value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        Just(b"2026-07-28".to_vec()),
        Just(b"2025-03-26".to_vec()),
        Just(b"tools/call".to_vec()),
        Just(b"add".to_vec()),
        Just(b"=?base64?YWRk?=".to_vec()),
        "[ -~]{0,20}".prop_map(String::into_bytes),
        proptest::collection::vec(0x80u8..=0xff, 1..8),
    ]
}

fn headers() -> impl Strategy<Value = Vec<(&'static str, Vec<u8>)>> {
    let name = prop_oneof![
        Just("mcp-protocol-version"),
        Just("mcp-method"),
        Just("mcp-name"),
        Just("mcp-session-id"),
        Just("mcp-param-region"),
        Just("content-type"),
        Just("accept"),
        Just("traceparent"),
        Just("x-request-id"),
        Just("origin"),
    ];
    proptest::collection::vec((name, header_value()), 0..6)
}

fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!("add")),
        Just(json!("2026-07-28")),
        Just(json!({})),
        any::<i64>().prop_map(|n| json!(n)),
        "\\PC{0,8}".prop_map(|s| json!(s)),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        let key = prop_oneof![
            Just("_meta".to_owned()),
            Just("name".to_owned()),
            Just("arguments".to_owned()),
            Just("cursor".to_owned()),
            Just("io.modelcontextprotocol/protocolVersion".to_owned()),
            Just("io.modelcontextprotocol/clientCapabilities".to_owned()),
            "[a-z]{1,5}",
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
            proptest::collection::hash_map(key, inner, 0..4)
                .prop_map(|map| map.into_iter().collect::<serde_json::Value>()),
        ]
    })
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![
        Just(json!("tools/call")),
        Just(json!("tools/list")),
        Just(json!("initialize")),
        Just(json!("ping")),
        value(),
    ];
    let message = (value(), method, value()).prop_map(|(id, method, params)| {
        json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})
    });
    prop_oneof![
        4 => message.prop_map(|message| message.to_string().into_bytes()),
        1 => value().prop_map(|value| value.to_string().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..60),
    ]
}

fn attempt() -> impl Strategy<Value = Attempt> {
    (headers(), body()).prop_map(|(headers, body)| Attempt { headers, body })
}

#[test]
fn no_request_panics_or_ends_in_500_or_without_a_typed_body() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 1500,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let system = System::new();
    let client = system.block_on(client());
    let outcome = runner.run(&attempt(), |attempt| {
        let mut request = post();
        for (name, value) in attempt.headers {
            request = request.append_header((name, HeaderValue::from_bytes(&value).unwrap()));
        }
        let answer = system.block_on(client.send(request.set_payload(attempt.body)));
        prop_assert!(answer.status != 500, "{:?}", answer);
        let failed = answer.status >= 400;
        prop_assert!(!failed || answer.body["error"]["message"].is_string(), "{:?}", answer);
        prop_assert!(answer.status == 202 || !answer.body.is_null(), "{:?}", answer);
        Ok(())
    });
    outcome.unwrap();
}
