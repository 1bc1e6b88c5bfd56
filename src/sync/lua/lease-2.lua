-- LEASE: who makes a value that is missing. It ends by itself, so a process that dies while it
-- makes one stops nobody for long.
-- KEYS  lease, the key to be made
-- ARGV  take token lease_ms    |    give token
-- Returns {status}: take: 1 taken, 0 somebody else has it, 2 there is a value; give: 1 given back,
-- 0 it was not ours any more.
if ARGV[1] == 'take' then
    if redis.call('EXISTS', KEYS[2]) == 1 then return {2} end
    return {redis.call('SET', KEYS[1], ARGV[2], 'NX', 'PX', ARGV[3]) and 1 or 0}
end
if redis.call('GET', KEYS[1]) ~= ARGV[2] then return {0} end
return {redis.call('DEL', KEYS[1])}
