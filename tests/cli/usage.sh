#!/bin/bash
# Options, help, exit codes and secrets: what needs no Redis, or one that is not there.
. "$(dirname "$0")/lib.sh"

commands='check shell stats metrics replay bench load export'

expect "no command is a usage error" 2
expect "an unknown command is a usage error" 2 frobnicate
finding "and is named" complains "no command 'frobnicate'"
expect "--version" 0 --version
finding "says the version" says '^nearcache [0-9]*\.[0-9]*\.[0-9]*$'
expect "--help" 0 --help
for command in $commands; do
    finding "--help lists $command" grep -q "^  $command " "$work/out"
done
for command in $commands; do
    expect "$command --help" 0 "$command" --help
    finding "$command --help shows its usage" says "^usage: nearcache $command "
    expect "$command with an unknown option" 2 "$command" --no-such-option
    finding "$command shows its usage then" complains "^usage: nearcache $command "
done
expect "an argument too many" 2 check one
expect "an argument too few" 2 replay --capacity-entries 5
expect "no capacity" 2 replay trace
expect "two capacities" 2 replay --capacity-entries 5 --capacity-bytes 2m trace
expect "a number that is none" 2 replay --capacity-entries 5x trace
finding "is explained" complains "capacity-entries 5x: must be a number from 1 to"
expect "a choice that is none" 2 replay --policy best --capacity-entries 5 trace
finding "is explained with the choices" complains 'must be one of default lru as3'
expect "no tier" 2 load file.npy
expect "no socket" 2 stats
expect "a socket that is not there" 1 stats --socket "$work/none"
expect "tracking without a prefix" 2 shell --coherence tracking
expect "a URL that is none" 2 check --redis http://localhost
expect "a URL that is none, for a cache" 2 shell --redis http://localhost

printf 'host = localhost\n\nprot = 1\n' >"$work/config"
expect "an unknown key in the file" 2 check --config "$work/config"
finding "names the line" complains 'config, line 3: unknown key'
expect "a file that is not there" 2 check --config "$work/none"

expect "check of a Redis that is not there" 3 check --redis "unix://$work/none.sock"
finding "says so" says '^FAIL  connection'
expect "the same as JSON" 3 check --json --redis "unix://$work/none.sock"
finding "is JSON" is_json
printf 'unix_path = %s/none.sock\n' "$work" >"$work/config"
expect "a Redis from the file that is not there" 3 check --config "$work/config"
REDIS_URL=unix://$work/env.sock expect "a Redis from the environment" 3 check
finding "is the one that was named" says "$work/env.sock"
REDIS_URL=unix://$work/env.sock expect "the file wins over the environment" 3 check --config "$work/config"
finding "and is used" says "$work/none.sock"
REDIS_URL=unix://$work/env.sock expect "--redis wins over both" 3 check --config "$work/config" \
    --redis "unix://$work/third.sock"
finding "and is used" says "$work/third.sock"
REDIS_PORT=x expect "a broken environment" 2 check
# Whatever the kind of the weaker address is.
for weaker in 'sentinels = 127.0.0.1:1\nsentinel_primary = main\nsentinel_password = p' \
    'cluster = yes\ncluster_nodes = 127.0.0.1:1\ncluster_partitions = 4' \
    'cluster = yes\nhost = 127.0.0.1\nport = 1'; do
    printf "$weaker\n" >"$work/config"
    expect "--redis wins over ${weaker%% *}" 3 check --config "$work/config" \
        --redis "unix://$work/third.sock"
    finding "and is used" says "^FAIL  connection.*$work/third.sock"
done
printf 'cluster = yes\ncluster_nodes = 127.0.0.1:1\n' >"$work/config"
REDIS_URL=unix://$work/env.sock expect "cluster_nodes in a file win over the environment" 0 shell \
    --coherence none --config "$work/config"
echo get a | "$nearcache" shell --coherence none --config "$work/config" >"$work/out" 2>"$work/err"
finding "and name a Redis" says '^ERR off-link'
# Refused, as a file of authorities that is not there: a shell without Redis would not look.
printf 'cluster = yes\ntls_ca_file = %s/none\n' "$work" >"$work/config"
expect "so does cluster alone" 2 shell --config "$work/config"
printf 'cluster = yes\n' >"$work/config"
expect "which holds for the address of another source" 2 shell --config "$work/config" \
    --redis redis://127.0.0.1:1/5
finding "is explained" complains "a cluster has no database but 0"

# A password in the URL is gone from the list of processes.
mkfifo "$work/in"
"$nearcache" shell --redis 'redis://user:topsecret@127.0.0.1:1/0' <"$work/in" >"$work/out" 2>&1 &
children+=($!)
exec {to}>"$work/in"
echo stats >&"$to"
finding "the shell runs" until_true 5 grep -q ^STATS "$work/out"
finding "the password is not to be seen" \
    eval "! tr '\0' ' ' </proc/${children[0]}/cmdline | grep -q topsecret"
finding "the host is" eval "tr '\0' ' ' </proc/${children[0]}/cmdline | grep -q 127.0.0.1"
exec {to}>&-
wait "${children[0]}"
finding "the shell ends with its input, status 0" [ $? -eq 0 ]
children=()

# Interrupted: 130.
"$nearcache" shell <"$work/in" >"$work/out" 2>&1 &
pid=$!
children+=("$pid")
exec {to}>"$work/in"
echo stats >&"$to"
until_true 5 grep -q ^STATS "$work/out"
# Background processes of a script ignore SIGINT unless they ask for it, as this one does.
kill -INT "$pid"
wait "$pid"
finding "SIGINT ends the shell with 130" [ $? -eq 130 ]
exec {to}>&-
children=()

[ -w /dev/full ] && {
    "$nearcache" --version >/dev/full 2>/dev/null
    finding "output that cannot be written is an error" [ $? -eq 1 ]
}
exit 0
