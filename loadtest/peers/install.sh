#!/usr/bin/env bash
# Installs the rival MCP servers that `make peers` measures, with their own package clients, at pinned versions.
#   install.sh FOLDER     into FOLDER (about 10 minutes the first time, half of it the Rust build)
# A peer that cannot be installed is left out, with one line that says so; the measuring program says it again.
set -uo pipefail
to=${1:?usage: install.sh FOLDER}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$to/bin"

peer() { # peer NAME COMMAND…
  local name=$1 stamp
  stamp="$to/.done-$1-$(cat "$here/install.sh" "$here"/"${2#in_}"/* 2>/dev/null | sha256sum | cut -c1-12)"
  [ -e "$stamp" ] && return 0
  echo "peers: installing $name" >&2
  if ( set -e; "${@:2}" ) >"$to/$name.log" 2>&1; then touch "$stamp"
  else echo "peers: $name could not be installed, see $to/$name.log" >&2; fi
}
in_venv() { # in_venv FOLDER REQUIREMENT…
  python3 -m venv "$to/$1" && "$to/$1/bin/pip" install -q "${@:2}"
}
in_node() { mkdir -p "$to/node" && cp "$here"/node/* "$to/node/" && (cd "$to/node" && npm install --no-audit --no-fund); }
in_go() { cp -r "$here/go" "$to/" && (cd "$to/go" && go build -o "$to/bin/" ./gosdk ./mcpgo); }
in_rmcp() {
  CARGO_TARGET_DIR=$to/target cargo build --release --locked --quiet --manifest-path "$here/rmcp/Cargo.toml"
  cp "$to/target/release/peer-rmcp" "$to/bin/"
}

uvicorn='uvicorn[standard]==0.54.0'
peer fastmcp in_venv fastmcp fastmcp==4.1.0 "$uvicorn"
peer mcpsdk in_venv mcpsdk mcp==2.3.0 "$uvicorn"
if command -v npm >/dev/null; then peer node in_node; else echo "peers: no npm here: no TypeScript SDKs" >&2; fi
if command -v go >/dev/null; then peer go in_go; else echo "peers: no go here: no go-sdk, no mcp-go" >&2; fi
peer rmcp in_rmcp
