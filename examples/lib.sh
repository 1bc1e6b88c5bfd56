# Sourced by demo.sh and by the tests of the examples (bash). The caller sets `build` (where the
# programs are) and `work` (an empty directory), says what `fail MESSAGE` does, and ends $redis_pid
# and $service_pid when it leaves.

redis_pid=
service_pid=
port=

now_us() { echo "${EPOCHREALTIME/./}"; }
ms_since() { local us=$(($(now_us) - $1)); printf '%d.%d ms' $((us / 1000)) $((us % 1000 / 100)); }

# Waits without a process of its own.
pause() {
    [ -p "$work/never" ] || mkfifo "$work/never"
    read -r -t "$1" <>"$work/never" || :
}

# The path of something that was built.
tool() {
    local folder
    for folder in "" /examples /src /src/cli; do
        if [ -x "$build$folder/$1" ] && [ ! -d "$build$folder/$1" ]; then
            echo "$build$folder/$1"
            return
        fi
    done
    echo "$0: $1 is not in $build: build it first" >&2
    exit 2
}

# wait_until SECONDS COMMAND...: until the command succeeds.
wait_until() {
    local end=$(($(now_us) + $1 * 1000000))
    shift
    until "$@"; do
        [ "$(now_us)" -lt "$end" ] || return 1
        pause 0.01
    done
    return 0 # a loop that ends well has the status of its last pause
}

redis() { redis-cli -s "$work/redis.sock" "$@" 2>/dev/null; }
redis_answers() { [ "$(redis PING)" = PONG ]; }
start_redis() {
    redis-server --port 0 --unixsocket "$work/redis.sock" --dir "$work" --save '' \
        --appendonly yes --daemonize no >"$work/redis.log" 2>&1 &
    redis_pid=$!
    wait_until 10 redis_answers || fail "redis-server does not start"
}
kill_redis() {
    kill -9 "$redis_pid"
    wait "$redis_pid" 2>/dev/null
    redis_pid=
}

# start_service OPTIONS...: the product service on a free port, which is left in $port.
start_service() {
    "$(tool product_service)" --port 0 "$@" >"$work/service.txt" 2>"$work/service.log" &
    service_pid=$!
    wait_until 10 grep -qs "listening on" "$work/service.txt" || fail "the service does not start"
    port=$(sed -n 's/^listening on [0-9.]*:\([0-9]*\) .*/\1/p' "$work/service.txt")
}
stop_service() {
    local pid=$service_pid
    service_pid=
    kill -TERM "$pid"
    wait "$pid"
}

# http METHOD PATH [BODY]: the body of the reply; the status code is left in $work/code.
http() {
    local body=${3:-} line reply= socket
    exec {socket}<>"/dev/tcp/127.0.0.1/$port" || return 1
    printf '%s %s HTTP/1.1\r\nHost: demo\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s' \
        "$1" "$2" "${#body}" "$body" >&"$socket"
    IFS= read -r -t 5 -u "$socket" line
    line=${line#* }
    echo "${line%% *}" >"$work/code"
    while IFS= read -r -t 5 -u "$socket" line && [ "$line" != $'\r' ]; do :; done
    IFS= read -r -d '' -t 5 -u "$socket" reply
    exec {socket}>&-
    printf '%s' "${reply%$'\n'}"
}
link_is() { [[ $(http GET /health) == *"\"link\":\"$1\""* ]]; }
journal_empty() { [[ $(http GET /health) == *'"journal_queued":0,'* ]]; }

