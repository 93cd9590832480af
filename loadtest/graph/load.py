"""Loads the graph of actors/examples/graph_load.rs with the official Neo4j driver, in batches of 1,000.

Run by loadtest/graph/run.sh. Arguments: nodes, edges, `merge` or `create`. Prints the seconds of each half.
"""

import os
import sys
import time

from neo4j import GraphDatabase

BATCH = 1000
NODES = {
    "merge": "UNWIND $rows AS row MERGE (n:Entity {key: row.key}) SET n:Person SET n += row",
    "create": "UNWIND $rows AS row CREATE (n:Entity:Person) SET n = row",
}
EDGES = {
    "merge": "UNWIND $rows AS row MATCH (a:Entity {key: row.s}) MATCH (b:Entity {key: row.e}) "
    "MERGE (a)-[r:KNOWS]->(b) SET r += row.p",
    "create": "UNWIND $rows AS row MATCH (a:Entity {key: row.s}) MATCH (b:Entity {key: row.e}) "
    "CREATE (a)-[r:KNOWS]->(b) SET r = row.p",
}


def node(i):
    return {"key": f"n{i}", "name": f"Person {i}", "born": 1900 + i % 100, "score": i / 7}


def edge(i, nodes):
    start = i % nodes
    return {"s": f"n{start}", "e": f"n{(start * 7 + 1 + i // nodes) % nodes}", "p": {"since": 1950 + i % 70}}


def load(session, text, rows):
    began = time.perf_counter()
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        session.execute_write(lambda tx: tx.run(text, rows=part).consume())
    return time.perf_counter() - began


def main():
    nodes, edges, kind = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    uri, password = os.environ["ULTIMATE_MCP_TEST_NEO4J"], os.environ["ULTIMATE_MCP_TEST_NEO4J_PASSWORD"]
    with GraphDatabase.driver(uri, auth=("neo4j", password)) as driver:
        driver.verify_connectivity()
        # The rows are ready before the clock runs.
        node_rows = [node(i) for i in range(nodes)]
        edge_rows = [edge(i, nodes) for i in range(edges)]
        with driver.session() as session:
            print(load(session, NODES[kind], node_rows), load(session, EDGES[kind], edge_rows))


main()
