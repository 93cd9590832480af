#!/usr/bin/env bash
# A real Neo4j Community server for tests, from the jars of Maven Central alone.
#   neo4j.sh up   -d DIR -p BOLT_PORT -w PASSWORD   starts it, or finds it running; returns when Bolt answers
#   neo4j.sh down -d DIR                            stops it: SIGTERM, after 30 s SIGKILL
#   neo4j.sh fetch                                  only fetches the jars (about 150 MB, once)
# DIR holds conf, data, logs and pid, and survives `down`. Needs bash, mvn and a JDK: 17 runs Neo4j 5.26, 21 or
# newer runs 2026.x, which no older server can read afterwards: one DIR per version.
# Environment: NEO4J_JAVA (java binary), NEO4J_VERSION, NEO4J_CONF_EXTRA (more lines of neo4j.conf), ULTIMATE_MCP_CACHE.
set -euo pipefail
verb=${1:-}; shift || true
dir='' port='' password=''
while getopts d:p:w: option; do
  case $option in d) dir=$OPTARG ;; p) port=$OPTARG ;; w) password=$OPTARG ;; *) exit 2 ;; esac
done
java=${NEO4J_JAVA:-${JAVA_HOME:+$JAVA_HOME/bin/}java}
cache=${ULTIMATE_MCP_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ultimate-mcp}/neo4j

version() {
  [ -n "${NEO4J_VERSION:-}" ] && { echo "$NEO4J_VERSION"; return; }
  local major
  major=$("$java" -version 2>&1 | sed -nE 's/.* version "([0-9]+).*/\1/p')
  if [ "${major:-0}" -ge 21 ]; then echo 2026.08.1; else echo 5.26.30; fi
}

fetch() {
  jars=$cache/$(version)
  mkdir -p "$jars"
  exec 9>"$cache/.lock"
  flock 9
  if [ ! -e "$jars/.done" ]; then
    cat >"$jars/pom.xml" <<XML
<project><modelVersion>4.0.0</modelVersion>
<groupId>test</groupId><artifactId>neo4j-test</artifactId><version>1</version><packaging>pom</packaging>
<dependencies><dependency><groupId>org.neo4j</groupId><artifactId>neo4j</artifactId><version>$(version)</version>
</dependency></dependencies></project>
XML
    mvn -q -B -ntp -f "$jars/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$jars" >&2
    touch "$jars/.done"
  fi
  exec 9>&-
}

# The process in the pid file, if it is still this folder's server: a pid may have a new owner.
running() {
  [ -s "$dir/pid" ] || return 1
  pid=$(cat "$dir/pid")
  { tr '\0' '\n' <"/proc/$pid/cmdline"; } 2>/dev/null | grep -qxF -- "--home-dir=$dir"
}

# A Bolt handshake: magic and four offers of versions; the server answers with the one it takes.
answers() {
  local offer='\x60\x60\xb0\x17\0\x08\x08\x05\0\x02\x04\x04\0\0\0\0\0\0\0\0' taken
  taken=$({ exec 3<>"/dev/tcp/127.0.0.1/$port" && printf "$offer" >&3 && timeout 2 head -c4 <&3 | od -An -tx1 | tr -d ' \n'; } 2>/dev/null || true)
  [ -n "$taken" ] && [ "$taken" != 00000000 ]
}

configure() {
  mkdir -p "$dir/conf" "$dir/logs"
  # The last but one: without it a stop takes eleven seconds.
  cat >"$dir/conf/neo4j.conf" <<CONF
server.default_listen_address=127.0.0.1
server.bolt.listen_address=:$port
server.bolt.advertised_address=127.0.0.1:$port
server.http.enabled=false
server.https.enabled=false
dbms.usage_report.enabled=false
dbms.security.auth_enabled=true
dbms.security.auth_minimum_password_length=1
server.memory.pagecache.size=64m
internal.server.bolt.thread_pool_shutdown_wait_time=0s
${NEO4J_CONF_EXTRA:-}
CONF
}

up() {
  if running; then
    answers && { echo "pid=$pid uri=bolt://127.0.0.1:$port"; return; }
    echo "neo4j: process $pid runs in $dir, but not on port $port" >&2; exit 1
  fi
  answers && { echo "neo4j: port $port is taken" >&2; exit 1; }
  fetch
  configure
  local main=org.neo4j.server.Neo4jCommunity flags=(-Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1)
  case $(version) in 5.*) main=org.neo4j.server.CommunityEntryPoint ;; esac
  if [ ! -e "$dir/data" ]; then
    NEO4J_HOME=$dir NEO4J_CONF=$dir/conf "$java" "${flags[@]}" -cp "$jars/*" org.neo4j.cli.AdminTool \
      dbms set-initial-password "$password" >"$dir/logs/admin.log" 2>&1 || { cat "$dir/logs/admin.log" >&2; exit 1; }
  fi
  setsid "$java" "${flags[@]}" -cp "$jars/*" "$main" --home-dir="$dir" --config-dir="$dir/conf" \
    >"$dir/logs/console.log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$dir/pid"
  for _ in $(seq 720); do
    answers && { echo "pid=$pid uri=bolt://127.0.0.1:$port"; return; }
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.25
  done
  echo "neo4j: did not start" >&2
  tail -n 20 "$dir/logs/console.log" >&2
  down; exit 1
}

down() {
  running || { rm -f "$dir/pid"; return 0; }
  kill "$pid"
  for _ in $(seq 120); do running || break; sleep 0.25; done
  if running; then kill -9 "$pid"; fi
  rm -f "$dir/pid"
}

[ -z "$dir" ] || { mkdir -p "$dir"; dir=$(cd "$dir" && pwd); }
case $verb in
  up) : "${dir:?-d}" "${port:?-p}" "${password:?-w}"; up ;;
  down) : "${dir:?-d}"; down ;;
  fetch) fetch ;;
  *) sed -n '2,8p' "$0" >&2; exit 2 ;;
esac
