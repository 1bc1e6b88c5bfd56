#!/bin/bash
# The replay of a trace in a loop by two processes on one redis-server that is killed and restarted
# every 30 s: no wrong value, no growth of memory, no call far past its deadline.
#
#     tests/soak/replay_soak.sh NEARCACHE TRACE.u64[.gz] [SECONDS [OUT_DIR]]
#
# Not part of `make check`: `make soak TRACE=FILE [SOAK_SECONDS=3600]`. The reports of the two
# processes are left in OUT_DIR as a.json and b.json, the slow calls in a.err and b.err.

set -u -o pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 NEARCACHE TRACE [SECONDS [OUT_DIR]]" >&2
    exit 2
fi
nearcache=$1 trace=$2 seconds=${3:-3600} out=${4:-soak}
restart_every=30
work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-soak.XXXXXX") || exit 1
mkdir -p "$out" || exit 1
redis_pid= pids=()

cleanup() {
    local status=$?
    trap - EXIT INT TERM
    kill -9 $redis_pid "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

start_redis() {
    redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --save '' --appendonly yes \
        --appendfsync everysec >"$work/redis.log" 2>&1 &
    redis_pid=$!
}

command -v redis-server >/dev/null || { echo "skipped: no redis-server"; exit 77; }
start_redis
for name in a b; do
    "$nearcache" replay --redis "unix://$work/redis.sock" --capacity-entries "${SOAK_ENTRIES:-7635}" \
        --threads 1 --writes 1 --off-link stale --loop "$seconds" --json "$trace" \
        >"$out/$name.json" 2>"$out/$name.err" &
    pids+=($!)
done

end=$((SECONDS + seconds)) restarts=0
while [ $((SECONDS + restart_every)) -lt "$end" ] && kill -0 "${pids[@]}" 2>/dev/null; do
    read -r -t "$restart_every" <> <(:) || true
    kill -9 "$redis_pid" && wait "$redis_pid" 2>/dev/null
    start_redis
    restarts=$((restarts + 1))
    printf 'restart %d, %d s left\n' "$restarts" "$((end - SECONDS))" >&2
done
status=0
for pid in "${pids[@]}"; do
    wait "$pid" || status=1
done
pids=()
for name in a b; do
    echo "== $name"
    cat "$out/$name.json"
done
echo "restarts of Redis: $restarts, exit status $status"
exit "$status"
