#!/bin/bash
# The example of a worker that joins queue and cache: jobs come in groups of up to 32, vectors end
# up in Redis as the cache writes them, bad data fails for good.
#
#     tests/examples/test_embedding_worker.sh [BUILD_DIR]
set -u -o pipefail

source_root=$(cd "$(dirname "$0")/../.." && pwd)
build=$(cd "${1:-.}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-embedding.XXXXXX") || exit 1
worker_pid=
. "$source_root/examples/lib.sh"

cleanup() {
    local status=$? pid
    trap - EXIT INT TERM
    [ "$status" -eq 0 ] || [ "$status" -eq 77 ] || tail -n 20 "$work"/*.log 2>/dev/null
    for pid in $worker_pid $redis_pid; do
        kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
fail() {
    echo "not ok: $*"
    exit 1
}
# is TEXT WANTED GOT
is() {
    [ "$2" = "$3" ] || fail "$1: $3, not $2"
    echo "ok - $1"
}

if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null; then
    echo "skipped: redis-server is not installed"
    exit 77
fi
start_redis
export REDIS_URL=unix://$work/redis.sock
unset REDIS_HOST REDIS_PORT REDIS_PASSWORD REDIS_DB
worker=$(tool embedding_worker)
queue=bull:embedding-computation

"$worker" --add 100 2>"$work/add.log" || fail "jobs are not added"
is "the jobs have the priority of a bulk" 100 "$(redis zcard $queue:prioritized)"
"$worker" --until-idle >"$work/worker.txt" 2>"$work/worker.log" || fail "the worker ends with $?"
is "groups of up to 32" "100 jobs in 4 batches" "$(cat "$work/worker.txt")"
is "all are complete" 0 "$(redis zcard $queue:failed)"
is "the newest 50 are kept" 50 "$(redis zcard $queue:completed)"
is "a vector is 512 floats" 2048 "$(redis strlen embedding:sku-000042)"
is "and belongs to its product" 100 "$(redis --raw keys 'embedding:*' | wc -l)"
is "the result says so" '{"dimension":512}' "$(redis hget $queue:100 returnvalue)"

# From any other producer, some of it of no use; the worker runs until it is told to end.
printf '%s\n' '{"name":"compute-embedding","data":{"productId":"a\"b","title":"Shoe \u00e9"}}' \
    '{"name":"compute-embedding","data":{"title":"Shoe"},"opts":{"attempts":3}}' >"$work/jobs.jsonl"
"$(tool nearcache)" queue add embedding-computation --bulk "$work/jobs.jsonl" >"$work/add.txt" ||
    fail "jobs are not added"
"$worker" >"$work/worker.txt" 2>"$work/worker.log" &
worker_pid=$!
done_both() { [ "$(redis exists 'embedding:a"b')" = 1 ] && [ "$(redis zcard $queue:failed)" = 1 ]; }
wait_until 20 done_both || fail "the jobs are not done"
is "useless data is not tried again" 1 "$(redis hget $queue:102 atm)"
kill -TERM "$worker_pid"
wait "$worker_pid" || fail "the worker ends with $?"
worker_pid=
is "nothing is left active" 0 "$(redis llen $queue:active)"
