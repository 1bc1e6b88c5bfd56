#!/bin/bash
# `nearcache stats` and `metrics`: what another process publishes; and `nearcache bench`.
. "$(dirname "$0")/lib.sh"
need redis-server redis-cli perl

mkfifo "$work/in"
"$nearcache" shell --metrics-socket "$work/m.sock" <"$work/in" >"$work/shell.out" 2>&1 &
children+=($!)
exec {to}>"$work/in"
printf 'set a 1 0\nget a\nget a\nget b\n' >&"$to"
until_true 5 eval '[ "$(wc -l <"$work/shell.out")" = 4 ]'
expect "stats" 0 stats --socket "$work/m.sock"
finding "tells the hits" says '^hits_local  *2$'
expect "stats as JSON" 0 stats --socket "$work/m.sock" --json
finding "is JSON" is_json
expect "metrics" 0 metrics --socket "$work/m.sock"
finding "is Prometheus text" says '^# TYPE nearcache_'
if command -v promtool >/dev/null; then
    finding "that promtool accepts" promtool check metrics <"$work/out"
fi
finding "the socket is the owner's alone" [ "$(stat -c %a "$work/m.sock")" = 600 ]
exec {to}>&-
wait "${children[0]}"
children=()
finding "the socket goes with the process" [ ! -e "$work/m.sock" ]
expect "nobody there" 1 stats --socket "$work/m.sock"

start_redis
expect "bench" 0 bench --redis "$redis_url" --seconds 1 --keys 500 --threads 2 --json
finding "is JSON" is_json
for name in hit miss batch plain_get plain_mget; do
    finding "measures $name" says "\"$name\": {"
done
finding "nothing is left in Redis" [ "$(redis KEYS 'nearcache-bench:*' | wc -w)" -eq 0 ]
expect "bench without Redis" 0 bench --local --seconds 1 --keys 500
finding "measures hits" says '^local hit'
expect "bench of a Redis that is not there" 3 bench --redis "unix://$work/none.sock" --seconds 1
exit 0
