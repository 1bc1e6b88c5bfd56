-- Creates or changes a schedule and puts up its next job.
-- ARGV: id, now, next ms of a pattern (0: every), ms of every, begin ms or 0, end ms or 0, name,
-- data ('' for {}), options of its jobs, options of the first iteration with marks, priority, '1' to
-- run next, then the remaining fields of its hash in pairs.
-- Returns its next ms; -10 that moment's job has begun or ended; -11 so have 32 slots on; -12 that
-- would be after its end.
local id, now, next_ms, every = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local begin_ms, end_ms = tonumber(ARGV[5]), tonumber(ARGV[6])
local key = REPEAT .. ':' .. id
local prev = tonumber((call('ZSCORE', REPEAT, id)))
local old = call('HMGET', key, 'every', 'offset')

-- An unchanged interval keeps its slots, a new one begins now.
local function slot()
    if not prev or tonumber(old[1]) ~= every then return math.max(now, begin_ms) end
    if prev + every >= now then return prev + every end
    local aligned = math.floor(now / every) * every + (tonumber(old[2]) or 0)
    return aligned <= now and aligned + every or aligned
end

local job = prev and 'repeat:' .. id .. ':' .. int(prev)
local replaced = job and is_waiting(job)

local function is_taken(ms)
    return call('EXISTS', key .. ':' .. int(ms)) == 1 and not (replaced and ms == prev)
end

if every > 0 then
    next_ms = slot()
    if replaced and tonumber(old[1]) == every then next_ms = prev end
    -- A begin that is later now: the first of the kept slots that is not before it.
    if next_ms < begin_ms then
        next_ms = next_ms + math.ceil((begin_ms - next_ms) / every) * every
    end
    local tries = 0
    while is_taken(next_ms) do
        tries = tries + 1
        if tries > 32 then return -11 end
        next_ms = next_ms + every
    end
elseif is_taken(next_ms) then
    return -10
end
if end_ms > 0 and next_ms > end_ms then return -12 end
if replaced then remove_waiting(job) end
call('DEL', key)
call('HSET', key, 'name', ARGV[7], 'ic', 1, unpack(ARGV, 13))
if every > 0 then call('HSET', key, 'offset', int(next_ms % every)) end
if ARGV[8] ~= '' then call('HSET', key, 'data', ARGV[8]) end
if ARGV[9] ~= '{}' then call('HSET', key, 'opts', ARGV[9]) end
call('ZADD', REPEAT, int(next_ms), id)
local data = ARGV[8] ~= '' and ARGV[8] or '{}'
add_iteration(id, next_ms, now, ARGV[7], data, ARGV[10], ARGV[11], ARGV[12])
return int(next_ms)
