//! Export and import: the same graph again, or a clear no.

use std::io::BufReader;

use serde_json::json;
use ultimate_mcp_actors::fault::Classify;
use ultimate_mcp_actors::graph::GraphError;
use ultimate_mcp_actors::graph::model::{ImportMode, TransferReport};

use super::fixture::{Fixture, pairs, soon, stores};

async fn import(
    fixture: &Fixture,
    text: &str,
    mode: ImportMode,
) -> Result<TransferReport, GraphError> {
    let source = BufReader::new(std::io::Cursor::new(text.as_bytes().to_vec()));
    fixture.store.import(Box::new(source), mode).await
}

#[tokio::test]
async fn an_export_imported_elsewhere_is_the_same_graph() {
    for (fixture, empty) in pairs() {
        let fixture = fixture.with_people().await;
        let floats = json!({ "f": 0.1, "g": 2.225_073_858_507_201e-308, "h": 123_456_789.123_456_79,
                             "l": [0.3, 1e23, 5e-324], "i": i64::MAX, "t": "\u{2028}\"\\\n" });
        let node = json!({ "key": "é", "labels": ["V"], "properties": floats });
        fixture.upsert(json!({ "nodes": [node] })).await.unwrap();
        let (text, exported) = fixture.export().await;
        let imported = import(&empty, &text, ImportMode::IntoEmpty).await.unwrap();
        assert_eq!(imported, exported);
        assert_eq!((exported.nodes, exported.relationships), (6, 5));
        assert_eq!(empty.export().await.0, text, "byte for byte");
        assert!(empty.store.generation() > 0);
    }
}

#[tokio::test]
async fn the_same_graph_built_in_another_order_has_the_same_digest() {
    for (one, two) in pairs() {
        let one = one.with_people().await;
        let mut people = super::fixture::people();
        people.nodes.reverse();
        people.relationships.reverse();
        two.upsert(json!({ "nodes": [{ "key": "tmp", "labels": ["X"] }] })).await.unwrap();
        two.store.upsert(people, soon()).await.unwrap();
        two.delete(json!({ "nodes": ["tmp"] })).await.unwrap();
        assert_eq!(one.digest().await, two.digest().await);
    }
}

#[tokio::test]
async fn a_wrong_import_names_its_line_and_imports_nothing() {
    for (source, fixture) in pairs() {
        let (text, _) = source.with_people().await.export().await;
        let lines: Vec<&str> = text.lines().collect();
        let changed = |line: usize, with: &str| {
            let mut lines = lines.clone();
            lines[line - 1] = with;
            lines.join("\n") + "\n"
        };
        let node = |properties: &str| {
            format!(r#"{{"node":{{"key":"x","labels":["X"],"properties":{properties}}}}}"#)
        };
        let cut: String = lines[..lines.len() - 1].join("\n") + "\n";
        for (text, line) in [
            (String::new(), 1),
            (changed(1, r#"{"graph":"other","version":1}"#), 1),
            (changed(1, r#"{"graph":"ultimate-mcp","version":9}"#), 1),
            (changed(2, "{"), 2),
            (changed(2, r#"{"node":{"key":"x","labels":["X"],"colour":1}}"#), 2),
            (changed(3, r#"{"node":{"key":"","labels":["X"],"properties":{}}}"#), 3),
            (changed(3, &node(r#"{"a b":1}"#)), 3),
            (changed(3, &node(r#"{"m":{"a":1}}"#)), 3),
            (
                changed(
                    8,
                    r#"{"relationship":{"start":"ada","type":"T","end":"nobody","properties":{}}}"#,
                ),
                8,
            ),
            (changed(3, lines[2].replace("Alan", "Alen").as_str()), 12),
            (changed(12, r#"{"end":{"nodes":1,"relationships":1}}"#), 12),
            (cut, 12),
            (format!("{text}\n"), 13),
        ] {
            match import(&fixture, &text, ImportMode::IntoEmpty).await {
                Err(GraphError::Import { line: at, problem }) => {
                    assert_eq!(at, line, "{problem}\n{text}");
                }
                other => panic!("{other:?}\n{text}"),
            }
            assert_eq!(fixture.store.stats(soon()).await.unwrap().nodes, 0);
        }
        assert_eq!(fixture.store.generation(), 0);
    }
}

#[tokio::test]
async fn an_import_over_a_graph_is_asked_for_by_name_and_replaces() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let text = concat!(
            r#"{"graph":"ultimate-mcp","version":1}"#,
            "\n",
            r#"{"node":{"key":"ada","labels":["Ghost"],"properties":{"v":1}}}"#,
            "\n",
            r#"{"relationship":{"start":"ada","type":"HAUNTS","end":"london"}}"#,
            "\n",
            r#"{"end":{"nodes":1,"relationships":1}}"#,
            "\n",
        );
        let error = import(&fixture, text, ImportMode::IntoEmpty).await.unwrap_err();
        assert!(matches!(error, GraphError::Conflict(_)), "{}", error.public());
        import(&fixture, text, ImportMode::Over).await.unwrap();
        let cypher = "MATCH (n:Ghost)-[r]->(m) RETURN properties(n) AS p, type(r) AS t ORDER BY t";
        let rows = fixture.rows(cypher, json!({})).await;
        assert_eq!(rows.as_array().unwrap().len(), 3);
        assert_eq!(rows[0], json!({ "p": { "key": "ada", "v": 1 }, "t": "HAUNTS" }));
    }
}
