-- HEARTBEAT: proves that this server takes writes and that the subscription hears it.
-- KEYS  S W
-- ARGV  channel token
-- Returns {s, TIME in us}. PERSIST changes nothing, but a replica, a server without its replicas
-- or one that cannot save refuses it as it refuses any write; being out of memory does not.
redis.call('PERSIST', S)
local s = redis.call('HGET', S, 's')
if not s then
    s = text(now)
    create(s)
end
redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' ' .. s)
return {s, text(now)}
