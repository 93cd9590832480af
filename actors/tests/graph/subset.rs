//! Each construct of the common subset answers what Neo4j answers.

use serde_json::{Value, json};
use ultimate_mcp_actors::graph::GraphOptions;

use super::fixture::{Fixture, embedded, neo4j, stores};

async fn check(fixture: &Fixture, cypher: &str, parameters: Value, expected: Value) {
    let rows = fixture.rows(cypher, parameters).await;
    assert_eq!(rows, expected, "{}: {cypher}", fixture.name);
}

macro_rules! subset {
    ($($name:ident: $cypher:expr, $parameters:tt => $expected:tt;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                let fixture = embedded(GraphOptions::default()).with_people().await;
                check(&fixture, $cypher, json!($parameters), json!($expected)).await;
            }
        )*

        /// All of them in one turn on the server.
        #[tokio::test]
        async fn neo4j_answers_the_same() {
            let fixture = neo4j(GraphOptions::default()).with_people().await;
            $( check(&fixture, $cypher, json!($parameters), json!($expected)).await; )*
        }
    };
}

subset! {
    match_by_label_and_property:
        "MATCH (n:Person {name: $name}) RETURN n.key", {"name": "Ada"} => [{"n.key": "ada"}];
    match_by_the_indexed_key:
        "MATCH (n:Entity {key: $key}) RETURN n.name AS name", {"key": "grace"} => [{"name": "Grace"}];
    optional_match_gives_null:
        "MATCH (n:Person) OPTIONAL MATCH (n)-[:LIVES_IN]->(t) RETURN n.key AS k, t.key AS t ORDER BY k", {} =>
        [{"k": "ada", "t": "london"}, {"k": "alan", "t": null}, {"k": "charles", "t": "london"}, {"k": "grace", "t": null}];
    comparisons:
        "MATCH (n:Person) WHERE n.born < 1900 AND n.born >= 1791 AND n.name <> 'Ada' RETURN n.key", {} => [{"n.key": "charles"}];
    boolean_operators:
        "MATCH (n:Person) WHERE NOT n.born = 1815 XOR n.name = 'Ada' OR false RETURN n.key AS k ORDER BY k", {} =>
        [{"k": "ada"}, {"k": "charles"}, {"k": "grace"}];
    membership_in_a_list_parameter:
        "MATCH (n) WHERE n.key IN $keys RETURN n.key AS k ORDER BY k", {"keys": ["ada", "alan", "nobody"]} => [{"k": "ada"}, {"k": "alan"}];
    starts_ends_contains:
        "MATCH (n) WHERE n.name STARTS WITH 'A' AND n.name ENDS WITH 'a' AND n.name CONTAINS 'd' RETURN n.key", {} => [{"n.key": "ada"}];
    null_tests:
        "MATCH (n:Person) WHERE n.born IS NULL AND n.name IS NOT NULL RETURN n.key", {} => [{"n.key": "alan"}];
    label_predicate:
        "MATCH (n) WHERE n:Poet AND NOT n:Town RETURN n.key", {} => [{"n.key": "ada"}];
    pattern_predicate_in_where:
        "MATCH (n:Person) WHERE (n)-[:LIVES_IN]->(:Town) AND NOT (n)<-[:ADMIRES]-() RETURN n.key", {} => [{"n.key": "charles"}];
    two_hops_across_types:
        "MATCH (a)-[:KNOWS]->(b)-[:KNOWS]->(c) RETURN a.key, b.key, c.key", {} => [{"a.key": "ada", "b.key": "charles", "c.key": "grace"}];
    undirected_relationship:
        "MATCH (:Entity {key: 'charles'})-[:KNOWS]-(b) RETURN b.key AS k ORDER BY k", {} => [{"k": "ada"}, {"k": "grace"}];
    type_alternatives:
        "MATCH (:Entity {key: 'ada'})-[r:KNOWS|LIVES_IN]->(b) RETURN type(r) AS t, b.key AS k ORDER BY t", {} =>
        [{"t": "KNOWS", "k": "charles"}, {"t": "LIVES_IN", "k": "london"}];
    relationship_properties:
        "MATCH (a)-[r:KNOWS {since: 1833}]->(b) RETURN r.since, startNode(r).key AS s, endNode(r).key AS e", {} =>
        [{"r.since": 1833, "s": "ada", "e": "charles"}];
    variable_length:
        "MATCH (:Entity {key: 'ada'})-[:KNOWS*1..3]->(b) RETURN b.key AS k ORDER BY k", {} => [{"k": "charles"}, {"k": "grace"}];
    named_path:
        "MATCH p = (:Entity {key: 'ada'})-[:KNOWS]->()-[:KNOWS]->() RETURN length(p) AS l, [n IN nodes(p) | n.key] AS k, size(relationships(p)) AS r", {} =>
        [{"l": 2, "k": ["ada", "charles", "grace"], "r": 2}];
    shortest_path:
        "MATCH (a:Entity {key: 'ada'}), (b:Entity {key: 'grace'}) MATCH p = shortestPath((a)-[*..5]->(b)) RETURN length(p) AS l", {} => [{"l": 2}];
    with_aggregation_then_where:
        "MATCH (n)-[:LIVES_IN]->(t) WITH t, count(n) AS c WHERE c > 1 RETURN t.key, c", {} => [{"t.key": "london", "c": 2}];
    unwind_a_list:
        "UNWIND [1, 2, 2] AS x WITH DISTINCT x RETURN x ORDER BY x DESC", {} => [{"x": 2}, {"x": 1}];
    unwind_rows_of_a_parameter:
        "UNWIND $rows AS row MATCH (n:Entity {key: row.key}) RETURN n.name AS n, row.v AS v", {"rows": [{"key": "ada", "v": 1}]} => [{"n": "Ada", "v": 1}];
    aggregates:
        "MATCH (n:Person) RETURN count(*), count(n.born) AS c, sum(n.born) AS s, min(n.born) AS lo, max(n.born) AS hi, avg(n.born) AS a", {} =>
        [{"count(*)": 4, "c": 3, "s": 5512, "lo": 1791, "hi": 1906, "a": (5512.0 / 3.0)}];
    collect_and_distinct:
        "MATCH (n)-[:LIVES_IN]->(t) WITH t.key AS t, n.key AS k ORDER BY k RETURN t, collect(k) AS keys, count(DISTINCT t) AS d", {} =>
        [{"t": "london", "keys": ["ada", "charles"], "d": 1}];
    return_distinct:
        "MATCH (n:Person)-[:LIVES_IN]->(t) RETURN DISTINCT t.key", {} => [{"t.key": "london"}];
    order_skip_limit_by_parameters:
        "MATCH (n:Person) RETURN n.key AS k ORDER BY n.born DESC SKIP $s LIMIT $l", {"s": 1, "l": 2} => [{"k": "grace"}, {"k": "ada"}];
    case_with_conditions:
        "MATCH (n:Person) RETURN n.key AS k, CASE WHEN n.born < 1800 THEN 'old' WHEN n.born IS NULL THEN 'unknown' ELSE 'new' END AS age ORDER BY k", {} =>
        [{"k": "ada", "age": "new"}, {"k": "alan", "age": "unknown"}, {"k": "charles", "age": "old"}, {"k": "grace", "age": "new"}];
    case_with_values:
        "UNWIND [1, 2] AS x RETURN CASE x WHEN 1 THEN 'one' ELSE 'many' END AS w", {} => [{"w": "one"}, {"w": "many"}];
    list_comprehension_and_slices:
        "RETURN [x IN [1, 2, 3, 4] WHERE x % 2 = 0 | x * 10] AS l, [1, 2, 3][0..2] AS s, [1, 2, 3][-1] AS last", {} => [{"l": [20, 40], "s": [1, 2], "last": 3}];
    pattern_comprehension:
        "MATCH (n:Entity {key: 'ada'}) RETURN [(n)-[:KNOWS]->(b) | b.name] AS names", {} => [{"names": ["Charles"]}];
    list_predicates:
        "MATCH (n:Poet) RETURN any(t IN n.tags WHERE t = 'math') AS a, all(t IN n.tags WHERE t = 'math') AS b, none(t IN n.tags WHERE t = 'x') AS c, single(t IN n.tags WHERE t = 'math') AS d", {} =>
        [{"a": true, "b": false, "c": true, "d": true}];
    union_removes_duplicates:
        "MATCH (n:Poet) RETURN n.key AS k UNION MATCH (n:Person) WHERE n.born = 1815 RETURN n.key AS k", {} => [{"k": "ada"}];
    union_all_keeps_them:
        "MATCH (n:Poet) RETURN n.key AS k UNION ALL MATCH (n:Poet) RETURN n.key AS k", {} => [{"k": "ada"}, {"k": "ada"}];
    temporal_values_are_iso_8601:
        "RETURN date('2024-02-29') AS d, datetime('2024-01-02T03:04:05Z') AS dt, localdatetime('2024-01-02T03:04:05') AS ldt, time('03:04:05+01:00') AS t, localtime('03:04:05') AS lt, duration('P1Y2M3DT4H') AS du, date('2024-03-01') > date('2024-02-29') AS later", {} =>
        [{"d": "2024-02-29", "dt": "2024-01-02T03:04:05Z", "ldt": "2024-01-02T03:04:05", "t": "03:04:05+01:00", "lt": "03:04:05", "du": "P1Y2M3DT4H", "later": true}];
    string_functions:
        "RETURN toUpper('a') + toLower('B') AS c, trim(' x ') AS t, substring('abcd', 1, 2) AS s, replace('a-b', '-', '+') AS r, split('a,b', ',') AS p, left('abc', 1) AS l, right('abc', 1) AS ri, size('abc') AS n, reverse('ab') AS v", {} =>
        [{"c": "Ab", "t": "x", "s": "bc", "r": "a+b", "p": ["a", "b"], "l": "a", "ri": "c", "n": 3, "v": "ba"}];
    conversions_and_numbers:
        "RETURN toString(1) AS s, toInteger('7') AS i, toFloat('1.5') AS f, toBoolean('true') AS b, abs(-2) AS a, sign(-3) AS g, ceil(1.2) AS c, floor(1.8) AS fl, round(1.5) AS r, sqrt(4.0) AS q, 7 / 2 AS d, 7 % 2 AS m, 2 ^ 3 AS p", {} =>
        [{"s": "1", "i": 7, "f": 1.5, "b": true, "a": 2, "g": -1, "c": 2.0, "fl": 1.0, "r": 2.0, "q": 2.0, "d": 3, "m": 1, "p": 8.0}];
    lists_and_maps:
        "WITH {a: 1, b: [1, 2]} AS m RETURN m.a AS a, m.b[1] AS b, keys(m) AS k, head([1, 2]) AS h, last([1, 2]) AS l, tail([1, 2]) AS t, range(1, 3) AS r, coalesce(null, 5) AS c", {} =>
        [{"a": 1, "b": 2, "k": ["a", "b"], "h": 1, "l": 2, "t": [2], "r": [1, 2, 3], "c": 5}];
    properties_and_keys_of_a_node:
        "MATCH (n:Town) UNWIND keys(n) AS k WITH n, k ORDER BY k RETURN properties(n) AS p, collect(k) AS k, 'Town' IN labels(n) AS l, size(labels(n)) AS s", {} =>
        [{"p": {"key": "london", "name": "London"}, "k": ["key", "name"], "l": true, "s": 2}];
    nested_parameters:
        "RETURN ($m.a[1]).b AS x", {"m": {"a": [0, {"b": "deep"}]}} => [{"x": "deep"}];
    a_trailing_semicolon_and_comments:
        "/* who */ MATCH (n:Poet) // poets\nRETURN n.key;", {} => [{"n.key": "ada"}];
    keywords_as_quoted_names:
        "MATCH (`CREATE`:Poet) RETURN `CREATE`.key AS `DELETE`, 'MERGE' AS s, {set: 1}.set AS m", {} => [{"DELETE": "ada", "s": "MERGE", "m": 1}];
    no_rows:
        "MATCH (n:Nobody) RETURN n", {} => [];
}

#[tokio::test]
async fn computed_columns_are_named_by_their_text() {
    for fixture in stores() {
        let result = fixture
            .with_people()
            .await
            .query("MATCH (n:Poet) RETURN toUpper( n.name ), toUpper(n.key), count( /* x */ n), 1+1, n ORDER BY 1")
            .await
            .unwrap();
        assert_eq!(
            result.columns,
            ["toUpper( n.name )", "toUpper(n.key)", "count( n)", "1+1", "n"]
        );
    }
}

#[tokio::test]
async fn nodes_relationships_and_paths_keep_what_they_are() {
    for fixture in stores() {
        let fixture = fixture.with_people().await;
        let cypher = "MATCH p = (a:Poet)-[r:KNOWS]->(b) RETURN a, r, p, [a] AS l, {n: b} AS m";
        let rows = fixture.rows(cypher, json!({})).await;
        let row = &rows[0];
        assert_eq!(row["a"]["labels"], json!(["Entity", "Person", "Poet"]));
        assert_eq!(row["a"]["properties"]["born"], json!(1815));
        assert_eq!(row["r"]["type"], json!("KNOWS"));
        assert_eq!(row["r"]["start"], row["a"]["id"]);
        assert_eq!(row["r"]["end"], row["m"]["n"]["id"]);
        assert_eq!(row["r"]["properties"], json!({ "since": 1833 }));
        assert_eq!(row["p"]["length"], json!(1));
        assert_eq!(row["p"]["nodes"][0], row["a"]);
        assert_eq!(row["p"]["relationships"][0], row["r"]);
        assert_eq!(row["l"][0], row["a"]);
    }
}

#[tokio::test]
async fn numbers_beyond_a_double_stay_exact_and_infinities_are_text() {
    for fixture in stores() {
        let cypher =
            "RETURN $big AS big, 1.0 / 0 AS up, -1.0 / 0 AS down, 0.0 / 0.0 AS nan, 0.1 AS f";
        let rows = fixture.rows(cypher, json!({ "big": 9_007_199_254_740_993_i64 })).await;
        let expected = json!([{ "big": 9_007_199_254_740_993_i64, "up": "Infinity",
                                "down": "-Infinity", "nan": "NaN", "f": 0.1 }]);
        assert_eq!(rows, expected, "{}", fixture.name);
    }
}
