-- REPLAY: a write that was decided earlier, applied only if nothing newer stands.
-- KEYS  S W key
-- ARGV  channel origin op value deadline_us stamp mode not_after_us doubt_us digest...
--       op s: set until deadline_us (Redis time, 0: no expiry); d: delete
--       mode p: versions decide. The digests (sha1 hex, '-' for no value) are of older writes of
--       the same process, of which nobody knows whether they were applied; if, then up to doubt_us
--       mode t: the value must be one of those digests, because writers that leave no version exist
-- Returns {status, s, TIME in us}: 1 applied, 0 refused (s: the newer version), 2 already so,
-- 3 its time was over, 4 too late (nothing was done).
local key, op, value, mode = KEYS[3], ARGV[3], ARGV[4], ARGV[7]
local deadline, stamp = tonumber(ARGV[5]), tonumber(ARGV[6])
if now > tonumber(ARGV[8]) then return {4, '0', text(now)} end
if deadline ~= 0 and deadline - now < 1000 then return {3, '0', text(now)} end

local state = redis.call('HMGET', S, 's', 'floor', 'cleared')
if not state[1] then
    local s = text(now)
    state = {s, create(s), '0'}
elseif index_lost(tonumber(state[1])) then
    state[2] = state[1]
end
-- A newer version that left just this value (it may be this very write, in doubt until now) is
-- nothing to report.
local function newer(version)
    local current = redis.pcall('GET', key)
    local same = (op == 's' and current == value) or (op == 'd' and current == false)
    return {same and 2 or 0, version, text(now)}
end
local function is_expected(current)
    local digest = current and redis.sha1hex(current) or '-'
    for i = 10, #ARGV do
        if ARGV[i] == digest then return true end
    end
    return false
end
-- What an older write of the same process left while it was in doubt is not newer.
local function is_older(version)
    if mode ~= 'p' or #ARGV < 10 or tonumber(version) > tonumber(ARGV[9]) then return false end
    local current = redis.pcall('GET', key)
    return type(current) ~= 'table' and is_expected(current)
end
local known = redis.call('ZSCORE', W, 'k' .. key)
if known and tonumber(known) > stamp and not is_older(known) then return newer(known) end
if tonumber(state[3]) > stamp then
    for n = 0, #key do
        local cleared = redis.call('ZSCORE', W, '\0' .. string.sub(key, 1, n))
        if cleared and tonumber(cleared) > stamp then return newer(cleared) end
    end
end
if mode == 't' then
    local current = redis.call('GET', key)
    if (op == 's' and current == value) or (op == 'd' and not current) then
        return {2, state[1], text(now)}
    end
    if not is_expected(current) then return {0, state[1], text(now)} end
elseif not known and stamp < tonumber(state[2]) then
    return newer(state[2])
end

local version = state[1]
if mode == 'p' then
    if op == 'd' then redis.call('PERSIST', S) end -- also without memory
    local prev, s = advance()
    version = text(s)
    redis.call('PUBLISH', ARGV[1], table.concat({'1 ', op == 'd' and 'D' or 'W', ' ', text(prev), ' ',
        version, ' ', ARGV[2], ' 1 ', #key, ' ', key}))
end
if op == 'd' then
    redis.call('DEL', key)
elseif deadline == 0 then
    redis.call('SET', key, value)
else
    redis.call('SET', key, value, 'PX', text(math.floor((deadline - now) / 1000)))
end
if mode == 'p' then redis.call('ZADD', W, version, 'k' .. key) end
return {1, version, text(now)}
