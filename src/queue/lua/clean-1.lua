-- Removes jobs of one list or set. ARGV: its key's name, 'zset' or 'list', 'score' or 'created', the
-- newest ms that is old enough, how many at most, how many to skip at its old end.
-- Returns how many were removed and how many of those looked at stay.
local set = P .. ARGV[1]
local is_list = ARGV[2] == 'list'
local until_ms, limit, first = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])

local function candidates()
    if is_list then return call('LRANGE', set, -first - limit, -first - 1) end
    if ARGV[3] == 'score' then
        return call('ZRANGEBYSCORE', set, '-inf', int(until_ms), 'LIMIT', first, limit)
    end
    return call('ZRANGE', set, first, first + limit - 1)
end

-- Orphans have no hash, and nothing of theirs is worth keeping; a key of another kind is not theirs.
local function may_go(id)
    local job = redis.pcall('HMGET', P .. id, 'timestamp', 'rjk', 'parentKey', 'deid')
    if job.err then return true, true end
    if job[3] or is_scheduled(id, job[2]) or call('EXISTS', P .. id .. ':lock') == 1 then return false end
    if ARGV[3] == 'created' and job[1] and tonumber(job[1]) > until_ms then return false end
    if job[4] then release_duplicate(id, job[4]) end
    return true
end

local removed, stay = 0, 0
for _, id in ipairs(candidates()) do
    local may, is_foreign = may_go(id)
    if may then
        if is_list then call('LREM', set, -1, id) else call('ZREM', set, id) end
        if not is_foreign then drop(id) end
        removed = removed + 1
    else
        stay = stay + 1
    end
end
if removed > 0 then
    emit('cleaned', 'count', removed)
end
return {removed, stay}
