//! Deletes: all or nothing, what was missing is told.

use serde_json::json;
use ultimate_mcp_actors::fault::{Classify, Kind};
use ultimate_mcp_actors::graph::GraphError;

use super::fixture::{soon, stores};

#[tokio::test]
async fn a_connected_node_is_refused_unless_detached() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let before = fixture.digest().await;
        let error =
            fixture.delete(json!({ "nodes": ["alan", "ada", "london"] })).await.unwrap_err();
        match &error {
            GraphError::StillConnected { keys } => assert_eq!(keys, &["ada", "london"]),
            other => panic!("{other:?}"),
        }
        assert_eq!(error.kind(), Kind::Conflict);
        assert_eq!(fixture.digest().await, before, "nothing was deleted");
        let result =
            fixture.delete(json!({ "nodes": ["alan", "ada"], "detach": true })).await.unwrap();
        assert_eq!((result.nodes_deleted, result.relationships_deleted), (2, 3));
        let stats = fixture.store.stats(soon()).await.unwrap();
        assert_eq!((stats.nodes, stats.relationships), (3, 2));
    }
}

#[tokio::test]
async fn relationships_go_first_so_that_their_nodes_can_follow() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let result = fixture
            .delete(json!({
                "nodes": ["london"],
                "relationships": [
                    { "start": "ada", "type": "LIVES_IN", "end": "london" },
                    { "start": "charles", "type": "LIVES_IN", "end": "london" }
                ]
            }))
            .await
            .unwrap();
        assert_eq!((result.nodes_deleted, result.relationships_deleted), (1, 2));
    }
}

#[tokio::test]
async fn what_is_missing_is_reported_and_the_rest_deleted() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let generation = fixture.store.generation();
        let missing = json!({ "start": "ada", "type": "HATES", "end": "charles" });
        let known = json!({ "start": "ada", "type": "KNOWS", "end": "charles" });
        let request = json!({ "nodes": ["ghost", "alan"], "relationships": [missing, known] });
        let result = fixture.delete(request).await.unwrap();
        assert_eq!((result.nodes_deleted, result.relationships_deleted), (1, 1));
        assert_eq!(result.missing_nodes, ["ghost"]);
        assert_eq!(result.missing_relationships[0].r#type, "HATES");
        assert!(result.generation > generation);
        let again = fixture.delete(json!({ "nodes": ["ghost"] })).await.unwrap();
        assert_eq!((again.nodes_deleted, again.generation), (0, result.generation));
    }
}

#[tokio::test]
async fn a_deleted_key_is_free_again() {
    for fixture in stores() {
        let node = json!({ "nodes": [{ "key": "a", "labels": ["X"], "properties": { "v": 1 } }] });
        fixture.upsert(node.clone()).await.unwrap();
        fixture.delete(json!({ "nodes": ["a"] })).await.unwrap();
        assert_eq!(fixture.upsert(node).await.unwrap().nodes.created, 1);
    }
}

#[tokio::test]
async fn a_wrong_delete_is_refused_by_path() {
    for fixture in stores() {
        for (request, path) in [
            (json!({}), "nodes"),
            (json!({ "nodes": ["a", "a"] }), "nodes[1]"),
            (json!({ "nodes": [""] }), "nodes[0]"),
            (
                json!({ "relationships": [{ "start": "a", "type": "a b", "end": "b" }] }),
                "relationships[0].type",
            ),
        ] {
            match fixture.delete(request).await {
                Err(GraphError::Invalid { path: at, .. }) => assert_eq!(at, path),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}
