#!/bin/bash
# `nearcache replay` of a generated trace against an exact LRU computed here.
. "$(dirname "$0")/lib.sh"
need redis-server redis-cli perl

# 200,000 requests to 20,000 keys, skewed; with times of one day. Prints what an exact LRU of the
# capacity misses, and with a TTL of 600 s what it misses when entries expire too.
capacity=2000
perl -e '
    my ($ids_path, $times_path, $capacity, $ttl) = @ARGV;
    open(my $ids, ">:raw", $ids_path) or die;
    open(my $times, ">:raw", $times_path) or die;
    my ($state, $missed) = (12345, 0);
    my (%next, %prev, %due);
    sub step { $state = ($state * 1103515245 + 12345) % 2147483648; return $state / 2147483648; }
    # A list from the oldest (next of "") to the newest (prev of "").
    $next{""} = $prev{""} = "";
    my $size = 0;
    sub unlink_key { my $k = shift; $next{$prev{$k}} = $next{$k}; $prev{$next{$k}} = $prev{$k}; delete $next{$k}; delete $prev{$k}; }
    sub append_key { my $k = shift; my $last = $prev{""}; $next{$last} = $k; $prev{$k} = $last; $next{$k} = ""; $prev{""} = $k; }
    my %seen;
    for my $i (0 .. 199999) {
        my $u = step();
        my $id = int(20000 * $u ** 3);
        print $ids pack("Q<", $id);
        print $times pack("V", int($i * 86400 / 200000));
        $seen{$id} = 1;
        if (exists $next{$id}) { unlink_key($id); append_key($id); next; }
        $missed++;
        if ($size == $capacity) { unlink_key($next{""}); } else { $size++; }
        append_key($id);
    }
    printf "%d %d\n", $missed, scalar(keys %seen);
' "$work/t.u64" "$work/t.t32" "$capacity" >"$work/exact"
read -r exact unique <"$work/exact"
gzip -k "$work/t.u64" "$work/t.t32"

near() { perl -e 'exit !(abs($ARGV[0] / $ARGV[1] - 1) <= $ARGV[2])' "$@"; }

expect "a replay" 0 replay --policy lru --capacity-entries $capacity --shards 1 --json "$work/t.u64"
finding "its report is JSON" is_json
finding "all requests are counted" [ "$(field requests)" = 200000 ]
finding "and the keys" [ "$(field unique)" = "$unique" ]
finding "hits and misses add up" [ $(($(field hits) + $(field misses))) = 200000 ]
# A lazy LRU may be a little better than an exact one.
finding "lru misses at most 1 % more than an exact LRU (exact $exact, here $(field misses))" \
    perl -e 'exit !($ARGV[0] <= 1.01 * $ARGV[1])' "$(field misses)" "$exact"
finding "and about as much" near "$(field misses)" "$exact" 0.03
finding "what did not stay was evicted" [ "$(field evictions)" = $(($(field misses) - $(field entries))) ]
finding "no more entries than allowed" [ "$(field entries)" -le $capacity ]
finding "no value was wrong" [ "$(field wrong_values)" = 0 ]
for name in capacity_entries shards policy elapsed_s p50_ns p99_ns p999_ns miss_ratio; do
    finding "$name is told" [ -n "$(field $name)" ]
done
misses=$(field misses)
expect "the same from gzip" 0 replay --policy lru --capacity-entries $capacity --shards 1 --json "$work/t.u64.gz"
finding "gives the same" [ "$(field misses)" = "$misses" ]
expect "more shards" 0 replay --policy lru --capacity-entries $capacity --shards 8 --json "$work/t.u64"
finding "miss about as much" near "$(field misses)" "$exact" 0.05
expect "threads" 0 replay --policy lru --capacity-entries $capacity --threads 4 --json "$work/t.u64"
finding "do each request once" [ "$(field requests)" = 200000 ]
expect "room for all" 0 replay --capacity-entries 40000 --json "$work/t.u64"
finding "misses each key once" [ "$(field misses)" = "$unique" ]
expect "room in bytes" 0 replay --capacity-bytes 64m --json "$work/t.u64"
finding "misses each key once, too" [ "$(field misses)" = "$unique" ]
expect "text" 0 replay --capacity-entries $capacity "$work/t.u64"
finding "tells the ratio" says 'miss ratio 0\.'

# An entry that is rewritten 600 s after its last store is a miss of the TTL.
with_ttl=$(perl -e '
    local $/; open(my $i, "<:raw", $ARGV[0]); my @ids = unpack("Q<*", <$i>);
    open(my $t, "<:raw", $ARGV[1]); my @times = unpack("V*", <$t>);
    my (%due, $missed);
    for my $n (0 .. $#ids) {
        next if exists $due{$ids[$n]} && $times[$n] < $due{$ids[$n]};
        $missed++; $due{$ids[$n]} = $times[$n] + 600;
    }
    print $missed;' "$work/t.u64" "$work/t.t32")
expect "real times" 0 replay --capacity-entries 40000 --times "$work/t.t32.gz" --ttl 600000 --json "$work/t.u64.gz"
finding "entries expire by them (exact $with_ttl, here $(field misses))" near "$(field misses)" "$with_ttl" 0.01
finding "and the expired are told" [ -n "$(field expirations)" ]

head -c 1000 "$work/t.u64.gz" >"$work/cut.u64.gz"
expect "a cut file" 1 replay --capacity-entries 5 "$work/cut.u64.gz"
finding "is named" complains 'truncated'
expect "a missing file" 1 replay --capacity-entries 5 "$work/none"
expect "times of another trace" 1 replay --capacity-entries 5 --times "$work/t.u64" "$work/t.u64"

# ---- with Redis behind

start_redis
head -c 400000 "$work/t.u64" >"$work/s.u64"
expect "with Redis" 0 replay --deadline 20000 --policy lru --capacity-entries $capacity --shards 1 --redis "$redis_url" --json "$work/s.u64"
finding "no value was wrong" [ "$(field wrong_values)" = 0 ]
finding "errors neither" [ "$(field read_errors)" = 0 -a "$(field write_errors)" = 0 ]
for name in redis_commands redis_commands_saved miss_p50_us miss_p99_us; do
    finding "$name is told" [ -n "$(field $name)" ]
done
finding "Redis is asked for a miss and a value stored, not for a hit" \
    [ "$(field redis_commands)" -le $(($(field misses) * 2)) -a "$(field redis_commands_saved)" -gt 0 ]
finding "nothing is left in Redis" [ "$(redis KEYS 'nearcache-replay:*' | wc -w)" -eq 0 ]
expect "unless kept" 0 replay --deadline 20000 --capacity-entries $capacity --redis "$redis_url" --keep "$work/s.u64"
finding "then it is" [ "$(redis KEYS 'nearcache-replay:*' | wc -w)" -gt 0 ]
id=$(perl -e 'open(my $i, "<:raw", $ARGV[0]); read($i, my $b, 8); print unpack("Q<", $b)' "$work/s.u64")
redis EVAL "return redis.call('SET', 'nearcache-replay:64:' .. struct.pack('<I8', ARGV[1]), 'wrong')" 0 "$id" >/dev/null
expect "a wrong value is noticed" 1 replay --capacity-entries $capacity --redis "$redis_url" --json "$work/s.u64"
finding "counted" [ "$(field wrong_values)" -gt 0 ]
finding "and named" complains "of key id $id"
REDIS_URL=unix://$work/none.sock expect "the environment alone sends nothing to Redis" 0 \
    replay --capacity-entries $capacity --json "$work/s.u64"
finding "so there are no commands" [ -z "$(field redis_commands)" ]
expect "a Redis that is not there" 3 replay --capacity-entries 5 --redis "unix://$work/none.sock" "$work/s.u64"

# ---- a soak with a restart

"$nearcache" replay --capacity-entries 500 --loop 3 --writes 5 --threads 2 --redis "$redis_url" \
    --off-link stale --json "$work/s.u64" >"$work/out" 2>"$work/err" &
pid=$!
children+=("$pid")
pause 1
stop_redis
start_redis
wait "$pid"
finding "a soak over a restart is fine" [ $? -eq 0 ]
children=()
finding "no value was wrong in it" [ "$(field wrong_values)" = 0 ]
for name in rss_start_bytes rss_warm_bytes rss_end_bytes overshoot_p9999_us calls_over_5ms; do
    finding "$name is told" [ -n "$(field $name)" ]
done
finding "it is JSON" is_json

"$nearcache" replay --capacity-entries 500 --loop 60 --json "$work/s.u64" >"$work/out" 2>"$work/err" &
pid=$!
children+=("$pid")
pause 0.5
kill -INT "$pid"
wait "$pid"
finding "an interrupted replay ends with 130" [ $? -eq 130 ]
children=()
finding "and still reports" eval 'is_json && [ "$(field interrupted)" = true ]'
exit 0
