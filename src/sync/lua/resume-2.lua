-- RESUME: what changed since a version.
-- KEYS  S W
-- ARGV  last
-- Returns {s, floor, incarnation, {member, version, ...}}, at most 4097 members.
local state = redis.call('HMGET', S, 's', 'floor', 'incarnation')
if not state[1] then
    local s = text(now)
    return {s, create(s), s, {}}
end
if index_lost(tonumber(state[1])) then state[2] = state[1] end
return {state[1], state[2], state[3],
    redis.call('ZRANGEBYSCORE', W, '(' .. ARGV[1], '(+inf', 'WITHSCORES', 'LIMIT', 0, 4097)}
