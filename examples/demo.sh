#!/bin/bash
# The main job on real input, step by step: what the library promises, shown and checked.
#
#     examples/demo.sh BUILD_DIR
#
# Uses what is built in BUILD_DIR, and a redis-server of its own on a unix socket in a temporary
# directory. Each step says what it does, what it saw and how long it took; when reality differs
# from the promise the demo stops with exit status 1. Without redis-server the local part runs.

set -u -o pipefail

if [ $# -ne 1 ] || [ ! -d "$1" ]; then
    echo "usage: examples/demo.sh BUILD_DIR" >&2
    exit 2
fi
. "$(dirname "$0")/lib.sh"
build=$(cd "$1" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-demo.XXXXXX") || exit 1
redis_url="unix://$work/redis.sock"
load_pid=
shell_pids=()
step=0
steps=7

cleanup() {
    local status=$? pid
    trap - EXIT INT TERM
    [ "$status" -eq 0 ] || tail -n 20 "$work"/*.log 2>/dev/null
    for pid in $load_pid $service_pid "${shell_pids[@]}" $redis_pid; do
        kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

begin() {
    step=$((step + 1))
    step_start=$(now_us)
    printf '\n== %d/%d %s\n' "$step" "$steps" "$1"
}
say() { printf '   %s\n' "$*"; }
done_step() { say "ok, $(ms_since "$step_start")"; }
fail() {
    printf '   FAILED: %s\n' "$*"
    exit 1
}

# start_shell NAME OPTIONS...: a `nearcache shell` that ask_shell NAME LINE talks to.
start_shell() {
    local name=$1 to from
    shift
    mkfifo "$work/$name.in" "$work/$name.out"
    "$nearcache" shell "$@" <"$work/$name.in" >"$work/$name.out" 2>"$work/$name.log" &
    shell_pids+=($!)
    exec {to}>"$work/$name.in" {from}<"$work/$name.out"
    eval "${name}_to=$to ${name}_from=$from"
}
ask_shell() {
    local to="${1}_to" from="${1}_from" answer
    printf '%s\n' "$2" >&"${!to}"
    IFS= read -r -t 5 -u "${!from}" answer || answer='(no answer)'
    printf '%s' "$answer"
}
shell_says() { [ "$(ask_shell "$1" "$2")" = "$3" ]; }
expect_shell() {
    local answer
    answer=$(ask_shell "$1" "$2")
    say "$1: $2  ->  $answer"
    [ "$answer" = "$3" ] || fail "expected: $3"
}

nearcache=$(tool nearcache) || exit
local_hits=$(tool local_hits) || exit
two_process=$(tool two_process) || exit
make_vectors=$(tool make_vectors) || exit
read_vectors=$(tool read_vectors) || exit
http_load=$(tool http_load) || exit
product_service=$(tool product_service) || exit

# ---- the steps ----------------------------------------------------------------------------------

local_only() {
    begin "Local-only: no Redis, hits in this process"
    say "local_hits: 100,000 entries of 256 bytes, 4,000,000 random gets, each value checked"
    "$local_hits" 100000 4000000 >"$work/local.txt" || fail "a value was missing or wrong"
    say "$(cat "$work/local.txt")"
    done_step
}

write_through() {
    local value='{"title":"linen-dress","price":49}'

    begin "Write-through: what is set here is plain in Redis"
    start_redis
    say "redis-server $(redis INFO server | sed -n 's/redis_version:\([^\r]*\).*/\1/p') on a private unix socket, pid $redis_pid"
    start_shell a --redis "$redis_url" --prefix product:
    start_shell b --redis "$redis_url" --prefix product:
    wait_until 5 shell_says a 'get product:none' NIL || fail "shell a has no link"
    wait_until 5 shell_says b 'get product:none' NIL || fail "shell b has no link"
    expect_shell a "set product:1 $value 60000" OK
    say "redis-cli GET product:1   ->  $(redis GET product:1)"
    [ "$(redis GET product:1)" = "$value" ] || fail "Redis has another value"
    say "redis-cli PTTL product:1  ->  $(redis PTTL product:1)"
    redis SET product:2 set-by-redis-cli >/dev/null
    say "redis-cli SET product:2 set-by-redis-cli"
    expect_shell a 'get product:2' 'VAL set-by-redis-cli'
    done_step
}

invalidation() {
    local start answer tries=0

    begin "Two processes: a write in one drops the copy in the other"
    expect_shell b 'get product:1' 'VAL {"title":"linen-dress","price":49}'
    expect_shell a 'set product:1 sold-out 60000' OK
    start=$(now_us)
    until [ "${answer:-}" = 'VAL sold-out' ]; do
        answer=$(ask_shell b 'get product:1')
        tries=$((tries + 1))
        [ $(($(now_us) - start)) -lt 1000000 ] || fail "after 1 s b still says: $answer"
    done
    say "b: get product:1  ->  $answer  (get number $tries after the OK, $(ms_since "$start"))"
    say "two_process: the same 1,000 times, measured from inside"
    "$two_process" "$redis_url" 1000 >"$work/two.txt" 2>&1 || {
        cat "$work/two.txt"
        fail "a copy was not dropped"
    }
    while IFS= read -r answer; do say "$answer"; done <"$work/two.txt"
    done_step
}

vectors() {
    begin "Vectors: 10,000 x 512 from a .npy file and back in one batch"
    "$make_vectors" "$work/v.npy" "$work/v.ids" 10000 512 || fail "cannot write the file"
    say "$(stat -c '%s bytes in %n' "$work/v.npy")"
    local start
    start=$(now_us)
    "$nearcache" load "$work/v.npy" --tier embeddings --ids "$work/v.ids" --redis "$redis_url" \
        >"$work/load.txt" 2>"$work/load.log" || fail "nearcache load: $(tail -n 1 "$work/load.log")"
    say "nearcache load: $(tail -n 1 "$work/load.txt"), $(ms_since "$start")"
    say "redis-cli STRLEN embedding:sku-000001  ->  $(redis STRLEN embedding:sku-000001)"
    [ "$(redis STRLEN embedding:sku-010000)" = 2048 ] || fail "the last row is not in Redis"
    "$read_vectors" "$redis_url" "$work/v.npy" "$work/v.ids" >"$work/read.txt" 2>&1 || {
        cat "$work/read.txt"
        fail "rows differ"
    }
    while IFS= read -r line; do say "$line"; done <"$work/read.txt"
    done_step
}

# The second that a line of http_load is about, as "answered N, p50 .. us, from ...".
show_load() {
    awk 'NR == 1 { next }
        $1 == "total" { printf "in all: %d requests, %d failed, p50 %s us, p99 %s us, slowest %s us\n", $2, $3, $4, $5, $6; next }
        /failed first/ { print; next }
        { printf "second %2d: %6d requests, %d failed, p50 %4s us, p99 %5s us, local %d, remote %d, loaded %d, stale %d\n", $1, $2, $3, $4, $5, $7, $8, $9, $10 }' "$1"
}

outage() {
    local reply i

    begin "Redis killed: the product service answers on"
    start_service --redis "$redis_url" --metrics-socket "$work/metrics.sock"
    wait_until 5 link_is live || fail "the service has no link to Redis"
    say "$(cat "$work/service.txt")"
    say "GET /search?q=red+linen+dress  ->  $(http GET '/search?q=red+linen+dress' | cut -c 1-100)..."
    [ "$(cat "$work/code")" = 200 ] || fail "status $(cat "$work/code")"
    for i in 1 2 3 4 5 6 7 8 9 10; do
        http PUT "/session/user-$i" "{\"basket\":[$i]}" >/dev/null
        [ "$(cat "$work/code")" = 200 ] || fail "PUT /session/user-$i: $(cat "$work/code")"
    done
    say "4 connections ask for 9 s: search, rank, session reads and writes"
    "$http_load" "$port" 9 4 'GET /search?q=red+linen+dress' 'GET /search?q=black+boots' \
        'GET /rank?q=red+dress&ids=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16' \
        'GET /session/user-{1-10}' 'PUT /session/load-{1-500} {"basket":[]}' >"$work/load9.txt" &
    load_pid=$!
    pause 3
    kill_redis
    say "after 3 s: kill -9 of redis-server"
    wait_until 5 link_is down || wait_until 1 link_is connecting || fail "the service did not notice"
    say "GET /health  ->  $(http GET /health)"
    reply=$(http PUT /session/outage '{"basket":["written","without","Redis"]}')
    say "PUT /session/outage  ->  $(cat "$work/code") $reply"
    [ "$reply" = '{"stored":"local"}' ] || fail "expected {\"stored\":\"local\"}"
    reply=$(http GET /session/outage)
    say "GET /session/outage  ->  $(cat "$work/code") $reply"
    [ "$reply" = '{"basket":["written","without","Redis"]}' ] || fail "the write is not seen here"
    reply=$(http GET '/search?q=navy+wool+coat')
    [ "$(cat "$work/code")" = 200 ] || fail "a new search fails without Redis: $reply"
    say "GET /search?q=navy+wool+coat (never asked before)  ->  200"
    done_step
}

recovery() {
    local start in_redis queued

    begin "Redis back: the writes of the outage are in it"
    queued=$(http GET /health | sed -n 's/.*"journal_queued":\([0-9]*\).*/\1/p')
    say "in the journal: $queued writes"
    [ "$queued" -gt 0 ] || fail "nothing is queued"
    pause 2
    start=$(now_us)
    start_redis
    say "redis-server is back, pid $redis_pid"
    wait_until 10 link_is live || fail "the link did not come back"
    wait_until 10 journal_empty || fail "the journal was not replayed"
    say "link live and journal replayed $(ms_since "$start") after the restart"
    in_redis=$(redis GET session:outage)
    say "redis-cli GET session:outage  ->  $in_redis"
    [ "$in_redis" = '{"basket":["written","without","Redis"]}' ] || fail "the LOCAL write is lost"
    wait "$load_pid" || { show_load "$work/load9.txt"; fail "requests failed"; }
    load_pid=
    while IFS= read -r line; do say "$line"; done < <(show_load "$work/load9.txt")
    done_step
}

stop() {
    begin "Metrics and a clean stop"
    if command -v promtool >/dev/null; then
        http GET /metrics >"$work/metrics.txt"
        echo >>"$work/metrics.txt"
        promtool check metrics <"$work/metrics.txt" >"$work/promtool.log" 2>&1 ||
            fail "promtool: $(head -n 3 "$work/promtool.log")"
        say "promtool check metrics: fine, $(grep -vc '^#' "$work/metrics.txt") samples"
    else
        say "promtool is not installed: the metrics text is not checked"
    fi
    "$nearcache" stats --socket "$work/metrics.sock" >"$work/stats.txt" 2>&1 ||
        fail "nearcache stats: $(cat "$work/stats.txt")"
    say "nearcache stats --socket: $(wc -l <"$work/stats.txt") lines, $(grep -m 1 -i local "$work/stats.txt" | tr -s ' ')"
    stop_service || fail "the service ended with status $?"
    say "SIGTERM: the service ended with status 0"
    done_step
}

start_all=$(now_us)
if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null; then
    steps=1
    local_only
    printf '\nSKIPPED: redis-server or redis-cli is not installed: write-through, invalidation,\n'
    printf 'vectors, outage and recovery were not shown. Debian: apt-get install redis\n'
    exit 0
fi
local_only
write_through
invalidation
vectors
outage
recovery
stop
printf '\nEverything as promised, %s in all.\n' "$(ms_since "$start_all")"
