# Sourced by the tests of the command (bash). Each test drives the built program against
# redis-servers of its own on private unix sockets, prints one line per finding, and exits with 1
# when one of them failed, 77 when what it needs is not installed.
#
# The program is $NEARCACHE, or ./nearcache in the directory of the build.

set -u -o pipefail

nearcache=${NEARCACHE:-./nearcache}
[ -x "$nearcache" ] || {
    echo "$0: no program at $nearcache: build it, or set NEARCACHE" >&2
    exit 2
}
unset REDIS_URL REDIS_HOST REDIS_PORT REDIS_PASSWORD REDIS_DB

work=$(mktemp -d "${TMPDIR:-/tmp}/nearcache-cli.XXXXXX") || exit 1
failures=0
redis_pid=
redis_url=unix://$work/redis.sock
children=()

cleanup() {
    local status=$? pid
    trap - EXIT INT TERM
    for pid in $redis_pid ${children[@]+"${children[@]}"}; do
        kill -9 "$pid" 2>/dev/null && wait "$pid" 2>/dev/null
    done
    rm -rf "$work"
    [ "$status" -eq 0 ] && [ "$failures" -gt 0 ] && status=1
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

need() {
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || {
            echo "skipped: no $tool"
            exit 77
        }
    done
}

# finding TEXT COMMAND...: the command must succeed.
finding() {
    local text=$1
    shift
    if "$@"; then
        echo "ok: $text"
    else
        echo "FAILED: $text: $*"
        failures=$((failures + 1))
    fi
}

# run ARGUMENTS...: the program; what it said is in $work/out and $work/err, its status in $status.
run() {
    "$nearcache" "$@" >"$work/out" 2>"$work/err" </dev/null
    status=$?
}
show() {
    sed 's/^/    out: /' "$work/out"
    sed 's/^/    err: /' "$work/err"
}
# expect TEXT STATUS ARGUMENTS...: the program ends with that status.
expect() {
    local text=$1 wanted=$2
    shift 2
    run "$@"
    if [ "$status" -eq "$wanted" ]; then
        echo "ok: $text"
    else
        echo "FAILED: $text: status $status, not $wanted"
        show
        failures=$((failures + 1))
    fi
}
says() { grep -q -- "$1" "$work/out" || { show; return 1; }; }
complains() { grep -q -- "$1" "$work/err" || { show; return 1; }; }
# field NAME: of the JSON in $work/out.
field() { sed -n "s/^ *\"$1\": *\"\{0,1\}\([^,\"]*\).*/\1/p" "$work/out" | head -n 1; }
is_json() { perl -MJSON::PP -0777 -ne 'JSON::PP->new->utf8->max_depth(1000)->decode($_)' "$work/out"; }

# Waits without a process of its own.
pause() {
    [ -p "$work/never" ] || mkfifo "$work/never"
    read -r -t "$1" <>"$work/never"
}
# until_true SECONDS COMMAND...
until_true() {
    local end=$((${EPOCHREALTIME/./} + $1 * 1000000))
    shift
    until "$@"; do
        [ "${EPOCHREALTIME/./}" -lt "$end" ] || return 1
        pause 0.01
    done
    return 0 # not the status of the last pause
}

redis() { redis-cli -s "$work/redis.sock" "$@" 2>/dev/null; }
redis_answers() { redis PING | grep -q -e PONG -e NOAUTH; }
# start_redis OPTIONS...
start_redis() {
    redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --save '' \
        --appendonly no --daemonize no "$@" >"$work/redis.log" 2>&1 &
    redis_pid=$!
    until_true 10 redis_answers || {
        echo "redis-server does not start"
        cat "$work/redis.log"
        exit 1
    }
}
stop_redis() {
    kill -9 "$redis_pid"
    wait "$redis_pid" 2>/dev/null
    redis_pid=
}
