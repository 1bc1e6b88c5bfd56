#!/bin/bash
# The line protocol of `nearcache shell`: a transcript against a real redis-server.
. "$(dirname "$0")/lib.sh"
need redis-server redis-cli

# open NAME OPTIONS...: a shell that ask NAME LINE talks to.
open() {
    local name=$1 to from
    shift
    mkfifo "$work/$name.in" "$work/$name.out"
    "$nearcache" shell "$@" <"$work/$name.in" >"$work/$name.out" 2>"$work/$name.err" &
    children+=($!)
    exec {to}>"$work/$name.in" {from}<"$work/$name.out"
    eval "${name}_to=$to ${name}_from=$from"
}
ask() {
    local to="${1}_to" from="${1}_from" answer
    printf '%s\n' "$2" >&"${!to}"
    IFS= read -r -t 5 -u "${!from}" answer || answer='(no answer)'
    printf '%s' "$answer"
}
answers() { [ "$(ask "$1" "$2")" = "$3" ]; }
dialog() {
    local answer
    answer=$(ask "$1" "$2")
    if [ "$answer" = "$3" ]; then
        echo "ok: $1: $2 -> $answer"
    else
        echo "FAILED: $1: $2 -> $answer, not $3"
        failures=$((failures + 1))
    fi
}
is_live() { [[ $(ask "$1" stats) == *'link=live'* ]]; }

# ---- local-only

open alone
dialog alone 'get a' NIL
dialog alone 'set a 1 0' OK
dialog alone 'get a' 'VAL 1'
dialog alone 'set a 2 60000' OK
dialog alone 'get a' 'VAL 2'
dialog alone 'del a' OK
dialog alone 'get a' NIL
dialog alone 'del a' OK
dialog alone '  get   a  ' NIL
usage='ERR the commands are: get KEY, set KEY VALUE TTL_MS, del KEY, mget KEY..., mset TTL_MS KEY VALUE..., stats'
dialog alone 'set a 1' "$usage"
dialog alone 'set a 1 x' 'ERR TTL_MS must be a number'
dialog alone 'get' "$usage"
dialog alone '' "$usage"
tab=$'\t'
dialog alone 'mset 0 m1 1 m2 2' "MANY${tab}OK${tab}OK"
dialog alone 'mget m2 m3 m1' "MANY${tab}VAL 2${tab}NIL${tab}VAL 1"
dialog alone 'mset 0 m1' "$usage"
dialog alone 'mset x m1 1' 'ERR TTL_MS must be a number'
dialog alone "mget $(printf 'k%d ' {1..65})" "$usage"
finding "stats is one line of names and values" \
    eval '[[ "$(ask alone stats)" =~ ^STATS( [a-z_0-9]+=[a-z0-9]+)+$ ]]'
finding "a value of 100,000 bytes comes back" eval '
    value=$(printf "%0100000d" 7)
    [ "$(ask alone "set long $value 0")" = OK ] && [ "$(ask alone "get long")" = "VAL $value" ]'
printf 'set short 1 50\n' >&"$alone_to"
read -r -t 5 -u "$alone_from" _
finding "a value is gone after its time" until_true 5 answers alone 'get short' NIL

# ---- with Redis, two processes

start_redis
open a --redis "$redis_url" --prefix p:
open b --redis "$redis_url" --prefix p: --off-link stale
finding "the link comes up" until_true 5 is_live a
finding "the second too" until_true 5 is_live b
dialog a 'get p:1' NIL
dialog a 'set p:1 one 0' OK
finding "Redis has the bytes" [ "$(redis GET p:1)" = one ]
finding "without an expiry" [ "$(redis PTTL p:1)" = -1 ]
dialog b 'get p:1' 'VAL one'
dialog a 'set p:1 two 60000' OK
finding "the other process sees the new value" until_true 5 answers b 'get p:1' 'VAL two'
pttl=$(redis PTTL p:1)
finding "the expiry is in Redis" [ "$pttl" -gt 50000 -a "$pttl" -le 60000 ]
dialog a 'set other 3 0' OK
finding "a key without the prefix is in Redis" [ "$(redis GET other)" = 3 ]
redis SET p:foreign 'from-cli' >/dev/null
dialog a 'get p:foreign' 'VAL from-cli'
redis SET p:lines $'two\nlines' >/dev/null
dialog a 'get p:lines' 'ERR the value has a line break'
redis LPUSH p:list x >/dev/null
finding "another type is an error" eval '[[ "$(ask a "get p:list")" == "ERR "* ]]'
dialog a 'get p:1' 'VAL two'
dialog a 'del p:1' OK
finding "and is gone in the other process" until_true 5 answers b 'get p:1' NIL
finding "and in Redis" [ "$(redis EXISTS p:1)" = 0 ]

# ---- an outage

dialog a 'set p:keep before 0' OK
finding "the other process holds a copy" until_true 5 answers b 'get p:keep' 'VAL before'
stop_redis
finding "a: off-link" until_true 5 answers a 'get p:keep' 'ERR off-link'
finding "b: stale" until_true 5 answers b 'get p:keep' 'STALE before'
dialog b 'get p:never' 'ERR off-link'
dialog a 'set p:out written 0' LOCAL
dialog a 'get p:out' 'STALE written'
dialog a 'del p:keep' LOCAL
dialog a 'get p:keep' 'STALE NIL'
start_redis
finding "the link comes back" until_true 10 is_live a
finding "the write of the outage is in Redis" until_true 5 eval '[ "$(redis GET p:out)" = written ]'
finding "the other process reads it" until_true 5 answers b 'get p:out' 'VAL written'

# ---- a Redis that was never there

open never --redis "unix://$work/none.sock" --op-timeout 50
dialog never 'get x' 'ERR off-link'
dialog never 'set x 1 0' LOCAL
dialog never 'get x' 'STALE 1'
open refusing --redis "unix://$work/none.sock" --journal 0
finding "without a journal writes are refused" eval '[[ "$(ask refusing "set x 1 0")" == "ERR "* ]]'
exit 0
