#!/bin/bash
# nearcache queue: every subcommand against a redis-server of its own.
. "$(dirname "$0")/lib.sh"
need redis-server redis-cli perl
start_redis

queue() { run queue "$@" --redis "$redis_url"; }
# prints TEXT: the program's output is exactly this.
prints() { [ "$(cat "$work/out")" = "$1" ]; }
q() {
    local text=$1 want=$2
    shift 2
    queue "$@"
    finding "$text" [ "$status" -eq "$want" ]
}

q "add" 0 add mail welcome --data '{"to":"a@b.c"}' --attempts 3 --backoff exponential:20
finding "prints the id" prints 1
q "a custom id" 0 add mail welcome --job-id mine --priority 2
q "a custom id again" 0 add mail welcome --job-id mine
finding "is said" complains "mine exists already"
finding "and only one is there" [ "$(redis zcard bull:mail:prioritized)" = 1 ]
q "data from standard input is refused when empty" 2 add mail welcome --data -
q "data that is not JSON" 2 add mail welcome --data '{oops'
finding "is explained" complains "the data is not JSON, at byte 1"
q "an integer as an id" 2 add mail welcome --job-id 17
finding "is explained" complains "an integer"
q "a negative delay" 2 add mail welcome --delay -5
q "a back-off without a delay" 2 add mail welcome --backoff fixed
q "retention that is no JSON" 2 add mail welcome --remove-on-complete maybe
q "retention that brings an option with it" 2 add mail welcome --remove-on-complete '5,"lifo":true'
finding "is explained" complains "must be one JSON value"
q "an attempt less than one" 2 add mail welcome --attempts 0
q "a priority out of range" 2 add mail welcome --priority 2097152
for name in '' a:b; do
    q "the queue's name '$name'" 2 add "$name" welcome
    finding "is explained" complains "no colon"
done
q "an empty prefix" 2 add mail welcome --prefix ''
q "an id with a colon" 2 add mail welcome --job-id a:b
printf '"\377"' >"$work/latin"
"$nearcache" queue add mail welcome --data - --redis "$redis_url" <"$work/latin" >"$work/out" 2>"$work/err"
finding "bytes that are not UTF-8 are refused" [ $? -eq 2 ]
q "another prefix" 0 add mail welcome --prefix '{mine}'
finding "begins the keys" [ "$(redis llen '{mine}:mail:wait')" = 1 ]
q "a delayed job" 0 add mail late --delay 100000 --remove-on-complete '{"count":5}'
q "stats" 0 stats mail --json
finding "counts" says '"delayed": 1'
q "list" 0 list mail --state prioritized
finding "shows the job" says '^mine	welcome	'
q "job" 0 job mail mine --json
finding "shows its data" says '"data": {}'
q "a job that is not there" 1 job mail nothing

printf '%s\n' '{"name":"a","data":{"x": 1.0,"y":"\u00e9"},"opts":{"lifo":true}}' '' \
    '{ "name" : "b\"c" , "data" : [1, 2] }' '{"opts":{"attempts":2},"name":"c"}' >"$work/jobs.jsonl"
q "add --bulk" 0 add bulk --bulk "$work/jobs.jsonl"
finding "says how many" says '^3 added'
finding "keeps the data byte for byte" [ "$(redis hget bull:bulk:1 data)" = '{"x": 1.0,"y":"\u00e9"}' ]
finding "decodes the name" [ "$(redis hget bull:bulk:2 name)" = 'b"c' ]
for ((i = 0; i < 3000; i++)); do printf '{"name":"n","data":{"i":%d}}\n' $i; done >"$work/many.jsonl"
calls_before=$(redis info commandstats | sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\).*/\1/p')
q "3000 lines" 0 add many --bulk "$work/many.jsonl"
calls=$(redis info commandstats | sed -n 's/^cmdstat_evalsha:calls=\([0-9]*\).*/\1/p')
finding "take few script calls" [ $((calls - calls_before)) -le 12 ]
finding "and all arrive in order" [ "$(redis lindex bull:many:wait -1)$(redis llen bull:many:wait)" = 13000 ]
printf '%s\n' '{"name":"a"}' '{"name":"b","data":{oops}}' >"$work/bad.jsonl"
q "a bad line" 2 add bad --bulk "$work/bad.jsonl"
finding "is named" complains "line 2:"
printf '%s\n' '{"name":"a","jobs":1}' >"$work/bad.jsonl"
q "an unknown member" 2 add bad --bulk "$work/bad.jsonl"

bad_bulk() { # TEXT LINE
    printf '%s\n' '{"name":"a"}' "$2" >"$work/bad.jsonl"
    q "$1" 2 add bad --bulk "$work/bad.jsonl"
    finding "is named by its line" complains "line 2:"
}
bad_bulk "an integer as an id in a file" '{"name":"a","opts":{"jobId":"7"}}'
bad_bulk "a negative delay in a file" '{"name":"a","opts":{"delay":-5}}'
bad_bulk "a repeat option" '{"name":"a","opts":{"repeat":{"every":5}}}'
bad_bulk "a line that is no object" '[]'
finding "nothing was added" [ "$(redis exists bull:bad:wait)" = 0 ]
(printf '{"name":"a","data":"' && head -c 67108864 /dev/zero | tr '\0' x && echo '"}') >"$work/bad.jsonl"
q "a line with too much data" 2 add bad --bulk "$work/bad.jsonl"
finding "is named" complains "line 1: "
(printf '"' && head -c 67108864 /dev/zero | tr '\0' x && echo '"') >"$work/bad.jsonl"
"$nearcache" queue add bad x --data - --redis "$redis_url" <"$work/bad.jsonl" >"$work/out" 2>"$work/err"
finding "as is too much data of one job" [ $? -eq 2 ]
rm "$work/bad.jsonl"
printf '{"name":"a","opts":{"jobId":"x","delay":1000000,"priority":3,"backoff":500}}\n{"name":"b","opts":{"jobId":"x"}}' \
    >"$work/own.jsonl"
q "ids of one's own, no line end" 0 add own --bulk "$work/own.jsonl" --json
finding "the second is there already" says '"existing": 1'
finding "delay wins over priority" [ "$(redis zcard bull:own:delayed)" = 1 ]
finding "a plain number is a fixed back-off" \
    grep -q '"backoff":{"type":"fixed","delay":500}' <<<"$(redis hget bull:own:x opts)"
q "options beside a file" 2 add own --bulk "$work/own.jsonl" --priority 3
q "a file that is not there" 2 add own --bulk "$work/none"
q "a folder" 1 add own --bulk "$work"
q "neither name nor file" 2 add own

q "work" 0 work bulk --exec 'cat' --until-drained --concurrency 2
finding "ends when drained" says '^3 completed, 0 failed'
finding "the result is the output" [ "$(redis hget bull:bulk:1 returnvalue)" = '{"x": 1.0,"y":"\u00e9"}' ]
q "add" 0 add env show --data 7
q "work" 0 work env --until-drained \
    --exec 'printf "[\"%s\",\"%s\",%s,\"%s\"]" "$NEARCACHE_JOB_ID" "$NEARCACHE_JOB_NAME" "$NEARCACHE_ATTEMPTS_MADE" "$NEARCACHE_QUEUE"'
finding "has its variables" [ "$(redis hget bull:env:1 returnvalue)" = '["1","show",0,"env"]' ]
q "add" 0 add inherited show
NEARCACHE_JOB_ID=outer NEARCACHE_QUEUE_OF=outer q "work with variables of such names" 0 work inherited \
    --exec 'echo "[\"$NEARCACHE_JOB_ID\",\"$NEARCACHE_QUEUE_OF\"]"' --until-drained
finding "gives those of the job, and others on" \
    [ "$(redis hget bull:inherited:1 returnvalue)" = '["1","outer"]' ]
q "add" 0 add fails x --attempts 2
q "work with a command that fails" 0 work fails --exec 'echo one >&2; echo two >&2; exit 3' --until-drained --json
finding "counts a retry" says '"retried": 1'
finding "keeps the last line" [ "$(redis hget bull:fails:1 failedReason)" = two ]
q "retry" 0 retry fails 1
q "no output is null, two queues at once" 0 work fails env --exec true --until-drained
finding "null" [ "$(redis hget bull:fails:1 returnvalue)" = null ]
q "add" 0 add odd x
q "output that is not JSON" 0 work odd --exec 'echo not json' --until-drained
finding "fails the job" [ "$(redis zcard bull:odd:failed)" = 1 ]
q "a command ended by a signal" 0 add odd y
q "work" 0 work odd --exec 'kill -9 $$' --until-drained
finding "fails the job" [ "$(redis hget bull:odd:2 failedReason)" = 'the command was ended by signal 9' ]

# outcome FIELD COMMAND [DATA]: of a job that COMMAND ran.
outcome() {
    local id
    queue add runs x --data "${3:-{\}}"
    id=$(cat "$work/out")
    queue work runs --exec "$2" --until-drained
    redis hget "bull:runs:$id" "$1"
}
finding "binary output fails the job" [ "$(outcome failedReason 'printf "\001\377"')" = 'the result of the handler is not valid JSON' ]
finding "bytes that are no UTF-8 are replaced in a reason" \
    [ "$(outcome failedReason 'printf "a\377b" >&2; exit 1')" = $'a\xef\xbf\xbdb' ]
finding "the last of many lines counts" [ "$(outcome failedReason 'yes abc | head -n 50000 >&2; echo last >&2; exit 2')" = last ]
finding "without a line the status is the reason" [ "$(outcome failedReason 'exit 7')" = 'the command exited with 7' ]
finding "a command that is not there" grep -q 'not found' <<<"$(outcome failedReason nonesuch_command)"
perl -e 'print "\"", "x" x 3000000, "\""' >"$work/large"
for command in 'exec <&-; echo 1' 'head -c 1 >/dev/null; echo 1' 'wc -c'; do
    "$nearcache" queue add large x --data - --redis "$redis_url" <"$work/large" >"$work/out"
    q "large data for: $command" 0 work large --exec "$command" --until-drained
done
finding "is read or left as the command likes" [ "$(redis zcard bull:large:completed)" = 3 ]
finding "and arrives whole" [ "$(redis hget bull:large:3 returnvalue)" = 3000002 ]
finding "what the command leaves running is not waited for" \
    [ "$(outcome returnvalue 'sleep 1000 & echo 5; echo $! >"'"$work"'/left"')" = 5 ]
kill "$(cat "$work/left")"
q "add" 0 add late x --delay 300
q "a delayed job" 0 work late --exec cat --until-drained
finding "is waited for" says '^1 completed'
q "add" 0 add late x --attempts 3 --backoff fixed:100
q "retries" 0 work late --exec '[ $NEARCACHE_ATTEMPTS_MADE = 2 ]' --until-drained --name w1 --concurrency 4
finding "are waited for" says '1 completed, 0 failed, 2 tries'
finding "the worker's name is noted" [ "$(redis hget bull:late:2 pb)" = w1 ]

q "promote" 0 promote mail "$(redis zrange bull:mail:delayed 0 0)"
q "promote once more" 1 promote mail mine
q "pause" 0 pause mail
finding "is seen" [ "$(redis hget bull:mail:meta paused)" = 1 ]
q "a paused queue counts as drained" 0 work mail --exec cat --until-drained
finding "and kept its jobs" [ "$(redis zcard bull:mail:prioritized)" = 1 ]
q "resume" 0 resume mail
q "remove" 0 remove mail mine
q "remove once more" 1 remove mail mine
q "drain" 0 drain mail
finding "nothing waits" [ "$(redis llen bull:mail:wait)" = 0 ]
q "clean" 0 clean bulk completed --grace 0 --limit 2
finding "says how many" prints '2 removed'
q "clean with a wrong type" 2 clean bulk everything

q "schedule" 0 schedule daily report --cron '0 2 * * *' --tz UTC --name report --data '{"a":1}' --limit 5
q "schedules" 0 schedules daily --json
finding "lists it" says '"cron": "0 2 \* \* \*"'
q "an iteration of a schedule does not keep a worker from ending" 0 work daily --exec cat --until-drained
q "a wrong pattern" 2 schedule daily bad --cron '0 2 * *' --name x
finding "is explained" complains "five fields"
q "a schedule that is over" 1 schedule daily over --every 1000 --end 1000 --name x
q "unschedule" 0 unschedule daily report
q "unschedule once more" 1 unschedule daily report
finding "no job is left" [ "$(redis zcard bull:daily:delayed)" = 0 ]
run queue cron '30 2 * * *' --tz UTC --from 0 -n 2
finding "cron prints the next times" prints $'9000000\n95400000'
run queue cron '61 * * * *'
finding "cron refuses nonsense" [ "$status" -eq 2 ]

for pattern in '' '* * * *' '* * * * * * *' '*/0 * * * *' '0 24 * * *' '0 0 * * 8' '0 0 30 2 *' '1,2, * * * *' 'H * * * *'; do
    expect "cron refuses '$pattern'" 2 queue cron "$pattern"
done
run queue cron '0 2 * * *' --tz Mars/Base
finding "and a zone that there is not" [ "$status" -eq 2 ]
run queue cron '0 2 * * *' --tz UTC -n 2 --json
finding "cron --json" is_json
for words in 'stats late' 'list late --state completed' 'job late 1' 'retry late 1' 'remove late 1' 'pause late' \
    'resume late' 'drain late' 'clean late completed' 'schedule late s --every 100000 --name n' 'schedules late' \
    'unschedule late s' 'add late n' 'work late --exec true --until-drained' 'events late --after 0 --count 1'; do
    q "$words --json" 0 $words --json
    finding "is JSON" is_json
done

# What stands in Redis need not be JSON; what --json prints is.
n=0
for text in '' 'not json' '{"a":1,}' '[1 2]' '01' '1.' '-' '"a' '"\u12"' $'"\x01"' $'"\xff"' 'nul' '{} {}' '{"a" 1}' \
    "$(printf '[%.0s' $(seq 513))$(printf ']%.0s' $(seq 513))" \
    ' {"a":[1,-0.5e+3,true,false,null,"\u00e9\n"],"b":{},"c":[]} ' '7' "$(printf '[%.0s' $(seq 512))$(printf ']%.0s' $(seq 512))"; do
    n=$((n + 1))
    redis hset "bull:odds:o$n" name n data "$text" opts "$text" timestamp 1 stacktrace "$text" progress "$text" >/dev/null
    redis rpush bull:odds:wait "o$n" >/dev/null
done
for ((i = 1; i <= n; i++)); do queue job odds "o$i" --json && is_json || break; done 2>/dev/null
finding "a job's --json is JSON whatever Redis holds" [ "$i" -gt "$n" ]
q "list" 0 list odds --json
finding "and so is a list's" is_json
finding "in which three jobs' data are values" [ "$(grep -c '^ *"data": [^"]' "$work/out")" -eq 3 ]
redis zadd bull:odds:repeat 100 odd >/dev/null
redis hset bull:odds:repeat:odd name n every 1000 data 'not json' opts '' >/dev/null
q "schedules" 0 schedules odds --json
finding "and that of schedules" is_json

q "events" 0 events fails --after 0 --no-wait
finding "tells the story" says ' failed 1 failedReason=two prev=active$'
events=$(wc -l <"$work/out")
# A relay behind which Redis is far away: what it says takes its time.
perl -MIO::Socket::UNIX -MIO::Select -e '
    my ($near, $far) = @ARGV;
    my $door = IO::Socket::UNIX->new(Local => $near, Listen => 9) or die;
    my $all = IO::Select->new($door);
    my (%peer, %slow);
    while (my @ready = $all->can_read) {
        for my $from (@ready) {
            if ($from == $door) {
                my ($to, $there) = (scalar $door->accept, IO::Socket::UNIX->new(Peer => $far));
                @peer{$to, $there} = ($there, $to);
                $slow{$there} = 1;
                $all->add($to, $there);
            } elsif (!sysread $from, my $bytes, 65536) {
                my $to = $peer{$from};
                $all->remove($from, $to);
                close $_ for $from, $to;
            } else {
                select undef, undef, undef, 0.1 if $slow{$from};
                syswrite $peer{$from}, $bytes;
            }
        }
    }' "$work/far.sock" "$work/redis.sock" 2>/dev/null &
children+=("$!")
finding "the relay is there" until_true 10 [ -S "$work/far.sock" ]
run queue events fails --after 0 --no-wait --redis "unix://$work/far.sock"
finding "events of a Redis that is far away" [ "$status" -eq 0 ]
finding "are the same" [ "$(wc -l <"$work/out")" -eq "$events" ]
q "events behind the last one" 0 events fails --after "$(tail -n 1 "$work/out" | cut -d ' ' -f 1)" --no-wait
finding "are none" prints ''
run queue stats mail --redis "unix://$work/none.sock"
finding "Redis that is not there" [ "$status" -eq 3 ]
run queue stats mail --redis nonsense
finding "a URL that is none" [ "$status" -eq 2 ]
redis config set requirepass secret >/dev/null
q "Redis that wants a password" 3 stats mail
finding "is told apart" complains "credentials"
admin() { redis-cli -s "$work/redis.sock" -a secret --no-auth-warning "$@" >/dev/null 2>&1; }
admin config set requirepass ''
mkfifo "$work/input"
"$nearcache" queue add locked --bulk - --redis "$redis_url" <"$work/input" >"$work/out" 2>"$work/err" &
adder=$!
children+=("$adder")
exec 8>"$work/input"
for ((i = 0; i < 5000; i++)); do echo '{"name":"j"}'; done >&8
waiting() { [ "$(redis llen "bull:$1:wait")" = "$2" ]; }
finding "a batch of lines is added while more may come" until_true 10 waiting locked 5000
redis config set requirepass secret >/dev/null
admin client kill type normal
echo '{"name":"j"}' >&8
exec 8>&-
wait "$adder"
finding "Redis that wants a password then ends with the same status" [ $? -eq 3 ]
admin config set requirepass ''
run queue frobnicate
finding "an unknown subcommand" [ "$status" -eq 2 ]
redis config set maxmemory-policy allkeys-lru >/dev/null
q "a Redis that evicts" 0 stats mail
finding "is warned about" complains "may evict"
redis config set maxmemory-policy noeviction maxmemory 1 >/dev/null
q "a Redis that is full" 1 add mail x
finding "is told" complains "OOM"
for i in $(seq 200); do echo '{"name":"j"}'; done >"$work/jobs.jsonl"
q "it is told for many lines" 1 add full --bulk "$work/jobs.jsonl"
finding "in one message" complains "lines 1 to 200: "
redis config set maxmemory 0 >/dev/null
finding "and nothing of it is there" [ -z "$(redis keys 'bull:full*')" ]

# A trouble of every kind in the middle of the work: each job is run once, and the worker goes on.
# A job ends when it is let: each takes one byte of the gate.
stop_redis
start_redis --appendonly yes --appendfsync always
mkfifo "$work/gate"
exec 9<>"$work/gate"
let_end() { printf "%$1s" "" >&9; }
: >"$work/ran"
ran() { [ "$(wc -l <"$work/ran")" -ge "$1" ]; }
told() { grep -q "$1" "$work/err"; }
q "jobs for an outage" 0 add outage --bulk "$work/jobs.jsonl"
redis config set maxmemory 1 >/dev/null
"$nearcache" queue work outage --exec "head -c 1 $work/gate >/dev/null; echo >>$work/ran" --concurrency 4 \
    --until-drained --redis "$redis_url" >"$work/out" 2>"$work/err" 9>&- &
worker=$!
children+=("$worker")
finding "a full Redis is told" until_true 20 told OOM
redis config set maxmemory 0 >/dev/null
let_end 20
finding "with memory they begin" until_true 20 ran 20
stop_redis
start_redis --appendonly yes --appendfsync always
let_end 40
finding "after a crash of Redis they go on" until_true 20 ran 60
kill -STOP "$redis_pid"
let_end 140
finding "a Redis that hangs is told" until_true 20 told "deadline passed"
kill -CONT "$redis_pid"
wait "$worker"
finding "the worker ends well" [ $? -eq 0 ]
finding "with all of them done" says '^200 completed, 0 failed, 0 tries'
finding "each once" [ "$(wc -l <"$work/ran")" -eq 200 ]
finding "and says few words" [ "$(wc -l <"$work/err")" -le 20 ]
exit
