-- The paced part of CLEAR: deletes the keys that nobody wrote since the version of the CLEAR.
-- They are told of like any delete: since the CLEAR's own message somebody may have read them, and
-- that copy is newer than the CLEAR. In the index they are one entry for the prefix; those of the
-- keys would be too many, and would refuse what was written in an outage after the CLEAR.
-- What gave a key a version but no value (an invalidation, a touch) does not save what was there
-- before the CLEAR: then the key is a second time in the index at that version, behind u.
-- KEYS  S W key...
-- ARGV  channel origin prefix, s of the CLEAR
-- Returns {deleted, kept, s}; -1 deleted: the index no longer tells what is newer than the CLEAR.
local s = tonumber(ARGV[4])
local state = redis.call('HMGET', S, 's', 'floor')
if not state[1] or index_lost(tonumber(state[1])) or tonumber(state[2]) > s then
    return {-1, 0, '0'}
end
local gone, kept = {}, 0
for i = 3, #KEYS do
    local version = redis.call('ZSCORE', W, 'k' .. KEYS[i])
    if version and tonumber(version) > s and redis.call('ZSCORE', W, 'u' .. KEYS[i]) ~= version then
        kept = kept + 1
    elseif redis.call('EXISTS', KEYS[i]) == 1 then
        gone[#gone + 1] = KEYS[i]
    end
end
if #gone == 0 then return {0, kept, '0'} end
redis.call('PERSIST', S) -- also without memory
local prev, version = advance()
local names = {}
for i = 1, #gone do names[i] = ' ' .. #gone[i] .. ' ' .. gone[i] end
redis.call('PUBLISH', ARGV[1], table.concat({'1 D ', text(prev), ' ', text(version), ' ', ARGV[2], ' ',
    #gone, table.concat(names)}))
redis.call('DEL', unpack(gone))
redis.call('ZADD', W, text(version), '\1' .. ARGV[3])
return {#gone, kept, text(version)}
