-- HEARTBEAT: proves that this server takes writes and that the subscription hears it.
-- KEYS  S W
-- ARGV  channel token
-- Returns {s, TIME in us}. PERSIST changes nothing, but a replica or a server without its replicas
-- refuses it as it refuses any write; being out of memory does not. One that cannot save refuses it
-- as well, and is the primary nevertheless; but where replicas are required it may lack them, too, and
-- then says the former alone.
local answer = redis.pcall('PERSIST', S)
if type(answer) == 'table' and (not string.find(answer.err, 'MISCONF', 1, true) or
    string.find(redis.call('INFO', 'replication'), 'min_slaves_good_slaves', 1, true)) then
    return answer
end
local s = redis.call('HGET', S, 's')
if not s then
    s = text(now)
    create(s)
end
redis.call('PUBLISH', ARGV[1], ARGV[2] .. ' ' .. s)
return {s, text(now)}
