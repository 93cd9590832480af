#!/usr/bin/env bash
# Runs both MCP conformance suites against the fixtures binary, each run beside a server of its own.
#   run.sh BINARY      every run; ends with 1 when one differs from its list of expected failures
# The lists are expected/RUN.yml: what fails and is not listed fails the run, and so does what is listed
# and passes. Details of a failed run are kept in the folder that is named.
set -euo pipefail
binary=${1:?usage: run.sh BINARY}
here=$(cd "$(dirname "$0")" && pwd)
suites=${ULTIMATE_MCP_CACHE:?set ULTIMATE_MCP_CACHE (the Makefile does)}/conformance
node=$(echo "$suites"/node/node_modules/node-linux-*/bin/node)
[ -x "$node" ] || { echo "conformance: no Node in $suites/node; run deploy/setup.sh test" >&2; exit 1; }
results=$(mktemp -d)
server=''
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true' EXIT

suite() { # suite RUN VERSION ARGUMENT…
  local run=$1 version=$2 url='' outcome=0 began=$SECONDS; shift 2
  mkdir "$results/$run" && : >"$results/$run/url"
  "$binary" >"$results/$run/url" 2>"$results/$run/server.log" &
  server=$!
  for _ in $(seq 100); do
    url=$(head -n 1 "$results/$run/url"); [ -z "$url" ] || break
    sleep 0.1
  done
  [ -n "$url" ] || { echo "conformance: the fixtures did not start: $(cat "$results/$run/server.log")" >&2; return 1; }
  (cd "$results/$run" && timeout 120 "$node" "$suites/$version/node_modules/@modelcontextprotocol/conformance/dist/index.js" \
    server --url "$url" "$@" --expected-failures "$here/expected/$run.yml" -o "$results/$run/checks") \
    >"$results/$run/output" 2>&1 || outcome=$?
  kill "$server" 2>/dev/null || true
  wait "$server" 2>/dev/null || true
  server=''
  if [ "$outcome" = 0 ]; then
    echo "conformance: $run: $(grep -a '^Total:' "$results/$run/output" | tail -n 1), $((SECONDS - began)) s, as expected"
  else
    tail -n 60 "$results/$run/output" >&2
    echo "conformance: $run differs from expected/$run.yml; details in $results/$run" >&2
  fi
  return "$outcome"
}

failed=0
suite 0.1.16-all 0.1.16 --suite all || failed=1
suite 0.2.0-all 0.2.0-alpha.12 --suite all || failed=1
suite 0.2.0-2025-11-25 0.2.0-alpha.12 --requirements 2025-11-25 || failed=1
suite 0.2.0-2026-07-28 0.2.0-alpha.12 --requirements 2026-07-28 || failed=1
[ "$failed" = 1 ] || rm -rf "$results"
exit "$failed"
