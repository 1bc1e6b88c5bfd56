-- ARGV: 'paused' or 'resumed'. Resuming gives back what BullMQ 5 keeps in a list of its own while a
-- queue is paused, the older jobs of that list first.
if ARGV[1] == 'paused' then
    paused = '1'
    call('HSET', META, 'paused', 1)
    call('DEL', MARKER)
    local list = waiting_list()
    if list ~= WAIT and call('EXISTS', WAIT) == 1 and call('EXISTS', list) == 0 then
        call('RENAME', WAIT, list)
    end
else
    call('HDEL', META, 'paused')
    paused = false
    local list = P .. 'paused'
    if call('EXISTS', list) == 1 then
        if call('EXISTS', WAIT) == 0 then
            call('RENAME', list, WAIT)
        else
            local ids = call('LRANGE', list, 0, -1)
            for at = 1, #ids, 1000 do
                call('RPUSH', WAIT, unpack(ids, at, math.min(at + 999, #ids)))
            end
            call('DEL', list)
        end
    end
    if call('EXISTS', WAIT) == 1 or call('EXISTS', PRIORITIZED) == 1 then
        ring()
    else
        ring_delayed()
    end
end
emit(ARGV[1])
return 1
