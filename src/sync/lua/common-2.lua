-- What the versioned scripts share; it is put in front of each of them.
-- S: hash {s, floor, incarnation, cleared} of the partition. W: the change index, key -> version.
local S, W = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
-- tostring() would lose digits of a time in microseconds.
local function text(n) return string.format('%.0f', n) end

-- A missing S: this index begins now, and what was before it is not known, except on a server
-- that holds nothing at all, where nothing newer than anything can stand.
local function create(version)
    local floor = redis.call('DBSIZE') == 0 and '0' or version
    redis.call('HSET', S, 's', version, 'floor', floor, 'incarnation', version, 'cleared', '0')
    redis.call('DEL', W)
    redis.call('ZADD', W, '+inf', 'e')
    return floor
end

-- The member e goes only when all of W goes (an evicting Redis): then floor is s.
local function index_lost(s)
    if redis.call('ZSCORE', W, 'e') then return false end
    redis.call('HSET', S, 'floor', text(s))
    redis.call('ZADD', W, '+inf', 'e')
    return true
end

-- The next version. S is the first thing written: a Redis that is out of memory refuses it, and
-- then nothing has happened yet.
local function advance()
    local prev = tonumber(redis.call('HGET', S, 's'))
    local s = now
    if not prev then
        create(text(s))
        return 0, s
    end
    if prev >= s then s = prev + 1 end
    redis.call('HSET', S, 's', text(s))
    index_lost(prev)
    return prev, s
end

local function current() return redis.call('HGET', S, 's') or '0' end
