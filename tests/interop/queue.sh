#!/bin/bash
# The queue against real BullMQ from npm, v6 and the last v5. Packages are installed once into
# ./interop-npm of the build. NC_INTEROP_JOBS is how many jobs of each kind (1000).
set -u
here=$(cd "$(dirname "$0")" && pwd)
peer=${QUEUE_PEER:-./tests/interop/queue_peer}
jobs=${NC_INTEROP_JOBS:-1000}

skip() {
    echo "skipped: $*"
    exit 77
}
for tool in node npm redis-server redis-cli; do
    command -v $tool >/dev/null || skip "no $tool"
done
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || skip "Node is older than 18"
[ -x "$peer" ] || { echo "no program at $peer: build it first" >&2; exit 1; }

work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-interop.XXXXXX") || exit 1
redis_pid=
cleanup() {
    [ -z "$redis_pid" ] || kill -9 "$redis_pid" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT

# install MAJOR PACKAGES...
install() {
    local folder=$PWD/interop-npm/$1
    shift
    [ -d "$folder/node_modules/bullmq" ] && [ -d "$folder/node_modules/ioredis" ] && return
    mkdir -p "$folder" && echo '{"private":true}' >"$folder/package.json"
    (cd "$folder" && npm install --no-audit --no-fund --ignore-scripts "$@" >npm.log 2>&1) ||
        { rm -rf "$folder"; skip "npm install $* does not work here"; }
}
install 6 bullmq@6 ioredis@5
install 5 bullmq@5 ioredis@5

redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --save '' --appendonly no \
    --daemonize no >"$work/redis.log" 2>&1 &
redis_pid=$!
for ((i = 0; i < 1000; i++)); do
    redis-cli -s "$work/redis.sock" ping 2>/dev/null | grep -q PONG && break
    read -r -t 0.01 <> <(:)
done
status=0
for major in 6 5; do
    redis-cli -s "$work/redis.sock" flushall >/dev/null
    timeout "${NC_INTEROP_SECONDS:-240}" node "$here/interop.mjs" "$PWD/interop-npm/$major" "$peer" "$work/redis.sock" \
        "$jobs" || status=1
done
exit $status
