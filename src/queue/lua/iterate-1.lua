-- Puts up the job after one that a worker has taken. ARGV: id of the schedule, id of the job taken,
-- now, next ms of a pattern (0: every), end ms or 0, options with marks, priority, '1' to run next.
-- Returns 1 done, 0 nothing to do: the schedule is gone, changed, over, or has gone on.
local id, now, next_ms, end_ms = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local prev = tonumber((call('ZSCORE', REPEAT, id)))
if not prev or ARGV[2] ~= 'repeat:' .. id .. ':' .. int(prev) then return 0 end
local key = REPEAT .. ':' .. id
local schedule = call('HMGET', key, 'name', 'data', 'every', 'offset')
local every = tonumber(schedule[3])
if every then
    next_ms = prev + every
    if next_ms < now then
        local aligned = math.floor(now / every) * every + (tonumber(schedule[4]) or 0)
        next_ms = aligned <= now and aligned + every or aligned
    end
end
if next_ms <= 0 or not schedule[1] then return 0 end
if end_ms > 0 and next_ms > end_ms then return 0 end
if call('EXISTS', key .. ':' .. int(next_ms)) == 1 then
    emit('duplicated', 'jobId', 'repeat:' .. id .. ':' .. int(next_ms))
    return 0
end
call('ZADD', REPEAT, int(next_ms), id)
call('HINCRBY', key, 'ic', 1)
add_iteration(id, next_ms, now, schedule[1], schedule[2] or '{}', ARGV[6], ARGV[7], ARGV[8])
return 1
