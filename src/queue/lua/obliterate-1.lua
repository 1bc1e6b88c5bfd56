-- Removes a paused queue, at most ARGV[2] jobs a call. ARGV[1]: '1' also with active jobs.
-- Returns 0 when nothing is left, 1 to be called again, -1 not paused, -2 jobs are active.
local left = tonumber(ARGV[2])
if not paused then return -1 end
if ARGV[1] ~= '1' and call('LLEN', ACTIVE) > 0 then return -2 end

local function forget(ids)
    for _, id in ipairs(ids) do
        local duplicate = redis.pcall('HGET', P .. id, 'deid')
        if type(duplicate) == 'string' then
            call('DEL', P .. 'de:' .. duplicate, P .. 'dn:' .. duplicate)
        end
        drop(id)
        call('DEL', P .. id .. ':lock')
    end
    left = left - #ids
end

for _, name in ipairs({'active', 'wait', 'paused'}) do
    if left > 0 then
        local ids = call('LRANGE', P .. name, 0, left - 1)
        call('LTRIM', P .. name, #ids, -1)
        forget(ids)
    end
end
for _, name in ipairs({'prioritized', 'delayed', 'completed', 'failed', 'waiting-children'}) do
    if left > 0 then
        local ids = call('ZRANGE', P .. name, 0, left - 1)
        if #ids > 0 then call('ZREMRANGEBYRANK', P .. name, 0, #ids - 1) end
        forget(ids)
    end
end
if left > 0 then
    for _, id in ipairs(call('ZRANGE', P .. 'repeat', 0, -1)) do call('DEL', P .. 'repeat:' .. id) end
    call('DEL', P .. 'repeat', EVENTS, META, MARKER, P .. 'id', P .. 'pc', P .. 'limiter', P .. 'stalled',
        P .. 'stalled-check', P .. 'metrics:completed', P .. 'metrics:completed:data',
        P .. 'metrics:failed', P .. 'metrics:failed:data')
    return 0
end
return 1
