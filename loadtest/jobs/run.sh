#!/usr/bin/env bash
# Jobs per second of the queue beside Celery: the same no-op, the same Redis server (appendonly), one after
# the other. Celery comes into a venv below the cache folder.
#   loadtest/jobs/run.sh [JOBS]     default 20000; Celery does a quarter of them
set -euo pipefail
cd "$(dirname "$0")/../.."
jobs=${1:-20000}
cache=${ULTIMATE_MCP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ultimate-mcp}
venv=$cache/celery
if [ ! -x "$venv/bin/celery" ]; then
  python3 -m venv "$venv"
  "$venv/bin/pip" install --quiet 'celery[redis]==5.5.3'
fi
cargo build --release --quiet -p ultimate-mcp-actors --example jobs_rate
bench=${CARGO_TARGET_DIR:-target}/release/examples/jobs_rate

folder=$(mktemp -d)
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
redis-server --bind 127.0.0.1 --port "$port" --dir "$folder" --save '' --appendonly yes --daemonize no \
  >"$folder/redis.log" 2>&1 &
redis=$!
worker=
trap 'kill $worker $redis 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$folder"' EXIT
until redis-cli -p "$port" ping >/dev/null 2>&1; do sleep 0.1; done

echo "== ultimate-mcp, Redis Streams"
"$bench" "redis://127.0.0.1:$port" "$jobs"
echo "== ultimate-mcp, SQLite"
"$bench" sqlite "$jobs"
redis-cli -p "$port" flushall >/dev/null

export BENCH_REDIS=redis://127.0.0.1:$port/0
cd loadtest/jobs
few=$((jobs / 4))
echo "== Celery $("$venv/bin/celery" --version), prefork, $(nproc) processes"
"$venv/bin/python" celery_app.py enqueue "$few"
"$venv/bin/celery" -A celery_app worker --concurrency "$(nproc)" --loglevel ERROR --without-gossip \
  --without-mingle --without-heartbeat >"$folder/celery.log" 2>&1 &
worker=$!
"$venv/bin/python" celery_app.py wait "$few"
