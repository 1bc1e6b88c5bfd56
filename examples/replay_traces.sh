#!/bin/bash
# Replays real access traces at a tenth of their unique keys and prints the tables of
# docs/traces.md.
#
#     examples/replay_traces.sh BUILD_DIR TRACES_DIR
#
# Each trace three times: on one shard (comparable with published figures), with the shards that the
# library chooses, and with a redis-server of its own behind, where every miss is read from Redis,
# a value that is not there is written, and every value is checked. weblog424 once more with its
# real times against TTLs. Exit status 1 when a miss ratio of lru on one shard is more than 1 %
# away from that of exact LRU, or a run fails; 77 when there are no traces.

set -u -o pipefail

[ $# -eq 2 ] && [ -d "$1" ] || {
    echo "usage: examples/replay_traces.sh BUILD_DIR TRACES_DIR" >&2
    exit 2
}
[ -f "$2/weblog424.u64.gz" ] || {
    echo "skipped: no traces in $2"
    exit 77
}
. "$(dirname "$0")/lib.sh"
build=$(cd "$1" && pwd)
traces=$(cd "$2" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-traces.XXXXXX") || exit 1
replay_pid=

cleanup() {
    local status=$? pid
    trap - EXIT INT TERM
    for pid in $replay_pid $redis_pid; do
        kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
fail() {
    echo "FAILED: $*" >&2
    exit 1
}

nearcache=$(tool nearcache) || exit
failed=

# field NAME: of the newest report.
field() { sed -n "s/.*\"$1\": *\"\{0,1\}\([^,\"}]*\).*/\1/p" "$work/report.json"; }

replay() {
    "$nearcache" replay --json "$@" >"$work/report.json" 2>"$work/replay.log" &
    replay_pid=$!
    wait "$replay_pid" || fail "nearcache replay $*: $(tail -n 2 "$work/replay.log")"
    replay_pid=
}

# row LABEL EXPECTED ARGUMENTS...: a line of the first table; EXPECTED is a miss ratio or -.
row() {
    local label=$1 expected=$2
    shift 2
    replay "$@"
    printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$label" "$(field requests)" \
        "$(field capacity_entries)" "$(field shards)" "$(field miss_ratio)" "$expected" \
        "$(field p50_ns)" "$(field p99_ns)"
    [ "$expected" = - ] && return
    awk -v got="$(field miss_ratio)" -v want="$expected" \
        'BEGIN { d = got / want - 1; exit !(d > -0.01 && d < 0.01) }' || failed="$failed $label"
}

redis_row() {
    local label=$1
    shift
    redis FLUSHALL >/dev/null
    replay --redis "unix://$work/redis.sock" "$@"
    printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$label" "$(field requests)" \
        "$(field miss_ratio)" "$(field redis_commands)" "$(field redis_commands_saved)" \
        "$(field miss_p50_us)" "$(field miss_p99_us)" "$(field elapsed_s)"
}

echo "| trace | requests | capacity | shards | miss ratio | exact LRU | p50 ns | p99 ns |"
echo "|---|---:|---:|---:|---:|---:|---:|---:|"
row orm-busy 0.1199 --policy lru --capacity-entries 7635 --shards 1 "$traces/orm-busy.u64.gz"
row weblog424 0.4877 --policy lru --capacity-entries 3404 --shards 1 "$traces/weblog424.u64.gz"
row cp-w106 0.0858 --policy lru --capacity-entries 27495 --shards 1 "$traces/cp-w106.u64.gz"
row arc-OLTP 0.3348 --policy lru --capacity-entries 18688 --shards 1 "$traces/arc-OLTP.u64.gz"
row orm-busy - --policy lru --capacity-entries 7635 "$traces/orm-busy.u64.gz"
row weblog424 - --policy lru --capacity-entries 3404 "$traces/weblog424.u64.gz"
row cp-w106 - --policy lru --capacity-entries 27495 "$traces/cp-w106.u64.gz"
row arc-OLTP - --policy lru --capacity-entries 18688 "$traces/arc-OLTP.u64.gz"
echo
echo "| weblog424, real times | requests | capacity | shards | miss ratio | | p50 ns | p99 ns |"
echo "|---|---:|---:|---:|---:|---|---:|---:|"
for ttl_ms in 60000 600000 3600000 21600000; do
    row "TTL $((ttl_ms / 1000)) s" - --policy lru --capacity-entries 34036 --ttl "$ttl_ms" \
        --times "$traces/weblog424.t32.gz" "$traces/weblog424.u64.gz"
done
if command -v redis-server >/dev/null && command -v redis-cli >/dev/null; then
    start_redis
    echo
    echo "| trace, with Redis | requests | miss ratio | Redis commands | saved | miss p50 us | miss p99 us | seconds |"
    echo "|---|---:|---:|---:|---:|---:|---:|---:|"
    redis_row orm-busy --policy lru --capacity-entries 7635 "$traces/orm-busy.u64.gz"
    redis_row weblog424 --policy lru --capacity-entries 3404 "$traces/weblog424.u64.gz"
    redis_row cp-w106 --policy lru --capacity-entries 27495 "$traces/cp-w106.u64.gz"
    redis_row arc-OLTP --policy lru --capacity-entries 18688 "$traces/arc-OLTP.u64.gz"
fi
[ -z "$failed" ] || fail "more than 1 % away from exact LRU:$failed"
