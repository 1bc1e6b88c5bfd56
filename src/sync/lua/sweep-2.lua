-- The paced part of CLEAR: deletes the keys that nobody wrote since the version of the CLEAR.
-- KEYS  S W key...
-- ARGV  s of the CLEAR
-- Returns {deleted, kept}.
local s = tonumber(ARGV[1])
local state = redis.call('HMGET', S, 's', 'floor')
if not state[1] or index_lost(tonumber(state[1])) or tonumber(state[2]) > s then
    return {0, #KEYS - 2}
end
local deleted, kept = 0, 0
for i = 3, #KEYS do
    local version = redis.call('ZSCORE', W, 'k' .. KEYS[i])
    if version and tonumber(version) > s then
        kept = kept + 1
    else
        deleted = deleted + redis.call('DEL', KEYS[i])
    end
end
return {deleted, kept}
