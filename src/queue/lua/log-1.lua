-- Adds a line to a job's log. ARGV: id, line, lines to keep or '' for all. Returns 1, -1 no such job.
local key = P .. ARGV[1]
if call('EXISTS', key) == 0 then return -1 end
call('RPUSH', key .. ':logs', ARGV[2])
if ARGV[3] ~= '' then call('LTRIM', key .. ':logs', -tonumber(ARGV[3]), -1) end
return 1
