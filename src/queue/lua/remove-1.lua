-- Removes a job. ARGV: id. Returns 1, -1 no such job, 0 a worker holds it, -8 it is the next job of a
-- schedule, -4 it belongs to a flow, whose other jobs would wait for it.
local id = ARGV[1]
local key = P .. id
if not is_job(id) then return -1 end
local job = call('HMGET', key, 'rjk', 'parentKey', 'deid')
if call('EXISTS', key .. ':lock') == 1 then return 0 end
if is_scheduled(id, job[1]) then return -8 end
if job[2] or call('EXISTS', key .. ':dependencies') == 1 then return -4 end

local function take_out()
    for _, set in ipairs({'completed', 'failed', 'delayed', 'prioritized', 'waiting-children'}) do
        if call('ZREM', P .. set, id) == 1 then return set end
    end
    for _, list in ipairs({'active', 'wait', 'paused'}) do
        if call('LREM', P .. list, 0, id) > 0 then return list end
    end
    return 'unknown'
end

local from = take_out()
drop(id)
if job[3] then release_duplicate(id, job[3]) end
emit('removed', 'jobId', id, 'prev', from)
return 1
