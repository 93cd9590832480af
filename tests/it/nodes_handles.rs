//! What lives on one node answers through any: artifacts and stateful sandboxes.

use serde_json::{Value, json};

use crate::app::{Answer, TestApp};
use crate::nodes::Cluster;

/// Runs code on a node that leaves one file; its path for download.
pub async fn artifact_of(node: &TestApp, token: &str) -> String {
    let code = "open('out/a.bin', 'wb').write(bytes(range(256)) * 300)";
    let ran = node.tool(token, "execute_code", json!({ "code": code })).await;
    let uri = ran.body["artifacts"][0]["uri"].as_str().unwrap_or_else(|| panic!("{ran:?}"));
    let handle = uri.rsplit('/').next().unwrap();
    format!("/api/v1/artifacts/{handle}")
}

pub async fn an_artifact_is_fetched_through_any_node_by_its_owner_alone(cluster: &Cluster) {
    let ada = cluster.mint.token("ada", &["developer"]);
    let path = artifact_of(&cluster.nodes[0], &ada).await;
    assert!(path.contains("/art_n1_"), "{path}");
    let expected: Vec<u8> = (0..=255).cycle().take(256 * 300).collect();
    for node in &cluster.nodes {
        let got = node.send("GET", &path, Some(&ada), &[], None).await;
        assert_eq!((got.status, got.bytes == expected), (200, true), "{:?}", got.headers);
        let other = cluster.mint.token("eve", &["admin"]);
        let refused = node.send("GET", &path, Some(&other), &[], None).await;
        assert_eq!((refused.status, refused.code()), (404, "not_found"));
        assert_eq!(node.send("GET", &path, None, &[], None).await.status, 401);
    }
    // The node that owns it recorded who asked, from where, and by way of whom.
    let admin = cluster.admin();
    let trail = "/api/v1/audit?type=data_read&user=ada";
    let trail = cluster.nodes[0].send("GET", trail, Some(&admin), &[], None).await;
    let by: Vec<&Value> = trail.body["events"].as_array().unwrap().iter().collect();
    for node in ["n2", "n3"] {
        let found = by.iter().any(|event| {
            event["details"]["forwarded_by"] == node && event["ip_address"] == "127.0.0.1"
        });
        assert!(found, "no download by way of {node}: {by:?}");
    }
    let nowhere = path.replace("_n1_", "_n9_");
    let gone = cluster.nodes[1].send("GET", &nowhere, Some(&ada), &[], None).await;
    assert_eq!((gone.status, gone.code()), (502, "node_gone"), "{gone:?}");
    assert_eq!(gone.body["error"]["retry"], "never");
}

/// Opens a sandbox on this node; its handle.
pub async fn sandbox_of(node: &TestApp, token: &str) -> String {
    let made = node.tool(token, "sandbox_create", json!({ "language": "python" })).await;
    let handle = made.body["sandbox_id"].as_str().unwrap_or_else(|| panic!("{made:?}"));
    handle.to_owned()
}

/// One step in it, asked of any node.
pub async fn step(node: &TestApp, token: &str, sandbox: &str, code: &str) -> Answer {
    node.tool(token, "sandbox_execute", json!({ "sandbox_id": sandbox, "code": code })).await
}

pub async fn a_stateful_sandbox_answers_through_any_node_to_its_owner_alone(cluster: &Cluster) {
    let (ada, nodes) = (cluster.mint.token("ada", &["developer"]), &cluster.nodes);
    let sandbox = sandbox_of(&nodes[0], &ada).await;
    assert!(sandbox.starts_with("sbx_n1_"), "{sandbox}");
    let first = step(&nodes[1], &ada, &sandbox, "x = 41").await;
    assert_eq!(first.status, 200, "{first:?}");
    let second = step(&nodes[2], &ada, &sandbox, "print(x + 1)").await;
    assert_eq!((second.status, &second.body["stdout"]), (200, &json!("42\n")), "{second:?}");
    // Over MCP as over REST, with the text that models read.
    let arguments = json!({ "sandbox_id": sandbox, "code": "print(x + 2)" });
    let params = json!({ "name": "sandbox_execute", "arguments": arguments });
    let direct = nodes[0].mcp(&ada, "tools/call", params.clone()).await;
    let through = nodes[1].mcp(&ada, "tools/call", params).await;
    for answer in [&direct, &through] {
        let result = &answer.body["result"];
        assert_eq!(result["structuredContent"]["stdout"], "43\n", "{answer:?}");
    }
    let blocks = |answer: &Answer| answer.body["result"]["content"].as_array().unwrap().len();
    assert_eq!(blocks(&direct), blocks(&through));
    // A mistake is told as by the node itself, and nobody else's token opens it.
    let wrong = nodes[1].tool(&ada, "sandbox_execute", json!({ "sandbox_id": sandbox })).await;
    assert_eq!((wrong.status, wrong.code()), (422, "invalid_arguments"), "{wrong:?}");
    let eve = cluster.mint.token("eve", &["developer"]);
    for node in nodes {
        let refused = step(node, &eve, &sandbox, "print(x)").await;
        assert_eq!((refused.status, refused.code()), (404, "not_found"), "{refused:?}");
    }
    let viewer = cluster.mint.token("ada", &["viewer"]);
    let refused = step(&nodes[2], &viewer, &sandbox, "print(x)").await;
    assert_eq!((refused.status, refused.code()), (403, "forbidden"), "{refused:?}");
    let nowhere = sandbox.replace("_n1_", "_n9_");
    let gone = step(&nodes[1], &ada, &nowhere, "1").await;
    assert_eq!((gone.status, gone.code()), (502, "node_gone"), "{gone:?}");
    let close = json!({ "sandbox_id": sandbox });
    let closed = nodes[1].tool(&ada, "sandbox_close", close).await;
    assert_eq!(closed.status, 200, "{closed:?}");
    let (direct, through) =
        (step(&nodes[0], &ada, &sandbox, "1").await, step(&nodes[2], &ada, &sandbox, "1").await);
    assert_eq!((through.status, through.code()), (direct.status, direct.code()));
    assert_eq!(through.status, 409, "it has ended: {through:?}");
}
