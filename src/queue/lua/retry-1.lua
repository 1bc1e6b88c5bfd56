-- An ended job runs again. ARGV: id, '1' to forget its attempts. Returns 1, -1 no such job, -3 it
-- has not ended.
local id = ARGV[1]
local key = P .. id
if not is_job(id) then return -1 end
local from = 'failed'
if call('ZREM', P .. from, id) == 0 then
    from = 'completed'
    if call('ZREM', P .. from, id) == 0 then return -3 end
end
call('HDEL', key, 'finishedOn', 'processedOn', from == 'failed' and 'failedReason' or 'returnvalue')
if ARGV[2] == '1' then call('HDEL', key, 'atm', 'ats') end
put(id, tonumber(call('HGET', key, 'priority')) or 0, false)
emit('waiting', 'jobId', id, 'prev', from)
ring()
return 1
