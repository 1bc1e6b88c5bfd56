/* nearcache read with peek: what get adds to it is the price of a miss path that is not taken. */
#include <stdlib.h>
#include <string.h>

#define PEER_PEEK
#include "lib/nearcache_loops.h"
#include "lib/store_loops.h"

static void *open_tier(const struct bench_store_config *config, uint64_t ttl_ms)
{
    struct nearcache_config cache = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
    struct peer *peer = malloc(sizeof *peer);
    uint64_t most = config->capacity_entries ? config->capacity_entries : config->entries;

    if (!peer)
        return NULL;
    /* Generous: the benches that evict do so by entries, as the peers do. */
    cache.budget_bytes =
        ((uint64_t)64 << 20) + most * (BENCH_KEY_BYTES + config->value_bytes + 256u);
    cache.capacity_entries = config->capacity_entries;
    cache.journal_bytes = NEARCACHE_NONE;
    tier.name = "bench";
    tier.redis_ttl_ms = tier.local_ttl_ms = ttl_ms;
    peer->value_bytes = config->value_bytes;
    if (nearcache_open(&peer->cache, &cache)) {
        free(peer);
        return NULL;
    }
    if (nearcache_tier_open(peer->cache, &tier, &peer->tier)) {
        nearcache_close(peer->cache, 0);
        free(peer);
        return NULL;
    }
    return peer;
}

void *nearcache_store_open(const struct bench_store_config *config)
{
    return open_tier(config, NEARCACHE_NONE);
}

void *nearcache_store_open_ttl(const struct bench_store_config *config)
{
    return open_tier(config, 24u * 3600u * 1000u);
}

void nearcache_store_close(void *store)
{
    struct peer *peer = store;

    nearcache_close(peer->cache, 1000000);
    free(peer);
}

int nearcache_store_set(void *store, uint64_t id, const void *value)
{
    char key[BENCH_KEY_BYTES];

    bench_key(key, id);
    return peer_set(store, key, value);
}

uint64_t nearcache_store_entries(void *store)
{
    struct nearcache_metrics metrics = NEARCACHE_METRICS_INIT;

    return nearcache_metrics(((struct peer *)store)->cache, &metrics) ? 0 : metrics.entries;
}

const struct bench_store bench_store_nearcache_peek = {
    .name = "nearcache-peek",
    .title = "nearcache, peek",
    .evicts = true,
    .open = nearcache_store_open,
    .close = nearcache_store_close,
    .set = nearcache_store_set,
    .entries = nearcache_store_entries,
    .run_hit = peer_run_hit,
    .run_insert = peer_run_insert,
    .run_mixed = peer_run_mixed,
    .run_timed = peer_run_timed,
};
