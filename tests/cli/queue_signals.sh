#!/bin/bash
# Signals to nearcache queue, and what becomes of the commands and jobs that it has: a redis-server
# of its own; jobs end when they are let.
. "$(dirname "$0")/lib.sh"
need redis-server redis-cli perl pgrep pkill
ulimit -c 0
start_redis

queue() { run queue "$@" --redis "$redis_url"; }
# work_on ARGUMENTS...: a worker in the background, with signals as at a terminal; $worker.
work_on() {
    perl -e '$SIG{$_} = "DEFAULT" for qw(INT QUIT HUP); exec @ARGV' "$nearcache" queue work "$@" \
        --redis "$redis_url" >"$work/worker.out" 2>"$work/worker.err" &
    worker=$!
    children+=("$worker")
}
ends_with() {
    wait "$worker"
    local status=$?
    [ "$status" -eq "$1" ] || { echo "status $status"; false; }
}
gone() { ! kill -0 $(cat "$1") 2>/dev/null; }
jobs() { for ((i = 0; i < $1; i++)); do echo '{"name":"j"}'; done >"$work/jobs.jsonl"; }
# held KEY: a command that ends when KEY gets an element.
held() { echo "redis-cli -s $work/redis.sock blpop $1 100 >/dev/null"; }
let_end() { redis rpush "$1" $(seq "$2") >/dev/null; }

# A command that has closed its outputs is told that its lock is lost, which takes a while to be
# noticed: the end of this file looks.
queue add silent x
"$nearcache" queue work silent --redis "$redis_url" \
    --exec "[ -e $work/told ] && exit; trap 'echo told >$work/told; kill \$!; exit 1' TERM
        sleep 1000 & echo >$work/silent; exec >&- 2>&-; wait" >"$work/silent.out" 2>&1 &
silent=$!
children+=("$silent")
finding "a command without outputs runs" until_true 10 [ -e "$work/silent" ]
redis del bull:silent:1:lock >/dev/null

# The first one lets the running job finish.
for signal in INT TERM HUP; do
    redis del go >/dev/null
    queue add slow x
    work_on slow --exec "echo >$work/begun; $(held go); echo 1"
    finding "the command runs" until_true 10 [ -e "$work/begun" ]
    rm -f "$work/begun"
    kill -$signal "$worker"
    [ $signal = HUP ] && kill -HUP "$worker" # from the kernel, and from the shell
    finding "$signal does not end it while a job runs" kill -0 "$worker"
    let_end go 1
    finding "then it ends well" ends_with 0
    finding "and the job is done" grep -q '^1 completed' "$work/worker.out"
done
finding "nothing is active" [ "$(redis llen bull:slow:active)" = 0 ]

redis del go >/dev/null
queue add slow x
(trap '' HUP; exec "$nearcache" queue work slow --until-drained --redis "$redis_url" \
    --exec "echo >$work/begun; $(held go); echo 1" >"$work/out" 2>"$work/err") &
worker=$!
children+=("$worker")
finding "under nohup the command runs" until_true 10 [ -e "$work/begun" ]
kill -HUP "$worker"
let_end go 1
finding "and a hang-up is none" ends_with 0

# It does so in all queues at once: a worker whose job has ended takes no other one.
connected() { queue stats "$1" && grep -q "^workers *$2\$" "$work/out"; }
work_on first second --exec "echo >$work/runs.\$NEARCACHE_QUEUE; $(held 'go.$NEARCACHE_QUEUE')"
finding "both wait" until_true 10 connected first 1
finding "both wait" until_true 10 connected second 1
jobs 200
queue add second --bulk "$work/jobs.jsonl"
queue add first x
finding "the first one works" until_true 10 [ -e "$work/runs.first" ]
finding "the second one works" until_true 10 [ -e "$work/runs.second" ]
kill -TERM "$worker"
let_end go.second 200
finding "the second one leaves while the first one works" until_true 20 connected second 0
finding "with jobs left" [ "$(redis llen bull:second:wait)" -gt 0 ]
finding "the first one works still" [ "$(redis llen bull:first:active)" = 1 ]
let_end go.first 1
finding "until its job has ended" ends_with 0

# A second one ends it and what it runs, which another worker finds stalled.
for signals in 'TERM INT' QUIT; do
    rm -f "$work/pids"
    queue add forced x
    before=$(redis llen bull:forced:active)
    work_on forced --exec "sleep 1000 & echo \$\$ \$! >$work/pids.new; mv $work/pids.new $work/pids; wait"
    finding "the command runs" until_true 10 [ -e "$work/pids" ]
    for signal in $signals; do kill -$signal "$worker"; done
    wanted=130
    [ $signal = QUIT ] && wanted=131
    finding "$signals ends the worker" ends_with $wanted
    finding "and what it ran" until_true 10 gone "$work/pids"
    finding "whose job is as the worker left it" [ "$(redis llen bull:forced:active)" = $((before + 1)) ]
done

# However many there are, none of them has failed by that.
running() { [ "$(pgrep -fc "^sleep 1000.$$")" -eq "$1" ]; }
jobs 100
for ((round = 0; round < 3; round++)); do
    queue add "many$round" --bulk "$work/jobs.jsonl"
    work_on "many$round" --concurrency 100 --exec "exec sleep 1000.$$"
    until_true 20 running 100 || break
    kill -INT "$worker"
    kill -TERM "$worker"
    wait "$worker"
    until_true 10 running 0 || break
    [ "$(redis llen "bull:many$round:active") $(redis exists "bull:many$round:failed")" = "100 0" ] || break
done
finding "jobs whose commands are killed have not failed" [ "$round" -eq 3 ]

# Both from the first of many commands, while others are being started.
jobs 16
for ((round = 0; round < 10; round++)); do
    queue add "crowd$round" --bulk "$work/jobs.jsonl"
    run queue work "crowd$round" --concurrency 16 --redis "$redis_url" \
        --exec "kill -TERM \$PPID; kill -INT \$PPID; exec sleep 1000.$$"
    [ "$status" -eq 130 ] && until_true 10 running 0 && [ "$(redis exists "bull:crowd$round:failed")" = 0 ] || break
done
finding "two signals end commands that just begin, too" [ "$round" -eq 10 ]
pkill -9 -f "^sleep 1000.$$"

# While something is waited for: standard input, Redis.
reads_input() { grep -q '^[0-9]* 0x0 ' "/proc/$worker/syscall"; }
catches() {
    [[ $(readlink "/proc/$worker/exe") == *nearcache ]] && # no shell any more
        [ $((0x$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$worker/status") & 0x4000)) -ne 0 ]
}
mkfifo "$work/input"
for how in 'x --data -' '--bulk -'; do
    "$nearcache" queue add input $how --redis "$redis_url" <"$work/input" >"$work/out" 2>"$work/err" &
    worker=$!
    children+=("$worker")
    exec 8>"$work/input"
    finding "add $how waits for its input" until_true 10 reads_input
    kill -INT "$worker"
    finding "and is interrupted" ends_with 130
    finding "without a complaint" [ ! -s "$work/err" ]
    exec 8>&-
done
"$nearcache" queue stats input --redis "unix://$work/none.sock" >"$work/out" 2>"$work/err" &
worker=$!
children+=("$worker")
finding "a command waits for Redis" until_true 10 catches
kill -INT "$worker"
finding "and is interrupted" ends_with 130

finding "a command without outputs is told of its lost lock" until_true 30 [ -e "$work/told" ]
kill -TERM "$silent"
wait "$silent"
finding "and its worker ends well" [ $? -eq 0 ]
exit
