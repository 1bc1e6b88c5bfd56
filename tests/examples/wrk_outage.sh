#!/bin/bash
# The product service under wrk with its redis-server killed half-way: no request may fail.
#
#     tests/examples/wrk_outage.sh BUILD_DIR [SECONDS [CONNECTIONS]]
#
# Three runs of wrk with the same requests: with Redis (half the time), the whole time with Redis
# killed (kill -9) half-way, and without Redis (half the time). Reports rate and latency of each
# and exits with 1 when a request failed. Not part of `make check`: it takes two minutes.

set -u -o pipefail

source_root=$(cd "$(dirname "$0")/../.." && pwd)
[ $# -ge 1 ] && [ -d "$1" ] || {
    echo "usage: tests/examples/wrk_outage.sh BUILD_DIR [SECONDS [CONNECTIONS]]" >&2
    exit 2
}
build=$(cd "$1" && pwd)
seconds=${2:-60}
connections=${3:-16}
work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-wrk.XXXXXX") || exit 1
wrk_pid=
. "$source_root/examples/lib.sh"

cleanup() {
    local status=$? pid
    trap - EXIT INT TERM
    for pid in $wrk_pid $service_pid $redis_pid; do
        kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
fail() {
    echo "FAILED: $*"
    exit 1
}

for program in redis-server redis-cli wrk; do
    command -v "$program" >/dev/null || {
        echo "skipped: $program is not installed"
        exit 77
    }
done

ask() { # NAME SECONDS
    wrk -t 1 -c "$connections" -d "$2s" --timeout 5s -s "$source_root/tests/examples/service_mix.lua" \
        "http://127.0.0.1:$port" >"$work/$1.txt" 2>&1 &
    wrk_pid=$!
}
finish() { # NAME LABEL
    wait "$wrk_pid" || fail "wrk: $(cat "$work/$1.txt")"
    wrk_pid=
    sed -n 's/^RESULT //p' "$work/$1.txt" | tr ' ' '\n' | sed 's/.*=//' | xargs printf \
        "| $2 | %d | %d | %d | %d | %d | %d | %d |\n" >"$work/$1.row"
    grep -q ' failed=0 ' "$work/$1.txt" || failed="$failed $1"
}

failed=
start_redis
start_service --redis "unix://$work/redis.sock"
wait_until 10 link_is live || fail "no link to Redis"
for i in $(seq 1 200); do
    http PUT "/session/user-$i" '{"basket":[]}' >/dev/null
done
ask warm 3
finish warm "warm-up, 3 s"
ask with $((seconds / 2))
finish with "with Redis, $((seconds / 2)) s"
ask outage "$seconds"
pause $((seconds / 2))
kill_redis
finish outage "Redis killed half-way, $seconds s"
link_is live && fail "the service still says that the link is live"
health=$(http GET /health)
ask without $((seconds / 2))
finish without "without Redis, $((seconds / 2)) s"

echo "$(head -n 1 "$work/service.txt"); wrk: 1 thread, $connections connections"
echo "| run | requests | a second | failed | p50 us | p99 us | p99.9 us | max us |"
echo "|---|---:|---:|---:|---:|---:|---:|---:|"
cat "$work/warm.row" "$work/with.row" "$work/outage.row" "$work/without.row"
echo "health after the kill: $health"
stop_service || fail "SIGTERM: exit status $?"
[ -z "$failed" ] || fail "requests failed in:$failed; $(cat "$work"/*.txt)"
echo "no request failed"
