-- Renews locks. ARGV: lock ms, then id and token per job. Returns the ids whose lock is another's, each
-- with the token that was sent.
local lost = {}
for at = 2, #ARGV, 2 do
    local id = ARGV[at]
    local lock = P .. id .. ':lock'
    if call('GET', lock) == ARGV[at + 1] then
        call('PEXPIRE', lock, ARGV[1]) -- a full Redis refuses SET
        call('SREM', P .. 'stalled', id)
    else
        lost[#lost + 1], lost[#lost + 2] = id, ARGV[at + 1]
    end
end
return lost
