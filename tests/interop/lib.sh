# Sourced by the tests of the queue against real BullMQ from npm (bash): `interop MAJOR`. Packages
# are installed once into ./interop-npm of the build. NC_INTEROP_JOBS is how many jobs of each kind
# (1000).
set -u
here=$(cd "$(dirname "$0")" && pwd)
peer=${QUEUE_PEER:-./tests/interop/queue_peer}
jobs=${NC_INTEROP_JOBS:-1000}

skip() {
    echo "skipped: $*"
    exit 77
}

redis_pid= node_pid=
cleanup() {
    local status=$? pid
    trap - EXIT INT TERM
    for pid in $node_pid $redis_pid; do
        kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
    exit "$status"
}

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || skip "no $tool"
    done
    [ "$(node -p 'process.versions.node.split(".")[0]')" -ge 18 ] || skip "Node is older than 18"
}

# install MAJOR PACKAGES...: into the folder of that major version.
install() {
    folder=$PWD/interop-npm/$1
    shift
    [ -d "$folder/node_modules/bullmq" ] && [ -d "$folder/node_modules/ioredis" ] && return
    mkdir -p "$folder" && echo '{"private":true}' >"$folder/package.json"
    (cd "$folder" && timeout 100 npm install --no-audit --no-fund --ignore-scripts "$@" >npm.log 2>&1) ||
        { rm -rf "$folder"; skip "npm install $* does not work here (no registry?)"; }
}

start_redis() {
    local i
    redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --save '' --appendonly no \
        --daemonize no >"$work/redis.log" 2>&1 &
    redis_pid=$!
    for ((i = 0; i < 1000; i++)); do
        redis-cli -s "$work/redis.sock" ping 2>/dev/null | grep -q PONG && return
        read -r -t 0.01 <> <(:)
    done
    echo "redis-server does not start" >&2
    exit 1
}

interop() {
    need node npm redis-server redis-cli
    [ -x "$peer" ] || { echo "no program at $peer: build it first" >&2; exit 1; }
    work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-interop.XXXXXX") || exit 1
    trap cleanup EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    install "$1" "bullmq@$1" ioredis@5
    start_redis
    node "$here/interop.mjs" "$folder" "$peer" "$work/redis.sock" "$jobs" &
    node_pid=$!
    wait "$node_pid"
    local status=$?
    node_pid=
    exit $status
}
