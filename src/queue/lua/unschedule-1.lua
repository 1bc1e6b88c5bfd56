-- Ends a schedule. ARGV: id. Returns 1, 0 there is none.
local id = ARGV[1]
local due = call('ZSCORE', REPEAT, id)
if not due then return 0 end
local job = 'repeat:' .. id .. ':' .. int(tonumber(due))
if is_waiting(job) then
    remove_waiting(job)
    emit('removed', 'jobId', job, 'prev', 'delayed')
end
call('ZREM', REPEAT, id)
call('DEL', REPEAT .. ':' .. id)
return 1
