-- WRITE_T: writes that stop being valid at not_after, for keys whose changes Redis itself tracks.
-- KEYS  key...
-- ARGV  (op value ttl_ms not_after_us)...      op s: set (ttl_ms 0: no expiry); d: delete
-- Returns {0, TIME in us, status per key}: 1 applied, 0 too late (nothing was done for that key).
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local answer = {'0', string.format('%.0f', now)}
for i = 1, #KEYS do
    local a = 4 * i - 3
    if now > tonumber(ARGV[a + 3]) then
        answer[i + 2] = 0
    else
        answer[i + 2] = 1
        if ARGV[a] == 'd' then
            redis.call('DEL', KEYS[i])
        elseif ARGV[a + 2] == '0' then
            redis.call('SET', KEYS[i], ARGV[a + 1])
        else
            redis.call('SET', KEYS[i], ARGV[a + 1], 'PX', ARGV[a + 2])
        end
    end
end
return answer
