#!/bin/bash
# The product service answers every request while its redis-server is killed and restarted, says
# where each answer came from, and hands the documents of the outage to Redis afterwards.
#
#     tests/examples/test_product_service.sh [BUILD_DIR]
#
# Runs in a build directory (as `make check` does) or on the one that is named. Exit status 77
# without redis-server.

set -u -o pipefail

source_root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:-.}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-service.XXXXXX") || exit 1
load_pid=
. "$source_root/examples/lib.sh"

cleanup() {
    local status=$? pid
    trap - EXIT INT TERM
    [ "$status" -eq 0 ] || [ "$status" -eq 77 ] || tail -n 20 "$work"/*.log 2>/dev/null
    for pid in $load_pid $service_pid $redis_pid; do
        kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

checks=0
fail() {
    echo "not ok: $*"
    exit 1
}
ok() {
    checks=$((checks + 1))
    echo "ok $checks - $*"
}
# expect METHOD PATH CODE BODY_PATTERN [BODY]
expect() {
    local reply
    reply=$(http "$1" "$2" "${5:-}")
    [ "$(cat "$work/code")" = "$3" ] || fail "$1 $2: $(cat "$work/code") $reply, expected $3"
    # shellcheck disable=SC2053 -- the right side is a pattern
    [[ $reply == $4 ]] || fail "$1 $2: $reply, expected $4"
}
expect_session_expiry() {
    local ttl_ms
    ttl_ms=$(redis PTTL session:alice)
    [ "$ttl_ms" -gt 600000000 ] && [ "$ttl_ms" -le 604800000 ] ||
        fail "a session lives $ttl_ms ms in Redis, not 7 days"
}

if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null; then
    echo "skipped: redis-server is not installed"
    exit 77
fi

# ---- Redis is there -----------------------------------------------------------------------------

start_redis
start_service --redis "unix://$work/redis.sock" --threads 2 --metrics-socket "$work/metrics.sock"
wait_until 10 link_is live || fail "no link to Redis: $(http GET /health)"
ok "the service is linked to Redis"

expect GET '/search?q=Red++linen+DRESS' 200 '{"query":"red linen dress","products":\[{"id":*'
expect GET '/search?q=red+linen+dress' 200 '{"query":"red linen dress","products":\[{"id":*'
[ "$(redis KEYS 'product:*' | wc -l)" = 1 ] || fail "queries that mean the same have two keys"
ok "a search is cached in Redis once, however it is spelled"

ids=$(http GET '/search?q=red+linen+dress' | grep -o '"id":[0-9]*' | head -n 3 | tr -dc '0-9\n' | tr '\n' ',')
expect GET "/rank?q=red+linen+dress&ids=${ids}99999,no-such" 200 \
    '{"ranked":\[{"id":"*","score":1.0000,*},{*},{*}\],"missing":\["99999","no-such"\]}'
expect POST '/rank?q=red+linen+dress' 200 '{"ranked":\[*"score":1.0000*' "$ids"
[ "$(redis STRLEN "embedding:${ids%%,*}")" = 2048 ] || fail "a loaded embedding is not in Redis"
ok "a ranking scores equal texts 1, names what does not exist and stores what it made"

expect GET /session/alice 404 '{"error":*'
expect PUT /session/alice 200 '{"stored":"redis"}' '{"basket":[1]}'
expect GET /session/alice 200 '{"basket":\[1\]}'
[ "$(redis GET session:alice)" = '{"basket":[1]}' ] || fail "a session is not plain in Redis"
expect_session_expiry
expect DELETE /session/alice 200 '{"stored":"redis"}'
expect GET /session/alice 404 '{"error":*'
ok "a session is stored, read and deleted"

redis SET prompt:greeting 'Say hello.' >/dev/null
expect GET /prompt/greeting 200 'Say hello.'
expect PUT '/prompt/a%2Fb%20c' 200 '{"stored":"redis"}' 'odd name'
[ "$(redis GET 'prompt:a/b c')" = 'odd name' ] || fail "a name is not decoded"
ok "a prompt that another program wrote is readable, and so is a name with any bytes"

expect GET /search 400 '{"error":*'
expect GET '/rank?q=red' 400 '{"error":*'
expect GET '/rank?q=red&ids=%22' 400 '{"error":*'
expect GET /session/ 400 '{"error":*'
expect GET /nothing 404 '{"error":*'
expect DELETE '/search?q=red' 405 '{"error":*'
ok "wrong requests are refused with a reason"

# ---- Redis goes away and comes back -------------------------------------------------------------

expect PUT /session/bob 200 '{"stored":"redis"}' 'before'
for i in 1 2 3 4 5 6 7 8 9 10; do
    expect PUT "/session/warm-$i" 200 '{"stored":"redis"}' '{"basket":[]}'
done
"$(tool http_load)" "$port" 8 4 'GET /search?q=red+linen+dress' 'GET /search?q=black+{1-50}' \
    'GET /rank?q=red&ids=1,2,3,4,5,{6-60}' 'GET /session/warm-{1-10}' \
    'PUT /session/load-{1-200} {"basket":[]}' >"$work/load.txt" &
load_pid=$!
pause 2
kill_redis
wait_until 5 link_is down || wait_until 2 link_is connecting || fail "the outage is not noticed"
expect GET /health 200 '{"status":"degraded",*'
expect GET /session/bob 200 'before'
expect PUT /session/bob 202 '{"stored":"local"}' 'during'
expect GET /session/bob 200 'during'
expect GET /session/unknown-now 503 '{"error":*'
expect GET '/search?q=brown+leather+belt' 200 '{"query":*'
ok "without Redis: old answers, new searches, kept writes, and 503 for what nobody can know"

start_redis
wait_until 10 link_is live || fail "the link does not come back"
wait_until 10 journal_empty || fail "the journal is not replayed"
[ "$(redis GET session:bob)" = during ] || fail "a LOCAL write is not in Redis"
ok "with Redis back the writes of the outage are in it"

wait "$load_pid" || {
    cat "$work/load.txt"
    fail "requests failed"
}
load_pid=
cat "$work/load.txt"
ok "no request failed: $(awk '$1 == "total" { print $2 }' "$work/load.txt") asked"

# ---- metrics and stop ---------------------------------------------------------------------------

http GET /metrics >"$work/metrics.txt"
echo >>"$work/metrics.txt"
grep -q '^nearcache_' "$work/metrics.txt" || fail "no metrics"
if command -v promtool >/dev/null; then
    promtool check metrics <"$work/metrics.txt" >"$work/promtool.log" 2>&1 ||
        fail "promtool: $(cat "$work/promtool.log")"
    ok "promtool check metrics finds nothing"
else
    echo "# skipped: promtool is not installed (Debian: apt-get install prometheus)"
fi
stop_service || fail "SIGTERM: exit status $?"
[ ! -s "$work/service.log" ] || sed 's/^/# log: /' "$work/service.log"
ok "SIGTERM ends it with status 0"
