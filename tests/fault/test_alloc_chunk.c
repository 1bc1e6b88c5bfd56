/* A reply of which a part has come ends on a thread that there is no memory for: the read fails,
 * and what was kept of the reply is given back. */
#include "cache/fill.h"
#include "cache/key.h"
#include "lib/alloc_fail.h"
#include "lib/link_fixture.h"
#include "lib/redis_server.h"
#include "sync/chunk.h"

#include <criterion/criterion.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;
static const struct nc_log silent;
static struct nc_cache cache;
static struct nc_sync sync;
static struct nearcache_tier *tier;

static void set_up(void)
{
    const struct nc_cache_config config = {
        .budget_bytes = 64u << 20, .shards = 1, .hash_seed = 1, .log = &silent};
    struct nearcache_tier_config tier_config = NEARCACHE_TIER_INIT;
    const char *why;
    cr_assert(redis_server_start(&server, NULL));
    cr_assert_eq(nc_cache_init(&cache, &config), 0);
    tier_config.name = "t";
    tier_config.coherence = NEARCACHE_COHERENCE_NONE; /* GET and PTTL, two replies */
    cr_assert_eq(nc_cache_tier_open(&cache, &tier_config, NULL, true, &tier, &why), 0);
    nc_flights_init(&sync.reads);
    sync.cache = &cache;
    sync.link = link_to(server.socket_path, 1, NULL);
    cr_assert(link_wait_up(sync.link, 20000));
    redis_server_pause(&server);
}

static void tear_down(void) { redis_server_stop(&server); }

TestSuite(alloc_chunk, .init = set_up, .fini = tear_down, .timeout = 60);

/* Asks for a key, and the first half of the reply comes to this thread. */
static struct nc_flight *read_half(const struct nc_key *key)
{
    const struct nc_reply_part value = {
        .reply = 0, .type = NC_REPLY_BULK, .str = "value", .bytes = 5};
    const struct nc_ticket ticket = nc_cache_ticket(key);
    bool leads;
    struct nc_flight *flight = nc_flight_join(&sync.reads, key, &ticket, &leads);
    cr_assert(leads);
    struct nc_call *call = nc_chunk_send(&sync, &flight, 1, NC_CALL_SINGLE, UINT64_MAX);
    cr_assert_not_null(call);
    call->sink->part(call->sink, &value);
    cr_assert_not_null(flight->entry);
    nc_call_drop(call);
    return flight;
}

Test(alloc_chunk, what_has_come_of_a_reply_goes_when_its_end_finds_no_memory)
{
    struct nc_key key;
    cr_assert_eq(nc_cache_key(tier, "k", 1, &key), 0);
    /* The thread's own share of the arena is there from now on. */
    nc_cache_entry_destroy(tier, nc_cache_entry_create(nc_cache_self(&cache), &key, 5, false));
    const uint64_t before = nc_arena_used(&cache.store.arena);
    struct nc_flight *flight = read_half(&key);
    cr_assert_gt(nc_arena_used(&cache.store.arena), before);

    alloc_fail_at(0, ALLOC_FAIL_ON_OF_ALL);
    nc_link_close(sync.link, 0); /* its thread, which the cache does not know, ends the call */
    cr_assert(alloc_fail_end());

    cr_assert(nc_flight_has_landed(flight));
    cr_expect_eq(flight->outcome, NEARCACHE_ENOMEM);
    nc_flight_release(flight);
    cr_expect_eq(nc_arena_used(&cache.store.arena), before, "bytes of the reply are left");
    cr_assert(nc_cache_deinit(&cache));
}
