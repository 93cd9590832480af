//! What is in the file is in Neo4j: once, in order, linked, and erased when it was erased.

use serde_json::json;
use ultimate_mcp_testkit::neo4j_exclusive;

use super::super::statements as cypher;
use super::*;

/// One turn of the shared server for all of these.
#[actix::test]
async fn the_copy_says_what_the_trail_says() {
    let turn = neo4j_exclusive().await;
    let client = client(options(&turn.server));
    every_event_is_there_once_and_a_replay_changes_nothing(&client).await;
    turn.server.empty().await;
    who_ran_what_on_which_data_is_one_query(&client).await;
    turn.server.empty().await;
    roles_follow_the_store_change_by_change(&client).await;
    turn.server.empty().await;
    an_erased_person_is_erased_from_the_copy_and_a_replay_does_not_return_it(&client).await;
    turn.server.empty().await;
    what_retention_removes_is_removed_from_the_copy(&client).await;
    turn.server.empty().await;
    a_trail_put_back_to_an_earlier_state_is_shipped_anew(&client).await;
}

async fn every_event_is_there_once_and_a_replay_changes_nothing(client: &Neo4jClient) {
    let node = Node::start().await;
    for n in 0..30 {
        node.call(["ada", "bob"][n % 2], json!({ "n": n, "nested": { "list": [1, null] } })).await;
    }
    let small = ShippingOptions { batch_events_max: 7, ..quick() };
    let shipping = node.ship(client.clone(), small).await;
    shipped(&shipping).await;
    assert_eq!(copied(client).await, node.stored());
    let row = &ask(client, "MATCH (e:AuditEvent {seq: 2}) RETURN e AS e", Params::new()).await[0];
    let event = &row.json("e")["properties"];
    assert_eq!((&event["user_id"], &event["phase"]), (&json!("ada"), &json!("outcome")));
    let details: serde_json::Value =
        serde_json::from_str(event["details"].as_str().unwrap()).unwrap();
    assert_eq!(details, json!({ "n": 0, "nested": { "list": [1, null] } }));
    assert_eq!((&event["success"], &event["duration_ms"]), (&json!(true), &json!(1.5)));

    // As if Neo4j had been restored from a backup that knows less of how far it is.
    let nodes = count(client, "(n)").await;
    let links = count(client, "()-[r]->()").await;
    let back = "MATCH (c:UmcpCursor) SET c.seq = 3, c.hash = $hash";
    let hash = node.stored()[&3].1.clone();
    let back = Statement::new(back).with(Params::new().set("hash", hash));
    client.write(vec![back], soon(), true).await.unwrap();
    shipping.child.ask(super::super::actor::Crash, soon()).await.unwrap_err();
    node.call("ada", json!({})).await;
    eventually("it ships again from there", || shipping.status().events_shipped > 100).await;
    shipped(&shipping).await;
    assert_eq!(copied(client).await, node.stored());
    assert_eq!(count(client, "(n)").await, nodes + 3, "two events and one execution more");
    assert_eq!(count(client, "()-[r]->()").await, links + 3);
    assert_eq!(shipping.status().problem, None);
    node.root.drain(soon()).await;
}

async fn who_ran_what_on_which_data_is_one_query(client: &Neo4jClient) {
    let node = Node::start().await;
    node.authorization
        .assign_role(&caller("ada"), "developer", &caller("root"), soon())
        .await
        .unwrap();
    let artifact = json!({ "id": "a1", "sha256": "ff00", "size": 12 });
    let touching = json!({ "touched": ["paper:1", "paper:2"], "produced": [artifact] });
    let call = node.call("ada", touching).await;
    node.call("bob", json!({ "touched": ["paper:2"] })).await;
    let shipping = node.ship(client.clone(), quick()).await;
    shipped(&shipping).await;
    let on = |key: &str| Params::new().set("key", key.to_owned());
    let rows = ask(client, cypher::WHO_RAN_WHAT, on("paper:1")).await;
    assert_eq!(rows.len(), 1);
    let row = &rows[0];
    let told = ["who", "roles", "what", "success", "data", "session", "artifacts"];
    let told: Vec<_> = told.iter().map(|column| row.json(column)).collect();
    let expected =
        json!(["ada", ["developer"], "graph_upsert", true, "paper:1", "session-of-ada", ["ff00"]]);
    assert_eq!(json!(told), expected);
    assert_eq!(row.text("trace"), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    assert_eq!(ask(client, cypher::WHO_RAN_WHAT, on("paper:2")).await.len(), 2);
    let found = format!("(:Execution {{call_id: '{call}'}})-[:PRODUCED]->(:Artifact {{size: 12}})");
    assert_eq!(count(client, &found).await, 1);
    assert_eq!(count(client, "(s) WHERE s:Entity").await, 0, "nothing of ours is in the graph");
    node.root.drain(soon()).await;
}

async fn roles_follow_the_store_change_by_change(client: &Neo4jClient) {
    let node = Node::start().await;
    let (ada, bob, root) = (caller("ada"), caller("bob"), caller("root"));
    let store = &node.authorization;
    for (user, role) in [(&ada, "viewer"), (&ada, "developer"), (&bob, "admin")] {
        store.assign_role(user, role, &root, soon()).await.unwrap();
    }
    // Left by an earlier life of this node, for somebody the store no longer knows.
    let stale = "CREATE (:User:UmcpUser {user_id: 'eve'})-[:HAS_ROLE {node_id: 'n1'}]->\
                 (:Role:UmcpRole {name: 'admin'})";
    client.write(vec![Statement::new(stale)], soon(), true).await.unwrap();
    let shipping = node.ship(client.clone(), quick()).await;
    let says = async |expected: &[(&str, &str)]| {
        let cypher = "MATCH (u:User)-[:HAS_ROLE]->(r:Role) \
                      RETURN u.user_id AS user, r.name AS role ORDER BY user, role";
        for _ in 0..1000 {
            let rows = ask(client, cypher, Params::new()).await;
            let rows: Vec<_> =
                rows.iter().map(|r| (r.text("user").unwrap(), r.text("role").unwrap())).collect();
            if rows == expected {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never said {expected:?}; {:?}", shipping.status());
    };
    says(&[("ada", "developer"), ("ada", "viewer"), ("bob", "admin")]).await;
    store.remove_role(&ada, "viewer", soon()).await.unwrap();
    says(&[("ada", "developer"), ("bob", "admin")]).await;
    store.assign_role(&bob, "viewer", &root, soon()).await.unwrap();
    store.erase_user(&ada, i64::MAX / 2, soon()).await.unwrap();
    says(&[("bob", "admin"), ("bob", "viewer")]).await;
    node.root.drain(soon()).await;
}

async fn an_erased_person_is_erased_from_the_copy_and_a_replay_does_not_return_it(
    client: &Neo4jClient,
) {
    // A name no hash can contain by chance.
    let node = Node::start().await;
    let keys = json!({ "touched": ["person:olga", "paper:1"] });
    for user in ["olga", "bob"] {
        node.authorization
            .assign_role(&caller(user), "viewer", &caller("root"), soon())
            .await
            .unwrap();
        node.call(user, keys.clone()).await;
    }
    let shipping = node.ship(client.clone(), quick()).await;
    shipped(&shipping).await;
    assert_eq!(count(client, "(:User {user_id: 'olga'})-[:RAN]->()").await, 1);

    node.authorization.erase_user(&caller("olga"), i64::MAX / 2, soon()).await.unwrap();
    let report = node.audit.erase(&caller("olga"), soon()).await.unwrap();
    assert_eq!((report.events, report.sealed), (3, 2), "hers, and bob's outcome names her");
    let nowhere = async || {
        let cypher = "MATCH (n) WHERE any(p IN keys(n) WHERE toString(n[p]) CONTAINS 'olga') \
                      RETURN labels(n) AS labels, properties(n) AS p";
        ask(client, cypher, Params::new()).await
    };
    for _ in 0..1000 {
        if nowhere().await.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let left: Vec<_> = nowhere().await.iter().map(|row| row.json("p")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert_eq!(count(client, "(:Execution)").await, 2, "what was done stays");
    assert_eq!(count(client, "(:Execution)-[:TOUCHED]->(:DataRef {key: 'paper:1'})").await, 2);
    assert_eq!(count(client, "(:User)-[:RAN]->(:Execution)").await, 1);
    assert_eq!(copied(client).await, node.stored());

    // Everything once more from the beginning.
    let forget = Statement::new("MATCH (c:UmcpCursor) DELETE c");
    client.write(vec![forget], soon(), true).await.unwrap();
    let before = shipping.status().events_shipped;
    shipping.child.ask(super::super::actor::Crash, soon()).await.unwrap_err();
    eventually("it was all shipped again", || {
        shipping.status().events_shipped >= before + 4 && shipping.status().lag_events == 0
    })
    .await;
    assert!(nowhere().await.is_empty(), "a replay brought it back");
    node.root.drain(soon()).await;
}

async fn what_retention_removes_is_removed_from_the_copy(client: &Neo4jClient) {
    let node = Node::start().await;
    node.call("ada", json!({ "touched": ["paper:1"] })).await;
    let young = node.call("ada", json!({ "touched": ["paper:2"] })).await;
    let options = ShippingOptions { tidy_period_seconds: 1, ..quick() };
    let shipping = node.ship(client.clone(), options).await;
    shipped(&shipping).await;
    let age = "MATCH (n) WHERE (n:UmcpEvent OR n:UmcpExecution) AND n.call_id <> $young \
               SET n.ts = n.ts - 91 * 86400000000";
    let age = Statement::new(age).with(Params::new().set("young", young.to_string()));
    client.write(vec![age], soon(), true).await.unwrap();
    // Events, calls and data go one after the other.
    let old = "(n) WHERE (n:UmcpEvent OR n:UmcpExecution) AND n.call_id <> $young \
               OR n:DataRef AND n.key = 'paper:1'";
    let old = format!("MATCH {old} RETURN count(n) AS n");
    for _ in 0..1000 {
        let young = Params::new().set("young", young.to_string());
        let rows = client.read(&old, young, Limits::default(), soon()).await.unwrap();
        if rows.int("n") == Some(0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(count(client, "(:AuditEvent)").await, 2);
    assert_eq!(count(client, "(:Execution)").await, 1);
    assert_eq!(count(client, "(:DataRef {key: 'paper:1'})").await, 0, "it hung on nothing else");
    assert_eq!(count(client, "(:Session)<-[:IN_SESSION]-()").await, 1, "still in use");
    node.root.drain(soon()).await;
}

async fn a_trail_put_back_to_an_earlier_state_is_shipped_anew(client: &Neo4jClient) {
    let node = Node::start().await;
    node.call("ada", json!({})).await;
    let earlier = TempDir::new().unwrap();
    let file = rusqlite::Connection::open(node.trail()).unwrap();
    file.execute("VACUUM INTO ?1", [earlier.path().join("audit.db").to_str().unwrap()]).unwrap();
    node.call("ada", json!({})).await;
    let shipping = node.ship(client.clone(), quick()).await;
    shipped(&shipping).await;
    node.root.drain(soon()).await;

    let node = Node::start_in(earlier).await;
    let other = node.call("bob", json!({})).await;
    let shipping = node.ship(client.clone(), quick()).await;
    shipped(&shipping).await;
    let of_other = format!("(:AuditEvent {{call_id: '{other}'}})");
    assert_eq!(count(client, &of_other).await, 2, "what happened since is not taken for shipped");
    assert_eq!(count(client, "(:AuditEvent)").await, 6, "what is there stays");
    node.root.drain(soon()).await;
}
