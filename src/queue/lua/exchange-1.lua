-- One round trip of a worker: ends jobs and takes new ones.
-- ARGV: now, token for what is taken, lock ms, how many to take, name of the worker or '',
-- limit of starts or '', its duration, length of the event stream or '', when an exchange with this
-- token had no answer: '1' to hand out again what it took, '2' to let go of it; then 10 per ended job: id, its token, how it ended (completed, failed, retry, delay, later), text, stack trace or '',
-- keep (all, none, some), keep count or '', keep age in s or '', removed at a time, a number
-- (attempts allowed when failed, ms of delay, '1' to run next when retry).
-- Returns: a code per ended job (1 done, -1 gone, -2 no lock, -3 was not active, -4 children left,
-- -6 other lock, -7 no lock and ended before, -9 children failed), the jobs taken as {id, {field, value, ...}}, when the next delayed job is due
-- (0: none), ms until the limit allows more (0: now), 1 when paused, how many jobs wait that a limit
-- of the queue or the worker keeps from being taken (0 when any was).
local now = tonumber(ARGV[1])
local FIRST = 10
-- Jobs are taken until they have that many bytes, so that the answer arrives within the time that a
-- call has, or else is not asked for again and again. One job may have more.
local MOST_BYTES = 8388608
local ended = #ARGV >= FIRST
events_most = ARGV[8]
local ringing = false
local kept = {}

-- What the jobs of a call have in common is asked for, and done, once for all of them: each command
-- costs the server as much as the hash of a job does. Lists of arguments, applied by settle().
local freed, unstalled, sets = {}, {}, {}

-- The locks of the jobs that have ended, and whether any of those may have to wait for children.
local function look_at_ended()
    local locks, children = {}, {}
    for at = FIRST, #ARGV, 10 do
        local key = P .. ARGV[at]
        locks[#locks + 1] = key .. ':lock'
        children[#children + 1] = key .. ':dependencies'
        children[#children + 1] = key .. ':unsuccessful'
    end
    if not ended then return locks, false end
    local parents = false
    for at = 1, #children, 5000 do
        parents = parents or call('EXISTS', unpack(children, at, math.min(at + 4999, #children))) > 0
    end
    return call('MGET', unpack(locks)), parents
end

-- unpack() is good for fewer than 8000 values, and up to 4096 jobs end in a call.
local function sliced(command, key, values)
    for at = 1, #values, 5000 do
        call(command, key, unpack(values, at, math.min(at + 4999, #values)))
    end
end

-- The locks go last: what fails before leaves them to show it.
local function settle()
    for set, members in pairs(sets) do sliced('ZADD', P .. set, members) end
    if #unstalled > 0 then
        call('SREM', P .. 'stalled', unpack(unstalled))
        call('DEL', unpack(freed))
    end
end

-- Remembers the rule, and for how many jobs; it is applied once, after all have ended.
local function keep(set, at)
    local mode, count, age, limit = ARGV[at + 5], ARGV[at + 6], ARGV[at + 7], ARGV[at + 8]
    if mode == 'some' then
        local name = set .. ' ' .. count .. ' ' .. age .. ' ' .. limit
        local rule = kept[name] or {P .. set, tonumber(count), tonumber(age), tonumber(limit), 0}
        rule[5] = rule[5] + 1
        kept[name] = rule
    end
    return mode ~= 'none'
end

-- Removes up to `most`, as `next_ones(limit)` finds them.
local function remove_ended(set, most, next_ones)
    while most > 0 do
        local ids = next_ones(math.min(most, 1000))
        if #ids == 0 then return end
        for _, id in ipairs(ids) do drop(id) end
        call('ZREM', set, unpack(ids))
        most = most - #ids
    end
end

local function retain(rule)
    local set, count, age, limit, jobs = unpack(rule, 1, 5)
    if age then
        remove_ended(set, limit * jobs, function(most)
            return call('ZRANGEBYSCORE', set, '-inf', int(now - age * 1000), 'LIMIT', 0, most)
        end)
    end
    if count then
        remove_ended(set, math.min(call('ZCARD', set) - count, 1000 * jobs), function(most)
            return call('ZRANGE', set, 0, most - 1)
        end)
    end
end

local function finish(id, key, set, at, attempts_made, duplicate)
    local text, stack = ARGV[at + 3], ARGV[at + 4]
    local field = set == 'completed' and 'returnvalue' or 'failedReason'
    if keep(set, at) then
        call('HSET', key, field, text, 'finishedOn', ARGV[1], 'atm', attempts_made)
        if stack ~= '' then call('HSET', key, 'stacktrace', stack) end
        if set == 'failed' then call('HDEL', key, 'defa') end
        local members = sets[set] or {}
        members[#members + 1], members[#members + 2] = ARGV[1], id
        sets[set] = members
    else
        drop(id)
    end
    if duplicate then release_duplicate(id, duplicate) end
    emit(set, 'jobId', id, field, text, 'prev', 'active')
    if set == 'failed' and attempts_made >= tonumber(ARGV[at + 9]) then
        emit('retries-exhausted', 'jobId', id, 'attemptsMade', attempts_made)
    end
end

local function again(id, key, at, how, attempts_made, priority)
    local stack, number = ARGV[at + 4], ARGV[at + 9]
    if how ~= 'later' then
        call('HSET', key, 'failedReason', ARGV[at + 3], 'stacktrace', stack, 'atm', attempts_made)
    end
    if how == 'retry' then
        put(id, priority, number == '1')
        emit('waiting', 'jobId', id, 'prev', 'active')
        ringing = true
    else
        call('HSET', key, 'delay', number)
        delay_until(id, now + tonumber(number))
        ring_delayed()
    end
end

-- Without its lock: has this report, or another worker's, been carried out?
local function without_lock(id, how, finished)
    if call('LPOS', ACTIVE, id) then return -2 end
    if (how == 'completed' or how == 'failed') and not finished then return -2 end
    return -7
end

local function leave(at, lock, children)
    local id, how = ARGV[at], ARGV[at + 2]
    local key = P .. id
    local job = redis.pcall('HMGET', key, 'name', 'atm', 'priority', 'deid', 'finishedOn')
    if not job[1] then return -1 end
    if how == 'completed' and children then
        if call('EXISTS', key .. ':dependencies') == 1 then return -4 end
        if call('EXISTS', key .. ':unsuccessful') == 1 then return -9 end
    end
    if not lock then return without_lock(id, how, job[5]) end
    if lock ~= ARGV[at + 1] then return -6 end
    freed[#freed + 1] = key .. ':lock'
    unstalled[#unstalled + 1] = id
    if call('LREM', ACTIVE, -1, id) == 0 then return -3 end
    local attempts_made = (tonumber(job[2]) or 0) + 1
    if how == 'completed' or how == 'failed' then
        finish(id, key, how, at, attempts_made, job[4])
    else
        again(id, key, at, how, attempts_made, tonumber(job[3]) or 0)
    end
    return 1
end

-- Delayed jobs whose time has come, at most 1000 a call.
local function promote()
    local due = call('ZRANGEBYSCORE', DELAYED, 0, int((now + 1) * 4096 - 1), 'LIMIT', 0, 1000)
    if #due == 0 then return end
    call('ZREM', DELAYED, unpack(due))
    for _, id in ipairs(due) do
        local is_job = call('TYPE', P .. id).ok == 'hash'
        local priority = is_job and tonumber(call('HGET', P .. id, 'priority')) or 0
        put(id, priority, false)
        if is_job then call('HSET', P .. id, 'delay', 0) end
        emit('waiting', 'jobId', id, 'prev', 'delayed')
    end
    ringing = true
end

-- How many may start now, and how long to wait when the limit says none.
local function allowance(want, most)
    if paused then return 0, 0 end
    if meta[2] then want = math.min(want, tonumber(meta[2]) - call('LLEN', ACTIVE)) end
    if most then
        local started = tonumber(call('GET', P .. 'limiter')) or 0
        if started >= most then
            local left = call('PTTL', P .. 'limiter')
            if left > 0 then return 0, left end
            call('DEL', P .. 'limiter')
            started = 0
        end
        want = math.min(want, most - started)
    end
    return want, 0
end

-- At most so many ids, which are active now. A full Redis refuses to move the first one, while it
-- would let go of as many as are asked for. Then their places among those with priorities, and
-- whether those were all.
local function next_ids(most)
    local first = call('RPOPLPUSH', WAIT, ACTIVE)
    local ids = first and most > 1 and call('RPOP', WAIT, most - 1) or {}
    local left = most - #ids - (first and 1 or 0)
    local scores, all = {}, false
    if left > 0 then
        local pairs = call('ZPOPMIN', PRIORITIZED, left)
        for at = 1, #pairs, 2 do
            ids[#ids + 1] = pairs[at]
            scores[pairs[at]] = pairs[at + 1]
        end
        all = #pairs < 2 * left
    end
    if #ids > 0 then call('LPUSH', ACTIVE, unpack(ids)) end
    if first then table.insert(ids, 1, first) end
    return ids, scores, all
end

-- Those from `from` on are the next to be taken again.
local function put_back(ids, from, scores)
    for at = #ids, from, -1 do
        local id = ids[at]
        call('LREM', ACTIVE, 1, id)
        if scores[id] then call('ZADD', PRIORITIZED, scores[id], id) else call('RPUSH', WAIT, id) end
    end
end

local bytes = 0 -- of the jobs taken

-- The job begins; false when the id is a leftover of an old version, its job was deleted, or what
-- stands there is none.
local function begin(id)
    local key = P .. id
    local fields = string.sub(id, 1, 2) ~= '0:' and redis.pcall('HGETALL', key) or {}
    if #fields == 0 then
        call('LREM', ACTIVE, 1, id)
        return false
    end
    call('SET', key .. ':lock', ARGV[2], 'PX', ARGV[3])
    emit('active', 'jobId', id, 'prev', 'waiting')
    local started = 0
    for at = 1, #fields, 2 do
        bytes = bytes + #fields[at + 1]
        if fields[at] == 'ats' then started = tonumber(fields[at + 1]) or 0 end
    end
    if ARGV[5] ~= '' then
        call('HSET', key, 'processedOn', ARGV[1], 'ats', started + 1, 'pb', ARGV[5])
    else
        call('HSET', key, 'processedOn', ARGV[1], 'ats', started + 1)
    end
    return {id, fields}
end

local function hand_out_again(id, jobs)
    local fields = call('HGETALL', P .. id)
    for field = 1, #fields, 2 do -- as it was before that start was counted
        if fields[field] == 'ats' then fields[field + 1] = int(fields[field + 1] - 1) end
    end
    if #fields == 0 then return end
    call('PEXPIRE', P .. id .. ':lock', ARGV[3])
    jobs[#jobs + 1] = {id, fields}
end

-- Nobody has seen the job: it waits again, in front of others unless it has a priority.
local function let_go(id)
    local key = P .. id
    call('DEL', key .. ':lock')
    call('LREM', ACTIVE, 1, id)
    if call('EXISTS', key) == 0 then return end
    call('HINCRBY', key, 'ats', -1)
    put(id, tonumber(call('HGET', key, 'priority')) or 0, true)
    emit('waiting', 'jobId', id, 'prev', 'active')
    ringing = true
end

-- What an exchange took whose answer never came: it is active under this token.
local function take_again(jobs)
    local active = call('LRANGE', ACTIVE, 0, -1)
    for at = 1, #active, 1000 do
        local keys = {}
        for i = at, math.min(at + 999, #active) do keys[#keys + 1] = P .. active[i] .. ':lock' end
        for i, lock in ipairs(call('MGET', unpack(keys))) do
            if lock == ARGV[2] then
                local id = active[at + i - 1]
                if ARGV[9] == '1' then hand_out_again(id, jobs) else let_go(id) end
            end
        end
    end
end

local codes, jobs = {}, {}
local locks, children = look_at_ended()
for at = FIRST, #ARGV, 10 do codes[#codes + 1] = leave(at, locks[#codes + 1], children) end
settle()
for _, rule in pairs(kept) do retain(rule) end
if ARGV[9] ~= '' then take_again(jobs) end

local wanted = tonumber(ARGV[4])
local wait_ms = 0
if wanted > 0 then
    promote()
    -- The queue's own number goes before the worker's, as in BullMQ; its duration does not.
    local most, duration = tonumber(meta[5] or ARGV[6]), tonumber(ARGV[7]) or tonumber(meta[6])
    if not duration then most = nil end
    local allowed
    allowed, wait_ms = allowance(wanted, most)
    while #jobs < allowed and bytes < MOST_BYTES do
        local ids, scores, all = next_ids(math.min(allowed - #jobs, 1000))
        local at = 1
        while at <= #ids and bytes < MOST_BYTES do
            local job = begin(ids[at])
            if job then jobs[#jobs + 1] = job end
            at = at + 1
        end
        put_back(ids, at, scores)
        if all and at > #ids then call('DEL', P .. 'pc') end
        if #ids == 0 then break end
    end
    if most and #jobs > 0 and call('INCRBY', P .. 'limiter', #jobs) == #jobs then
        call('PEXPIRE', P .. 'limiter', int(duration))
    end
    if #jobs > 0 then call('ZADD', MARKER, 0, '0') end
end
if ringing then ring() end
local due, waiting = 0, 0
if #jobs < wanted then
    due = first_due() or 0
    if #jobs == 0 then waiting = call('LLEN', WAIT) + call('ZCARD', PRIORITIZED) end
    if ended and #jobs == 0 and waiting == 0 and call('LLEN', ACTIVE) == 0 then emit('drained') end
end
if paused then waiting = 0 end
return {codes, jobs, due, wait_ms, paused and 1 or 0, waiting}
