-- REPLAY where keys stand alone, each in a slot of its own: no version is at hand.
-- KEYS  key
-- ARGV  op value deadline_us mode not_after_us digest...
--       op s: set until deadline_us (Redis time, 0: no expiry); d: delete
--       mode t: the value must be one of those digests (sha1 hex, '-' for no value), because
--       others write too. mode n: nobody is asked
-- Returns {status, '0', TIME in us}: 1 applied, 0 refused, 2 already so, 3 its time was over,
-- 4 too late (nothing was done).
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
-- tostring() would lose digits of a time in microseconds.
local time = string.format('%.0f', now)
local key, op, value, deadline = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
if now > tonumber(ARGV[5]) then return {4, '0', time} end
if deadline ~= 0 and deadline - now < 1000 then return {3, '0', time} end
if ARGV[4] == 't' then
    local current = redis.call('GET', key)
    local digest = current and redis.sha1hex(current) or '-'
    if (op == 's' and current == value) or (op == 'd' and not current) then
        return {2, '0', time}
    end
    local expected = false
    for i = 6, #ARGV do expected = expected or ARGV[i] == digest end
    if not expected then return {0, '0', time} end
end
if op == 'd' then
    redis.call('DEL', key)
elseif deadline == 0 then
    redis.call('SET', key, value)
else
    redis.call('SET', key, value, 'PX', string.format('%.0f', math.floor((deadline - now) / 1000)))
end
return {1, '0', time}
