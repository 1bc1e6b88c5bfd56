-- What wrk asks of the product service: of 20 requests 12 searches (720 queries), 4 session reads
-- (200 sessions), 2 session writes, 2 rankings of 32 ids. The same sequence in every run.
local colours = {"red", "black", "white", "navy", "olive", "beige", "pink", "grey", "green", "brown"}
local materials = {"linen", "cotton", "leather", "wool", "silk", "denim"}
local garments = {"dress", "shoes", "jacket", "trousers", "shirt", "coat", "skirt", "boots",
                  "scarf", "jumper", "bag", "belt"}
local requests = {}
local turn = 0

local function pick(list)
    return list[math.random(#list)]
end

local function search()
    return wrk.format("GET", "/search?q=" .. pick(colours) .. "+" .. pick(materials) .. "+" ..
                      pick(garments))
end

local function rank()
    local first = math.random(2000)
    local ids = {}
    for i = 1, 32 do
        ids[i] = first + i
    end
    return wrk.format("GET", "/rank?q=" .. pick(colours) .. "+" .. pick(garments) .. "&ids=" ..
                      table.concat(ids, ","))
end

local function session(method, body)
    return wrk.format(method, "/session/user-" .. math.random(200), nil, body)
end

function init()
    math.randomseed(7)
    for i = 1, 4000, 20 do
        for j = 1, 20 do
            local request
            if j % 10 == 0 then
                request = rank()
            elseif j % 10 == 5 then
                request = session("PUT", '{"basket":[' .. math.random(10000) .. ']}')
            elseif j % 5 == 2 then
                request = session("GET")
            else
                request = search()
            end
            requests[#requests + 1] = request
        end
    end
end

function request()
    turn = turn % #requests + 1
    return requests[turn]
end

function done(summary, latency)
    local e = summary.errors
    io.write(string.format("RESULT requests=%d rate=%.0f failed=%d p50_us=%d p99_us=%d p999_us=%d max_us=%d\n",
        summary.requests, summary.requests / summary.duration * 1e6,
        e.connect + e.read + e.write + e.status + e.timeout,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
