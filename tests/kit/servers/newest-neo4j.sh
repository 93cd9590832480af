#!/usr/bin/env bash
# Runs a command beside the newest Neo4j that a JDK of this machine can run, if that is another one than the
# default `java` runs; says so when there is none.
#   newest-neo4j.sh cargo test --workspace --test graph
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
major() { "$1" -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p'; }
if [ "$(major java)" -ge 21 ]; then
  echo "newest-neo4j: the default java runs it already" >&2; exit 0
fi
for java in /usr/lib/jvm/*/bin/java; do
  if [ -x "$java" ] && [ "$(major "$java")" -ge 21 ]; then
    unset ULTIMATE_MCP_TEST_NEO4J ULTIMATE_MCP_TEST_NEO4J_PASSWORD
    NEO4J_JAVA=$java exec "$here/with-servers.sh" "$@"
  fi
done
echo "newest-neo4j: no JDK of version 21 or newer here; only Neo4j 5.26 was tested" >&2
