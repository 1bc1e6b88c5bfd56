-- TOUCH where keys stand alone, each in a slot of its own: Redis itself tells who has a copy.
-- KEYS  key
-- ARGV  ttl_ms not_after_us      (ttl_ms 0: no expiry)
-- Returns {status, '0', TIME in us}: 2 done, -1 no such key, 0 too late.
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
-- tostring() would lose digits of a time in microseconds.
local time = string.format('%.0f', now)
if now > tonumber(ARGV[2]) then return {0, '0', time} end
if redis.call('EXISTS', KEYS[1]) == 0 then return {-1, '0', time} end
if ARGV[1] == '0' then
    redis.call('PERSIST', KEYS[1])
else
    redis.call('PEXPIRE', KEYS[1], ARGV[1])
end
return {2, '0', time}
