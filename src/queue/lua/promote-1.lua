-- A delayed job runs now. ARGV: id. Returns 1, -1 no such job, -3 it is not delayed.
local id = ARGV[1]
if not is_job(id) then return -1 end
if call('ZREM', DELAYED, id) == 0 then return -3 end
put(id, tonumber(call('HGET', P .. id, 'priority')) or 0, false)
call('HSET', P .. id, 'delay', 0)
emit('waiting', 'jobId', id, 'prev', 'delayed')
ring()
return 1
