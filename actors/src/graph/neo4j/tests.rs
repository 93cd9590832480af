//! The plans of our statements: each seeks by an index, none scans what it could seek.

use serde_json::{Value, json};
use ultimate_mcp_testkit::neo4j_exclusive;

use super::{delete, schema, transfer, upsert};
use crate::neo4j::value::from_json;

/// Every statement that names nodes, with parameters that find some.
fn statements() -> Vec<(String, Value)> {
    let keys = json!({ "keys": ["k1", "k2", "k999"] });
    let row =
        json!({ "i": 0, "s": "k1", "e": "k2", "key": "k1", "p": { "w": 1 }, "set": { "v": 2 } });
    let rows = json!({ "rows": [row] });
    let page = json!({ "after": "k5", "page": 10 });
    vec![
        (upsert::NODES.to_owned(), keys.clone()),
        (upsert::KNOWN.to_owned(), keys.clone()),
        (upsert::SET_PROPERTIES.to_owned(), rows.clone()),
        (upsert::change_label("Person", true), keys.clone()),
        (upsert::change_label("Person", false), keys.clone()),
        (upsert::find_relationships("T"), rows.clone()),
        (upsert::create_relationships("T", false), rows.clone()),
        (upsert::create_relationships("T", true), rows.clone()),
        (upsert::update_relationships("T"), rows.clone()),
        (delete::delete_relationships("T"), rows),
        (delete::DEGREES.to_owned(), keys.clone()),
        (delete::DELETE.to_owned(), json!({ "keys": ["alone"] })),
        (delete::DETACH.to_owned(), keys),
        (transfer::NODES.to_owned(), page.clone()),
        (transfer::RELATIONSHIPS.to_owned(), page),
    ]
}

#[tokio::test]
async fn every_statement_of_ours_seeks_by_an_index() {
    let exclusive = neo4j_exclusive().await;
    let graph = exclusive.server.graph().await;
    for migration in schema::migrations() {
        for text in migration.statements {
            graph.run(neo4rs::query(&text)).await.unwrap();
        }
    }
    let fill = "UNWIND range(1, 2000) AS i CREATE (n:Entity:Person {key: 'k' + i}) \
                WITH collect(n) AS l UNWIND range(0, 1998) AS i WITH l[i] AS a, l[i + 1] AS b CREATE (a)-[:T]->(b)";
    graph.run(neo4rs::query(fill)).await.unwrap();
    // Plans made for the graphs of other tests, and counts of before the fill, say nothing here.
    graph.run(neo4rs::query("CALL db.prepareForReplanning(60)")).await.unwrap();
    for (text, parameters) in statements() {
        let params = parameters.as_object().unwrap().iter();
        let query = params
            .fold(neo4rs::query(&format!("PROFILE {text}")), |query, (name, value)| {
                query.param(name, from_json(value))
            });
        let mut rows = graph.execute(query).await.unwrap();
        while rows.next().await.unwrap().is_some() {}
        let plan = format!("{:?}", rows.finish().await.unwrap());
        assert!(plan.contains("operatorType"), "no plan came: {plan}");
        for scan in ["AllNodesScan", "NodeByLabelScan", "NodeIndexScan", "RelationshipTypeScan"] {
            assert!(!plan.contains(scan), "{text}: {scan}\n{plan}");
        }
        assert!(plan.contains("Seek"), "{text}\n{plan}");
    }
}
