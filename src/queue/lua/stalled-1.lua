-- Puts back what dead workers held: a job that was active at the last check and has no lock now.
-- ARGV: now, ms between checks of all workers together, how many stalls a job survives.
-- Returns the ids.
local found = {}
if not call('SET', P .. 'stalled-check', ARGV[1], 'PX', ARGV[2], 'NX') then return found end

-- A job of a living schedule is given back for ever: failing it would end nothing useful.
local function too_often(key, stalls)
    if stalls <= tonumber(ARGV[3]) then return false end
    local schedule = call('HGET', key, 'rjk')
    return not (schedule and call('ZSCORE', P .. 'repeat', schedule))
end

for _, id in ipairs(call('SMEMBERS', P .. 'stalled')) do
    local key = P .. id
    if call('EXISTS', key .. ':lock') == 0 and call('LREM', ACTIVE, 1, id) > 0
        and call('TYPE', key).ok == 'hash' then
        if too_often(key, call('HINCRBY', key, 'stc', 1)) then
            call('HSET', key, 'defa', 'job stalled more than allowable limit')
        end
        call('RPUSH', waiting_list(), id)
        emit('waiting', 'jobId', id, 'prev', 'active')
        emit('stalled', 'jobId', id)
        found[#found + 1] = id
    end
end
call('DEL', P .. 'stalled')
local active = call('LRANGE', ACTIVE, 0, -1)
for at = 1, #active, 1000 do
    call('SADD', P .. 'stalled', unpack(active, at, math.min(at + 999, #active)))
end
if #found > 0 then
    ring()
end
return found
