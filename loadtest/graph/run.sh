#!/bin/sh
# Loads 100,000 nodes and 300,000 relationships into a real Neo4j, by us and by the official Python driver, and
# prints the ratio. Needs ULTIMATE_MCP_TEST_NEO4J and ULTIMATE_MCP_TEST_NEO4J_PASSWORD: run it under
# tests/kit/servers/with-servers.sh. The server's graph is deleted.
set -eu

here=$(dirname "$(readlink -f "$0")")
cache=${ULTIMATE_MCP_CACHE:-$HOME/.cache/ultimate-mcp}
# The newest that was compared with; a pinned client makes figures comparable.
driver='neo4j==6.4.1'

# A virtual environment with the official driver, made once.
install_driver() {
    venv=$cache/bench-graph
    if [ ! -e "$venv/$driver.done" ]; then
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet "$driver"
        touch "$venv/$driver.done"
    fi
}

install_driver
PYTHON=$venv/bin/python LOAD_PY=$here/load.py \
    cargo run --release --quiet -p ultimate-mcp-actors --example graph_load -- "$@"
