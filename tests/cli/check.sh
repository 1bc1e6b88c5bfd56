#!/bin/bash
# `nearcache check` of good, limited and wrong servers.
. "$(dirname "$0")/lib.sh"
need redis-server redis-cli perl

verdict() { grep -q "^$1  $2 " "$work/out" || { show; return 1; }; }

start_redis
expect "a good server" 0 check --redis "$redis_url"
for name in connection version role memory rights 'round trip' link 'set and get' expiry JSON \
    pipeline pub/sub latency; do
    finding "$name is fine" verdict 'OK  ' "$name"
done
finding "nothing is left in Redis" [ "$(redis KEYS 'nearcache-check*' | wc -w)" -eq 0 ]
expect "as JSON" 0 check --json --redis "$redis_url"
finding "it is JSON" is_json
finding "nothing is wrong in it" [ "$(field fail)" -eq 0 ]
expect "another database" 0 check --redis "$redis_url?db=3"
expect "a database that is not there" 1 check --redis "$redis_url?db=99"

redis CONFIG SET maxmemory-policy allkeys-lru >/dev/null
expect "an evicting policy is a warning only" 0 check --redis "$redis_url"
finding "and is shown" verdict WARN memory
redis CONFIG SET maxmemory-policy noeviction >/dev/null

redis ACL SETUSER reader on '>pw' '~*' '&*' +@all -publish >/dev/null
redis ACL SETUSER limited on '>pw' '~product:*' '~nc:*' '&nc:*' +@all >/dev/null
printf 'unix_path = %s\nusername = limited\npassword = pw\n' "$work/redis.sock" >"$work/config"
expect "a user with few keys" 1 check --config "$work/config"
finding "lacks rights" verdict FAIL rights
expect "the same user on its own keys" 0 check --config "$work/config" --prefix product:
finding "without tracking, which is only a warning" verdict WARN tracking
finding "and told in the advice" says '&__redis__:invalidate'
printf 'unix_path = %s\nusername = reader\npassword = pw\n' "$work/redis.sock" >"$work/config"
expect "a user that may not publish" 1 check --config "$work/config"
finding "publish is named" says 'denied: .*publish'
printf 'unix_path = %s\nusername = reader\npassword = wr0ngpw\n' "$work/redis.sock" >"$work/config"
expect "a wrong password" 1 check --config "$work/config"
finding "is a failed connection" verdict FAIL connection
finding "the password is not shown" eval '! grep -q wr0ngpw "$work/out" "$work/err"'

redis CONFIG SET requirepass secret >/dev/null
expect "no password where one is needed" 1 check --redis "$redis_url"
REDIS_PASSWORD=secret expect "the password from the environment" 0 check --redis "$redis_url"
stop_redis
expect "a server that is gone" 3 check --redis "$redis_url"
start_redis --replicaof 127.0.0.1 1
expect "a replica" 1 check --redis "$redis_url"
finding "is named" verdict FAIL role
exit 0
