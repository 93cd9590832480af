#!/usr/bin/env bash
# Runs a command beside a real Neo4j that is shared by all tests; stops it afterwards, however that ends.
#   with-servers.sh cargo test --workspace
# A server named in ULTIMATE_MCP_TEST_NEO4J (bolt://…) is used as it is: its database will be emptied.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${ULTIMATE_MCP_TEST_NEO4J:-}" ]; then
  folder=$(mktemp -d)
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  trap '"$here/neo4j.sh" down -d "$folder"; rm -rf "$folder"' EXIT
  "$here/neo4j.sh" up -d "$folder" -p "$port" -w test-password >&2
  export ULTIMATE_MCP_TEST_NEO4J=bolt://127.0.0.1:$port ULTIMATE_MCP_TEST_NEO4J_PASSWORD=test-password
fi
"$@"
