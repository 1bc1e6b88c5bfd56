-- WRITE: versioned writes of one or more keys as one unit, with one message.
-- KEYS  S W key...
-- ARGV  channel origin (op value ttl_ms not_after_us)...
--       op s: set (ttl_ms 0: no expiry); d: delete; i: the value stays, copies of it go
-- Returns {s, TIME in us, status per key}: 1 applied, 0 too late (nothing was done for that key).
local answer, taken, kind = {'', text(now)}, {}, 'D'
for i = 3, #KEYS do
    local a = 4 * i - 9
    if now > tonumber(ARGV[a + 3]) then
        answer[i] = 0
    else
        answer[i] = 1
        taken[#taken + 1] = i
        if ARGV[a] ~= 'd' then kind = 'W' end
    end
end
if #taken == 0 then
    answer[1] = current()
    return answer
end

local prev, s = advance()
local version = text(s)
local parts = {'1 ', kind, ' ', text(prev), ' ', version, ' ', ARGV[2], ' ', #taken}
for _, i in ipairs(taken) do
    parts[#parts + 1] = ' ' .. #KEYS[i] .. ' '
    parts[#parts + 1] = KEYS[i]
end
redis.call('PUBLISH', ARGV[1], table.concat(parts))

for _, i in ipairs(taken) do
    local key, a = KEYS[i], 4 * i - 9
    local op = ARGV[a]
    if op == 's' then
        if ARGV[a + 2] == '0' then
            redis.call('SET', key, ARGV[a + 1])
        else
            redis.call('SET', key, ARGV[a + 1], 'PX', ARGV[a + 2])
        end
    elseif op == 'd' then
        redis.call('DEL', key)
    end
    redis.call('ZADD', W, version, 'k' .. key)
end

-- Trim W now and then: it keeps 100,000 keys, and floor says what it no longer knows.
if s % 64 == 0 then
    local extra = redis.call('ZCARD', W) - 100001
    if extra > 0 then
        local gone = redis.call('ZRANGE', W, extra - 1, extra - 1, 'WITHSCORES')
        redis.call('ZREMRANGEBYRANK', W, 0, extra - 1)
        redis.call('HSET', S, 'floor', gone[2])
    end
end
answer[1] = version
return answer
