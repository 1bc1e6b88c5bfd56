#!/bin/bash
# `nearcache load` and `export`: vectors from a .npy file to Redis and back.
. "$(dirname "$0")/lib.sh"
need redis-server redis-cli perl

# make_npy FILE TYPE ROWS COLUMNS [SEED]: random bits, which any type takes.
make_npy() {
    perl -e '
        my ($path, $type, $rows, $columns, $seed) = @ARGV;
        my %bytes = ("<f4" => 4, "<f2" => 2, "|i1" => 1);
        my $header = "{\x27descr\x27: \x27$type\x27, \x27fortran_order\x27: False, \x27shape\x27: ($rows, $columns), }";
        $header .= " " x (118 - length($header) - 1) . "\n";
        open(my $out, ">:raw", $path) or die;
        print $out "\x93NUMPY\x01\x00", pack("v", length($header)), $header;
        srand($seed || 1);
        my $row_bytes = $columns * $bytes{$type};
        my $pool = join("", map { pack("V", int(rand(4294967296))) } 1 .. 4096 + $row_bytes);
        for my $row (0 .. $rows - 1) {
            my $bits = substr($pool, ($row * 7) % 16384, $row_bytes);
            substr($bits, 0, 4) = pack("V", $row) if $row_bytes >= 4;
            print $out $bits;
        }' "$@"
}
same() { cmp -s "$1" "$2"; }
# The rows of two files are the same, whatever their headers look like.
same_rows() { cmp -s <(tail -c +129 "$1") <(tail -c +129 "$2"); }

start_redis
make_npy "$work/v.npy" '<f4' 10000 512
seq -f 'sku-%06.0f' 10000 >"$work/v.ids"
expect "10,000 x 512 is loaded" 0 load "$work/v.npy" --tier embeddings --ids "$work/v.ids" \
    --redis "$redis_url" --verify --json
finding "the report is JSON" is_json
finding "all rows are verified" [ "$(field verified)" = 10000 -a "$(field complete)" = true ]
finding "10,000 keys are there" [ "$(redis EVAL "return #redis.call('KEYS', 'embedding:sku-*')" 0)" = 10000 ]
redis --raw GET embedding:sku-000003 | head -c 2048 >"$work/row"
finding "a row is its raw bytes" eval 'cmp -s "$work/row" <(tail -c +129 "$work/v.npy" | tail -c +4097 | head -c 2048)'
expect "and exported" 0 export "$work/back.npy" --tier embeddings --ids "$work/v.ids" --redis "$redis_url"
finding "byte for byte the same rows" same_rows "$work/v.npy" "$work/back.npy"
finding "the same file" same "$work/v.npy" "$work/back.npy"
finding "no partial file is left" [ ! -e "$work/back.npy.partial" ]
expect "loading again is fine" 0 load "$work/v.npy" --tier embeddings --ids "$work/v.ids" --redis "$redis_url"

for type in '<f2' '|i1'; do
    make_npy "$work/t.npy" "$type" 1000 33
    expect "$type by row numbers and a prefix" 0 load "$work/t.npy" --tier "t:$type:" --redis "$redis_url" \
        --batch 7 --verify
    name=${type#?}
    expect "back until the first missing number" 0 export "$work/t2.npy" --tier "t:$type:" --type "$name" \
        --redis "$redis_url" --batch 13
    finding "$type comes back the same" same "$work/t.npy" "$work/t2.npy"
done
expect "an expiry" 0 load "$work/t.npy" --tier ttl: --ttl 60000 --redis "$redis_url"
finding "is set" [ "$(redis PTTL ttl:5)" -gt 0 ]
make_npy "$work/one.npy" '<f4' 1 8
expect "a single row" 0 load "$work/one.npy" --tier one: --redis "$redis_url"
make_npy "$work/none.npy" '<f4' 0 8
expect "no row" 0 load "$work/none.npy" --tier none: --redis "$redis_url"

# ---- holes

redis DEL 't:|i1:5' >/dev/null
redis SET 't:|i1:7' short >/dev/null
expect "a hole fails an export by count" 1 export "$work/h.npy" --tier 't:|i1:' --type i1 --rows 10 --redis "$redis_url"
finding "and is named" complains 'row 5, key t:|i1:5: no such key'
finding "and leaves no file" [ ! -e "$work/h.npy" ]
expect "or becomes zeros" 1 export "$work/h.npy" --tier 't:|i1:' --type i1 --rows 10 --missing zero --json \
    --redis "$redis_url"
finding "counted" [ "$(field missing)" = 1 -a "$(field bad)" = 1 -a "$(field complete)" = true ]
finding "33 bytes each" [ "$(stat -c %s "$work/h.npy")" = $((128 + 10 * 33)) ]
expect "a tier without keys" 1 export "$work/h2.npy" --tier nothing: --redis "$redis_url"

# ---- bad input

head -c 100000 "$work/v.npy" >"$work/cut.npy"
expect "a truncated file" 1 load "$work/cut.npy" --tier embeddings --redis "$redis_url"
finding "is explained" complains 'truncated: 48 of the 10000 rows'
expect "a file of another kind" 1 load "$0" --tier embeddings --redis "$redis_url"
finding "is explained" complains 'not a .npy file'
head -n 9999 "$work/v.ids" >"$work/few.ids"
expect "too few ids" 1 load "$work/v.npy" --tier embeddings --ids "$work/few.ids" --redis "$redis_url"
finding "are counted" complains '9999 ids for 10000 rows'
expect "a start beyond the end" 1 load "$work/v.npy" --tier embeddings --start 10001 --redis "$redis_url"
expect "a Redis that is not there" 3 load "$work/v.npy" --tier embeddings --redis "unix://$work/none.sock"
expect "a directory that is not there" 1 export "$work/none/v.npy" --tier embeddings --ids "$work/v.ids" \
    --redis "$redis_url"
if [ -w /dev/full ]; then
    ln -s /dev/full "$work/full.npy.partial"
    expect "a full disk" 1 export "$work/full.npy" --tier embeddings --ids "$work/v.ids" --redis "$redis_url"
    finding "is named" complains 'No space left on device'
    finding "and leaves no file" [ ! -e "$work/full.npy" ]
fi

# ---- resume

redis FLUSHALL >/dev/null
expect "from a row on" 0 load "$work/v.npy" --tier embeddings --start 9990 --redis "$redis_url"
finding "only those are loaded" [ "$(redis DBSIZE)" -lt 20 ]
redis FLUSHALL >/dev/null
"$nearcache" load "$work/v.npy" --tier embeddings --resume "$work/state" --batch 1 --redis "$redis_url" --json \
    >"$work/out" 2>"$work/err" &
pid=$!
children+=("$pid")
some_rows() { [ "$(redis DBSIZE)" -gt 20 ]; }
until_true 10 some_rows
kill -INT "$pid"
wait "$pid"
status=$?
children=()
finding "an interrupted load ends with 130" [ "$status" -eq 130 ]
finding "its report is JSON and partial" eval 'is_json && [ "$(field complete)" = false ]'
finding "it left its position" [ -s "$work/state" ]
expect "it goes on from there" 0 load "$work/v.npy" --tier embeddings --resume "$work/state" --verify \
    --redis "$redis_url" --json
finding "not from the beginning" [ "$(field begin_row)" -gt 0 ]
finding "the position is gone in the end" [ ! -e "$work/state" ]
expect "all of it comes back" 0 export "$work/back2.npy" --tier embeddings --redis "$redis_url"
finding "the same" same "$work/v.npy" "$work/back2.npy"
printf 'nearcache load 1\nother\n5\n' >"$work/state"
expect "a position of another load" 1 load "$work/v.npy" --tier embeddings --resume "$work/state" --redis "$redis_url"
head -c $((128 + 2048 * 100 + 77)) "$work/v.npy" >"$work/back3.npy.partial"
expect "an export goes on" 0 export "$work/back3.npy" --tier embeddings --resume --redis "$redis_url" --json
finding "after its whole rows" [ "$(field begin_row)" = 100 ]
finding "to the same file" same "$work/v.npy" "$work/back3.npy"
make_npy "$work/back4.npy.partial" '<f2' 10 512
expect "but not with rows of another kind" 1 export "$work/back4.npy" --tier embeddings --resume --redis "$redis_url"

# ---- Redis goes away meanwhile

redis FLUSHALL >/dev/null
"$nearcache" load "$work/v.npy" --tier embeddings --batch 16 --redis "$redis_url" --json \
    >"$work/out" 2>"$work/err" &
pid=$!
children+=("$pid")
until_true 10 some_rows
stop_redis
start_redis
wait "$pid"
finding "a load survives a restart" [ $? -eq 0 ]
children=()
finding "with all rows told as loaded" [ "$(field loaded)" = 10000 ]
exit 0
