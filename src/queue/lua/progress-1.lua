-- ARGV: id, progress. Returns 1, -1 no such job.
local key = P .. ARGV[1]
if call('EXISTS', key) == 0 then return -1 end
call('HSET', key, 'progress', ARGV[2])
emit('progress', 'jobId', ARGV[1], 'data', ARGV[2])
return 1
