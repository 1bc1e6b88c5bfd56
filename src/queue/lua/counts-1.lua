-- How many jobs are where, at one moment: wait, active, completed, failed, delayed, prioritized,
-- waiting-children, paused (the list of BullMQ 5), and 1 when the queue is paused.
return {call('LLEN', WAIT), call('LLEN', ACTIVE), call('ZCARD', P .. 'completed'),
    call('ZCARD', P .. 'failed'), call('ZCARD', DELAYED), call('ZCARD', PRIORITIZED),
    call('ZCARD', P .. 'waiting-children'), call('LLEN', P .. 'paused'), paused and 1 or 0}
