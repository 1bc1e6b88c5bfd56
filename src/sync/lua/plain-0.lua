-- WRITE_T: writes that stop being valid at not_after, for keys whose changes Redis itself tracks.
-- KEYS  key...
-- ARGV  the smallest not_after_us; those of each key, divided by blanks ('': all the smallest)
--       value...
--       op...    a TTL in ms ('0': no expiry): set; d: delete; one alone is that of all keys
-- Returns {0, TIME in us}: all was applied; else also a status per key: 1 applied, 0 too late
-- (nothing was done for that key).
local call = redis.call
local clock, n = call('TIME'), #KEYS
local now = clock[1] * 1000000 + clock[2]
local late
local answer = {'0', string.format('%.0f', now)}
if n > 0 and now > tonumber(ARGV[1]) then
    local i = 0
    late = {}
    for limit in string.gmatch(ARGV[2] == '' and string.rep(ARGV[1] .. ' ', n) or ARGV[2], '%d+') do
        i = i + 1
        late[i] = now > tonumber(limit)
        answer[i + 2] = late[i] and 0 or 1
    end
end
local same = ARGV[3 + n]
for i = 1, n do
    if not (late and late[i]) then
        local op = ARGV[2 + n + i] or same
        if op == '0' then
            call('SET', KEYS[i], ARGV[2 + i])
        elseif op == 'd' then
            call('DEL', KEYS[i])
        else
            call('SET', KEYS[i], ARGV[2 + i], 'PX', op)
        end
    end
end
return answer
