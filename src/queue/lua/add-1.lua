-- Adds jobs in order. ARGV: length of the event stream or '', then 8 per job: id or '' to count,
-- name, data, options, timestamp, delay, priority, '1' to run next.
-- Returns two per job: its id, and 1 when it is new or 0 when the id was taken.
events_most = ARGV[1]
local result = {}
local waiting, delayed = false, false
for at = 2, #ARGV, 8 do
    local id, name, data, options, timestamp, delay, priority, front = unpack(ARGV, at, at + 7)
    local counter = call('INCR', P .. 'id')
    local new = 1
    if id == '' then
        id = int(counter)
    elseif call('EXISTS', P .. id) == 1 then
        new = 0
        emit('duplicated', 'jobId', id)
    end
    if new == 1 then
        call('HSET', P .. id, 'name', name, 'data', data, 'opts', options, 'timestamp', timestamp,
            'delay', delay, 'priority', priority)
        emit('added', 'jobId', id, 'name', name)
        if delay ~= '0' then
            delay_until(id, tonumber(timestamp) + tonumber(delay))
            delayed = true
        else
            put(id, tonumber(priority), front == '1')
            emit('waiting', 'jobId', id)
            waiting = true
        end
    end
    result[#result + 1] = id
    result[#result + 1] = new
end
if waiting then ring() end
if delayed then ring_delayed() end
return result
