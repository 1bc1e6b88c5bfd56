-- What the scripts share; it is put in front of each of them.
-- KEYS[1]: how every key of the queue begins, "bull:mail:". They stand in one slot of a cluster
-- only when that holds a hash tag.
local P = KEYS[1]
local call = redis.call
local WAIT, ACTIVE, DELAYED, PRIORITIZED = P .. 'wait', P .. 'active', P .. 'delayed', P .. 'prioritized'
local EVENTS, META, MARKER = P .. 'events', P .. 'meta', P .. 'marker'

-- Milliseconds and scores have more digits than tostring() keeps.
local function int(number) return string.format('%.0f', number) end

-- The state that decides about waiting jobs: paused, most jobs active, length of the event stream,
-- version of the Node side, most starts in how many ms.
local meta = call('HMGET', META, 'paused', 'concurrency', 'opts.maxLenEvents', 'version', 'max', 'duration')
local paused = meta[1]

-- A queue that BullMQ 5 made keeps its waiting jobs in another list while it is paused, and its
-- resume would bury those in the usual one.
local function waiting_list()
    if paused and meta[4] and string.match(meta[4], '^bullmq:[345]%.') then return P .. 'paused' end
    return WAIT
end

-- The stream is cut with the first event of a script and not after the last one, so that who waits
-- for events gets all of these. A script may say how long it may be; '' is what the queue says.
local events_most, is_cut = '', false

local function cut_and_emit(...)
    local most = events_most ~= '' and events_most or meta[3]
    if not most then
        most = '10000'
        call('HSET', META, 'opts.maxLenEvents', most)
    end
    is_cut = true
    call('XADD', EVENTS, 'MAXLEN', '~', most, '*', 'event', ...)
end

local function emit(...)
    if not is_cut then return cut_and_emit(...) end
    call('XADD', EVENTS, '*', 'event', ...)
end

-- The bell of an idle worker, silent when no worker could take anything.
local function ring()
    if paused then return end
    if meta[2] and call('LLEN', ACTIVE) >= tonumber(meta[2]) then return end
    call('ZADD', MARKER, 0, '0')
end

-- When the first delayed job is due; nil without one.
local function first_due()
    local first = call('ZRANGE', DELAYED, 0, 0, 'WITHSCORES')
    return first[2] and math.floor(tonumber(first[2]) / 4096)
end

local function ring_delayed()
    local due = first_due()
    if due then call('ZADD', MARKER, int(due), '1') end
end

-- Into the list or set that workers take from.
local function put(id, priority, front)
    if priority > 0 then
        local turn = call('INCR', P .. 'pc') % 4294967296
        call('ZADD', PRIORITIZED, int(priority * 4294967296 + turn), id)
    else
        call(front and 'RPUSH' or 'LPUSH', waiting_list(), id)
    end
end

-- Scores keep the order of adding inside of a millisecond, 4096 jobs deep.
local function delay_until(id, due)
    local low = due * 4096
    local score = low
    local last = call('ZREVRANGEBYSCORE', DELAYED, int(low + 4095), int(low), 'WITHSCORES', 'LIMIT', 0, 1)
    if last[2] then score = math.min(tonumber(last[2]) + 1, low + 4095) end
    call('ZADD', DELAYED, int(score), id)
    emit('delayed', 'jobId', id, 'delay', int(due))
end

-- A schedule's hash has a name, too, and other keys stand under the names that a job could have.
local function is_job(id) return redis.pcall('HEXISTS', P .. id, 'timestamp') == 1 end

-- What belongs to a job, but for its lock and its place in a list.
local function drop(id)
    local key = P .. id
    call('DEL', key, key .. ':logs', key .. ':dependencies', key .. ':processed', key .. ':failed',
        key .. ':unsuccessful')
end

-- A duplicate of a job that is gone may be added again.
local function release_duplicate(id, name)
    local key = P .. 'de:' .. name
    if call('PTTL', key) == -1 and call('GET', key) == id then call('DEL', key) end
end

-- The job that a schedule will run next: it goes only with its schedule.
local function is_scheduled(id, schedule)
    if not schedule then return false end
    local due = call('ZSCORE', P .. 'repeat', schedule)
    return due and id == 'repeat:' .. schedule .. ':' .. int(tonumber(due))
end
