-- TOUCH: moves a key's expiry. Longer needs no message, because copies elsewhere only end early;
-- shorter is a write, because they would be served past the deadline.
-- KEYS  S W key
-- ARGV  channel origin ttl_ms not_after_us      (ttl_ms 0: no expiry)
-- Returns {status, s, TIME in us}: 2 longer, 1 shorter (a new version), -1 no such key, 0 too late.
local key, ttl = KEYS[3], ARGV[3]
if now > tonumber(ARGV[4]) then return {0, current(), text(now)} end
local left = redis.call('PTTL', key)
if left == -2 then return {-1, current(), text(now)} end
if ttl == '0' then
    redis.call('PERSIST', key)
    return {2, current(), text(now)}
end
if left ~= -1 and tonumber(ttl) >= left then
    redis.call('PEXPIRE', key, ttl)
    return {2, current(), text(now)}
end
-- See sweep-2.
local known = redis.call('ZSCORE', W, 'k' .. key) or '0'
local doomed = tonumber(known) < tonumber(redis.call('HGET', S, 'cleared') or '0') or
    redis.call('ZSCORE', W, 'u' .. key) == known
local prev, s = advance()
local version = text(s)
redis.call('PUBLISH', ARGV[1], table.concat({'1 W ', text(prev), ' ', version, ' ', ARGV[2], ' 1 ',
    #key, ' ', key}))
redis.call('PEXPIRE', key, ttl)
redis.call('ZADD', W, version, 'k' .. key)
if doomed then redis.call('ZADD', W, version, 'u' .. key) end
return {1, version, text(now)}
