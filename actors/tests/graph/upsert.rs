//! Upserts: identity by key, all or nothing, counts that tell what happened.

use serde_json::{Value, json};
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::GraphError;
use ultimate_mcp_actors::graph::model::{IndexSpec, UpsertCounts};

use super::fixture::{people, soon, stores};

fn counts(created: u64, updated: u64, unchanged: u64) -> UpsertCounts {
    UpsertCounts { created, updated, unchanged }
}

#[tokio::test]
async fn counts_tell_created_updated_and_unchanged() {
    for fixture in stores() {
        let first = fixture.store.upsert(people(), soon()).await.unwrap();
        assert_eq!((first.nodes, first.relationships), (counts(5, 0, 0), counts(5, 0, 0)));
        let again = fixture.store.upsert(people(), soon()).await.unwrap();
        assert_eq!((again.nodes, again.relationships), (counts(0, 0, 5), counts(0, 0, 5)));
        assert_eq!(again.generation, first.generation, "nothing changed");
        let third = fixture
            .upsert(json!({
                "nodes": [{ "key": "ada", "labels": ["Person"], "properties": { "born": 1816 } }],
                "relationships": [{ "start": "ada", "type": "KNOWS", "end": "charles",
                                    "properties": { "since": 1834 } }]
            }))
            .await
            .unwrap();
        assert_eq!((third.nodes, third.relationships), (counts(0, 1, 0), counts(0, 1, 0)));
        assert!(third.generation > again.generation);
    }
}

#[tokio::test]
async fn merge_adds_labels_and_null_removes_a_property() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let node = json!({ "key": "ada", "labels": ["Countess"], "properties": { "born": null, "died": 1852 } });
        fixture.upsert(json!({ "nodes": [node] })).await.unwrap();
        let rows = fixture
            .rows(
                "MATCH (n:Entity {key: 'ada'}) RETURN labels(n) AS l, properties(n) AS p",
                json!({}),
            )
            .await;
        let mut labels: Vec<Value> = rows[0]["l"].as_array().unwrap().clone();
        labels.sort_by_key(|label| label.to_string());
        assert_eq!(labels, ["Countess", "Entity", "Person", "Poet"]);
        let expected =
            json!({ "key": "ada", "name": "Ada", "died": 1852, "tags": ["math", "poems"] });
        assert_eq!(rows[0]["p"], expected);
    }
}

#[tokio::test]
async fn replace_leaves_exactly_what_is_given_and_never_a_second_node() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let node = json!({ "key": "ada", "labels": ["Ghost"], "properties": { "x": 1.5 } });
        let relationship = json!({ "start": "ada", "type": "KNOWS", "end": "charles" });
        let request =
            json!({ "mode": "replace", "nodes": [node], "relationships": [relationship] });
        fixture.upsert(request).await.unwrap();
        let cypher = "MATCH (n {key: 'ada'})-[r:KNOWS]->() RETURN labels(n) AS l, properties(n) AS p, properties(r) AS r";
        let rows = fixture.rows(cypher, json!({})).await;
        let expected =
            json!([{ "l": ["Entity", "Ghost"], "p": { "key": "ada", "x": 1.5 }, "r": {} }]);
        assert_eq!(rows, expected);
        assert_eq!(
            fixture.rows("MATCH (n:Person) RETURN count(n) AS c", json!({})).await,
            json!([{ "c": 3 }])
        );
    }
}

#[tokio::test]
async fn all_missing_endpoints_are_reported_and_nothing_is_written() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let before = fixture.digest().await;
        let generation = fixture.store.generation();
        let error = fixture
            .upsert(json!({
                "nodes": [{ "key": "new", "labels": ["Person"] }],
                "relationships": [
                    { "start": "new", "type": "KNOWS", "end": "ghost" },
                    { "start": "phantom", "type": "KNOWS", "end": "ghost" },
                    { "start": "ada", "type": "KNOWS", "end": "new" }
                ]
            }))
            .await
            .unwrap_err();
        match &error {
            GraphError::MissingEndpoints { keys } => assert_eq!(keys, &["ghost", "phantom"]),
            other => panic!("{other:?}"),
        }
        assert_eq!(error.kind(), Kind::NotFound);
        assert_eq!(fixture.digest().await, before);
        assert_eq!(fixture.store.generation(), generation);
    }
}

#[tokio::test]
async fn relationships_may_name_nodes_of_the_same_call_and_themselves() {
    for fixture in stores() {
        let result = fixture
            .upsert(json!({
                "nodes": [{ "key": "a", "labels": ["X"] }, { "key": "b", "labels": ["X"] }],
                "relationships": [
                    { "start": "a", "type": "T", "end": "b" }, { "start": "b", "type": "T", "end": "a" },
                    { "start": "a", "type": "T", "end": "a" }, { "start": "a", "type": "U", "end": "b" }
                ]
            }))
            .await
            .unwrap();
        assert_eq!(result.relationships, counts(4, 0, 0));
        let stats = fixture.store.stats(soon()).await.unwrap();
        assert_eq!((stats.nodes, stats.relationships), (2, 4));
    }
}

#[tokio::test]
async fn a_wrong_field_is_refused_by_its_path_and_nothing_is_written() {
    let long = "x".repeat(70_000);
    let full = "x".repeat(60_000);
    let heavy = json!({ "a": full, "b": full, "c": full, "d": full, "e": full });
    let many: Vec<Value> =
        (0..1_001).map(|i| json!({ "key": format!("k{i}"), "labels": ["X"] })).collect();
    let node = |node: Value| json!({ "nodes": [{ "key": "ok", "labels": ["X"] }, node] });
    let cases = [
        (node(json!({ "key": "", "labels": ["X"] })), "nodes[1].key"),
        (node(json!({ "key": "a\nb", "labels": ["X"] })), "nodes[1].key"),
        (node(json!({ "key": "ok", "labels": ["X"] })), "nodes[1].key"),
        (node(json!({ "key": "b", "labels": [] })), "nodes[1].labels"),
        (
            node(json!({ "key": "b", "labels": ["X", "a`) DETACH DELETE (n"] })),
            "nodes[1].labels[1]",
        ),
        (
            node(json!({ "key": "b", "labels": ["X"], "properties": { "a b": 1 } })),
            "nodes[1].properties.a b",
        ),
        (
            node(json!({ "key": "b", "labels": ["X"], "properties": { "key": "c" } })),
            "nodes[1].properties.key",
        ),
        (
            node(json!({ "key": "b", "labels": ["X"], "properties": { "m": { "a": 1 } } })),
            "nodes[1].properties.m",
        ),
        (
            node(json!({ "key": "b", "labels": ["X"], "properties": { "l": [1, "a"] } })),
            "nodes[1].properties.l",
        ),
        (
            node(json!({ "key": "b", "labels": ["X"], "properties": { "l": [[1]] } })),
            "nodes[1].properties.l[0]",
        ),
        (
            node(json!({ "key": "b", "labels": ["X"], "properties": { "t": long } })),
            "nodes[1].properties.t",
        ),
        (node(json!({ "key": "b", "labels": ["X"], "properties": heavy })), "nodes[1].properties"),
        (json!({ "nodes": many }), "nodes"),
        (json!({}), "nodes"),
        (
            json!({ "relationships": [{ "start": "a", "type": "9", "end": "b" }] }),
            "relationships[0].type",
        ),
        (
            json!({ "relationships": [{ "start": "a", "type": "T", "end": " b" }] }),
            "relationships[0].end",
        ),
        (
            json!({ "relationships": [{ "start": "a", "type": "T", "end": "b" }, { "start": "a", "type": "T", "end": "b" }] }),
            "relationships[1]",
        ),
    ];
    for fixture in stores() {
        for (request, at) in &cases {
            match fixture.upsert(request.clone()).await {
                Err(error @ GraphError::Invalid { .. }) => {
                    assert!(error.public().starts_with(&format!("{at}: ")), "{at}: {error}");
                    assert_eq!(error.kind(), Kind::InvalidInput);
                }
                other => panic!("{at}: {other:?}"),
            }
        }
        assert_eq!(fixture.store.stats(soon()).await.unwrap().nodes, 0);
    }
}

#[tokio::test]
async fn property_values_come_back_as_they_went_in() {
    let properties = json!({
        "t": "é 日本 \u{1F600} ' \" \\ `", "i": i64::MIN, "j": i64::MAX, "f": 1e300, "w": 2.0, "b": true,
        "lt": ["a", ""], "li": [1, 2], "lf": [1.5, 2.0], "lb": [true, false], "empty": []
    });
    for fixture in stores() {
        let node = json!({ "key": "v", "labels": ["V"], "properties": properties.clone() });
        fixture.upsert(json!({ "nodes": [node] })).await.unwrap();
        let rows = fixture.rows("MATCH (n:V) RETURN n", json!({})).await;
        let mut stored = rows[0]["n"]["properties"].as_object().unwrap().clone();
        assert_eq!(stored.remove("key"), Some(json!("v")));
        assert_eq!(Value::Object(stored), properties, "{}", fixture.name);
    }
}

#[tokio::test]
async fn a_unique_index_refuses_the_second_value_and_keeps_the_graph() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let index = IndexSpec { label: "Person".into(), property: "name".into(), unique: true };
        assert!(fixture.store.ensure_index(index.clone(), soon()).await.unwrap());
        assert!(!fixture.store.ensure_index(index.clone(), soon()).await.unwrap(), "a second time");
        let other = IndexSpec { unique: false, ..index.clone() };
        let error = fixture.store.ensure_index(other, soon()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(fixture.store.stats(soon()).await.unwrap().indexes.contains(&index));
        let before = fixture.digest().await;
        let node = json!({ "key": "ada2", "labels": ["Person"], "properties": { "name": "Ada" } });
        let error = fixture.upsert(json!({ "nodes": [node] })).await.unwrap_err();
        assert!(matches!(error, GraphError::NotUnique { .. }), "{error:?}");
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(fixture.digest().await, before);
    }
}

#[tokio::test]
async fn concurrent_upserts_of_one_key_make_one_node() {
    for fixture in stores() {
        let writes = (0..20).map(|i| {
            let node = json!({ "key": "one", "labels": ["X"], "properties": { "i": i } });
            fixture.upsert(json!({ "nodes": [node] }))
        });
        for result in futures_util::future::join_all(writes).await {
            result.unwrap();
        }
        assert_eq!(
            fixture.rows("MATCH (n) RETURN count(n) AS c", json!({})).await,
            json!([{ "c": 1 }])
        );
    }
}
