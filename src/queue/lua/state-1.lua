-- Where a job is: the name of the list or set; 'unknown' in none; '' no such job. ARGV: id.
local id = ARGV[1]
if not is_job(id) then return '' end
for _, set in ipairs({'completed', 'failed', 'delayed', 'prioritized'}) do
    if call('ZSCORE', P .. set, id) then return set end
end
for _, list in ipairs({'active', 'wait', 'paused'}) do
    if call('LPOS', P .. list, id) then return list end
end
return call('ZSCORE', P .. 'waiting-children', id) and 'waiting-children' or 'unknown'
