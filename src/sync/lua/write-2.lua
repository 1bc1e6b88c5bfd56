-- WRITE: versioned writes of one or more keys as one unit, with one message. It stands without
-- common-2: defining its functions alone would cost a single write a tenth of its time.
-- KEYS  S W key...
-- ARGV  channel
--       the message behind its version: ' <origin> <n>' and ' <len> <key>' for each key
--       kind of the message
--       the smallest not_after_us; those of each key, divided by blanks ('': all the smallest)
--       value...
--       op...    a TTL in ms ('0': no expiry): set; d: delete; i: the value stays, copies of it go;
--                one alone is that of all keys
-- Returns {s, TIME in us}: all was applied; else also a status per key: 1 applied, 0 too late
-- (nothing was done for that key).
local call = redis.call
local clock = call('TIME')
local now = clock[1] * 1000000 + clock[2]
local S, W, n, rest, kind = KEYS[1], KEYS[2], #KEYS - 2, ARGV[2], ARGV[3]
-- tostring() would lose digits of a time in microseconds.
local text = string.format('%.0f', now)

local late, answer
if now > tonumber(ARGV[4]) then
    local i, left, parts = 0, 0, {}
    late, answer = {}, {'0', text}
    for limit in string.gmatch(ARGV[5] == '' and string.rep(ARGV[4] .. ' ', n) or ARGV[5], '%d+') do
        i = i + 1
        late[i] = now > tonumber(limit)
        answer[i + 2] = late[i] and 0 or 1
        if not late[i] then
            left = left + 1
            parts[left] = ' ' .. #KEYS[i + 2] .. ' ' .. KEYS[i + 2]
        end
    end
    if left == 0 then
        answer[1] = call('HGET', S, 's') or '0'
        return answer
    end
    rest = string.match(rest, '^ %x+') .. ' ' .. left .. table.concat(parts)
end

-- What gives memory back Redis takes when it has none, and behind one such write all others.
local only = not ARGV[7 + n] and ARGV[6 + n]
if only == 'd' or only == 'i' then call('PERSIST', S) end

-- The next version. S is the first thing written: a Redis that is out of memory refuses it, and
-- then nothing has happened yet. A missing S is made as common-2 says.
local version, prev = text, call('HGET', S, 's')
if not prev then
    local floor = call('DBSIZE') == 0 and '0' or version
    call('HSET', S, 's', version, 'floor', floor, 'incarnation', version, 'cleared', '0')
    call('DEL', W)
    call('ZADD', W, '+inf', 'e')
else
    if tonumber(prev) >= now then version = string.format('%.0f', prev + 1) end
    call('HSET', S, 's', version)
end
call('PUBLISH', ARGV[1], '1 ' .. kind .. ' ' .. (prev or '0') .. ' ' .. version .. rest)

local keys, args, index, at = KEYS, ARGV, {}, 0
local same, set = args[6 + n], false
if n > 1 and same == '0' and not args[7 + n] and not late then
    local pairs = {}
    for i = 1, n do pairs[2 * i - 1], pairs[2 * i] = keys[i + 2], args[5 + i] end
    -- A tenth less of the server's time than a SET each. Who may not MSET still writes.
    set = not redis.pcall('MSET', unpack(pairs)).err
end
for i = 1, n do
    if not (late and late[i]) then
        local key, op = keys[i + 2], args[5 + n + i] or same
        if set then
            -- all of them are
        elseif op == '0' then
            call('SET', key, args[5 + i])
        elseif op == 'd' then
            call('DEL', key)
        elseif op ~= 'i' then
            call('SET', key, args[5 + i], 'PX', op)
        end
        index[at + 1], index[at + 2] = version, 'k' .. key
        at = at + 2
        if op == 'i' then
            -- See sweep-2.
            local known = call('ZSCORE', W, 'k' .. key) or '0'
            if tonumber(known) < tonumber(call('HGET', S, 'cleared') or '0') or
                call('ZSCORE', W, 'u' .. key) == known then
                index[at + 1], index[at + 2] = version, 'u' .. key
                at = at + 2
            end
        end
    end
end
-- One member more than keys was new: e was missing, so an evicting Redis had taken W.
if call('ZADD', W, '+inf', 'e', unpack(index)) > at / 2 then
    call('HSET', S, 'floor', prev or version)
end

-- Trim W now and then: it keeps 100,000 keys, and floor says what it no longer knows.
if string.sub(version, -2) == '00' then
    local extra = call('ZCARD', W) - 100001
    if extra > 0 then
        local gone = call('ZRANGE', W, extra - 1, extra - 1, 'WITHSCORES')
        call('ZREMRANGEBYRANK', W, 0, extra - 1)
        call('HSET', S, 'floor', gone[2])
    end
end
if not answer then return {version, text} end
answer[1] = version
return answer
