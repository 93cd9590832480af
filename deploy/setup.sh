#!/usr/bin/env bash
# Brings a fresh machine to where `make run` or `make test` works.
#   deploy/setup.sh run    what the server uses at run time: interpreters, linters, pytest for the cell
#   deploy/setup.sh test   the same, the real MCP clients and conformance suites the tests drive the server with, and the real
#                          servers it is tested against: Redis, HAProxy, Neo4j (its jars; needs a JDK and Maven)
# Idempotent: what is there at the pinned version is left alone. Everything lands in one cache folder.
set -euo pipefail
mode=${1:?usage: setup.sh run|test}
cache=${ULTIMATE_MCP_CACHE:?set ULTIMATE_MCP_CACHE (the Makefile does)}
mkdir -p "$cache"

# Pinned, so that two machines lint and test alike.
ruff=ruff==0.17.6 pytest=pytest==9.2.0 oxlint=oxlint@1.94.0
client_python=mcp==2.3.0 client_node=@modelcontextprotocol/sdk@1.32.2 client_node2=@modelcontextprotocol/client@2.4.0
# Of FastMCP the part that is a client.
client_fastmcp='fastmcp-slim[client]==4.1.6' inspector=@modelcontextprotocol/inspector@2.12.0
# The host's side of MCP Apps, and a browser's document for it.
apps="@modelcontextprotocol/ext-apps@2.0.4 $client_node2 jsdom@29.1.1"
moto='moto[server]==5.2.5'
conformance='0.1.16 0.2.0-alpha.12' conformance_node=24.21.0

say() { printf 'setup: %s\n' "$*" >&2; }
need() { # need COMMAND DEBIAN-PACKAGE WHY
  command -v "$1" >/dev/null && return 0
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "installing $2 ($3)"
    [ -e "$cache/.apt-updated" ] || { apt-get update -qq && touch "$cache/.apt-updated"; }
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$2" >/dev/null && return 0
  fi
  say "missing: $1 ($3); install it, on Debian: apt-get install $2"
  return 1
}
# once STAMP COMMAND…: runs the command unless it succeeded before with this stamp.
once() {
  local stamp="$cache/.done-$1"; shift
  [ -e "$stamp" ] && return 0
  "$@" && touch "$stamp"
}

need cargo cargo "builds the server; or see rustup.rs" || exit 1
need cc gcc "links the server" || exit 1
need /usr/bin/python3 python3 "runs Python in the cell" || exit 1
need node nodejs "runs JavaScript in the cell" || say "JavaScript will be unsupported"
need shellcheck shellcheck "lints Bash" || say "Bash will not be linted"

cell_tools() {
  rm -rf "$cache/tools/python.new"
  python3 -m pip install --quiet --root-user-action ignore --target "$cache/tools/python.new" "$ruff" "$pytest" || return 1
  rm -rf "$cache/tools/python" && mv "$cache/tools/python.new" "$cache/tools/python"
}
oxlint_tool() { npm install --silent --no-fund --no-audit --prefix "$cache/tools/node" "$oxlint"; }
mkdir -p "$cache/tools"
python3 -m pip --version >/dev/null 2>&1 || need pip3 python3-pip "installs ruff and pytest" || exit 1
once "cell-$ruff-$pytest" cell_tools || { say "missing: $ruff, $pytest (pip could not install them)"; exit 1; }
if need npm npm "installs oxlint"; then
  once "${oxlint}" oxlint_tool || say "missing: $oxlint (npm could not install it); JavaScript will not be linted"
fi
[ "$mode" = test ] || exit 0

python_client() {
  python3 -m venv "$cache/client-python" || { need pyvenv python3-venv "makes a virtual environment" && python3 -m venv "$cache/client-python"; }
  "$cache/client-python/bin/pip" install --quiet "$client_python"
}
node_client() { npm install --silent --no-fund --no-audit --prefix "$cache/client-$1" "${@:2}"; }
fastmcp_client() { python3 -m venv "$cache/client-fastmcp" && "$cache/client-fastmcp/bin/pip" install --quiet "$client_fastmcp"; }
once "client-$client_python" python_client || { say "missing: $client_python"; exit 1; }
once "client-${client_node//\//-}" node_client node "$client_node" || { say "missing: $client_node"; exit 1; }
once "client-${client_node2//\//-}" node_client node2 "$client_node2" || { say "missing: $client_node2"; exit 1; }
once "client-${inspector//\//-}" node_client inspector "$inspector" || { say "missing: $inspector"; exit 1; }
# shellcheck disable=SC2086 # several packages
once "client-apps-2.0.4-29.1.1" node_client apps $apps || { say "missing: $apps"; exit 1; }
once "client-$client_fastmcp" fastmcp_client || { say "missing: $client_fastmcp"; exit 1; }

# The suites need a newer Node than the system's; npm carries its binaries.
newer_node() {
  local arch
  case $(uname -m) in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) return 1 ;; esac
  npm install --silent --no-fund --no-audit --prefix "$cache/conformance/node" "node-linux-$arch@$conformance_node"
}
suite() { npm install --silent --no-fund --no-audit --prefix "$cache/conformance/$1" "@modelcontextprotocol/conformance@$1"; }
once "conformance-node-$conformance_node" newer_node || { say "missing: Node $conformance_node (npm could not install it)"; exit 1; }
for version in $conformance; do
  once "conformance-$version" suite "$version" || { say "missing: the MCP conformance suite $version (npm could not install it)"; exit 1; }
done

provider=oidc-provider@9.13.3
openid_provider() { npm install --silent --no-fund --no-audit --prefix "$cache/oidc" "$provider"; }
once "$provider" openid_provider || { say "missing: $provider (npm could not install it)"; exit 1; }

need redis-server redis-server "is one of the engines under test" || exit 1
# A library, not a command: `faketime` is its twin that brings it.
need faketime faketime "lets the clock of a server jump in make chaos" || say "clocks will not jump"
need openssl openssl "makes certificates for the tests" || exit 1
need haproxy haproxy "stands before several nodes in the tests" || exit 1
need java default-jdk-headless "runs Neo4j for the tests" || exit 1
need mvn maven "fetches Neo4j for the tests" || exit 1
tests/kit/servers/neo4j.sh fetch || { say "missing: Neo4j (Maven could not fetch its jars)"; exit 1; }
s3_server() { python3 -m venv "$cache/moto" && "$cache/moto/bin/pip" install --quiet "$moto"; }
once "moto-5.2.5" s3_server || { say "missing: $moto (pip could not install it)"; exit 1; }
