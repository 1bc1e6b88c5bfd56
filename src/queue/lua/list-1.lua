-- Jobs of a list or set in the order in which they are shown. ARGV: its key's name, 'list' (oldest
-- at the right), 'up' or 'down' (by score), how many to skip, how many to return.
-- Returns {id, field, value, ...} per job; jobs without a hash are left out.
local set, first, count = P .. ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local ids
if ARGV[2] == 'list' then
    ids = call('LRANGE', set, -first - count, -first - 1)
    for i = 1, math.floor(#ids / 2) do ids[i], ids[#ids + 1 - i] = ids[#ids + 1 - i], ids[i] end
elseif ARGV[2] == 'up' then
    ids = call('ZRANGE', set, first, first + count - 1)
else
    ids = call('ZREVRANGE', set, first, first + count - 1)
end
local rows = {}
for _, id in ipairs(ids) do
    local row = redis.pcall('HGETALL', P .. id)
    if #row > 0 then
        table.insert(row, 1, id)
        rows[#rows + 1] = row
    end
end
return {#ids, rows}
