-- CLEAR: takes the version up to which every key with the prefix is to go; sweep-2 deletes them.
-- KEYS  S W
-- ARGV  channel origin prefix not_after_us
-- Returns {status, s, TIME in us}: 1 taken, 0 too late.
if now > tonumber(ARGV[4]) then return {0, current(), text(now)} end
redis.call('PERSIST', S) -- also without memory
local prev, s = advance()
local version = text(s)
redis.call('PUBLISH', ARGV[1], table.concat({'1 C ', text(prev), ' ', version, ' ', ARGV[2], ' 1 ',
    #ARGV[3], ' ', ARGV[3]}))
redis.call('HSET', S, 'cleared', version)
redis.call('ZADD', W, version, '\0' .. ARGV[3])
return {1, version, text(now)}
