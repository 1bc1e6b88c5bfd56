-- What the scripts of schedules share; it follows the common part.
local REPEAT = P .. 'repeat'

-- Adds one iteration as a job. `options`: JSON whose marks \1due\1 and \1delay\1 are filled in
-- here, because only here it is known when the job will run; no JSON holds such a byte.
local function add_iteration(schedule, due, now, name, data, options, priority, front)
    local id = 'repeat:' .. schedule .. ':' .. int(due)
    local delay = math.max(0, due - now)
    options = string.gsub(options, '\1(%a+)\1', {due = int(due), delay = int(delay)})
    call('INCR', P .. 'id')
    call('HSET', P .. id, 'name', name, 'data', data, 'opts', options, 'timestamp', int(now),
        'delay', int(delay), 'priority', priority, 'rjk', schedule)
    emit('added', 'jobId', id, 'name', name)
    if delay > 0 then
        delay_until(id, due)
        ring_delayed()
    else
        put(id, tonumber(priority), front == '1')
        emit('waiting', 'jobId', id)
        ring()
    end
end

-- An iteration still waits: no worker has it or had it.
local function is_waiting(id)
    return call('ZSCORE', DELAYED, id) or call('ZSCORE', PRIORITIZED, id) or call('LPOS', WAIT, id)
        or call('LPOS', P .. 'paused', id)
end

local function remove_waiting(id)
    local _ = call('ZREM', DELAYED, id) == 1 or call('ZREM', PRIORITIZED, id) == 1
        or call('LREM', WAIT, 1, id) == 1 or call('LREM', P .. 'paused', 1, id)
    drop(id)
end
