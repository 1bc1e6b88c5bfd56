/* What the rows of nearcache share. Define PEER_PEEK before including to read with peek. */
#ifndef BENCH_NEARCACHE_LOOPS_H
#define BENCH_NEARCACHE_LOOPS_H

#include <nearcache.h>
#include <nearcache/metrics.h>

#include "lib/store.h"
#include "lib/timer.h"

/* Thread-safe. */
struct peer {
    struct nearcache *cache;
    struct nearcache_tier *tier;
    size_t value_bytes;
};

struct peer_pin {
    struct nearcache_result result;
};

static inline const uint64_t *peer_get(struct peer *peer, const char *key, struct peer_pin *pin)
{
#ifdef PEER_PEEK
    if (nearcache_peek(peer->tier, key, BENCH_KEY_BYTES, &pin->result))
        return NULL;
#else
    if (nearcache_get(peer->tier, key, BENCH_KEY_BYTES, NULL, &pin->result))
        return NULL;
#endif
    return pin->result.data;
}

static inline void peer_release(struct peer *peer, struct peer_pin *pin)
{
    (void)peer;
    nearcache_release(&pin->result);
}

static inline int peer_set(struct peer *peer, const char *key, const void *value)
{
    return nearcache_set(peer->tier, key, BENCH_KEY_BYTES, value, peer->value_bytes, NULL);
}

void *nearcache_store_open(const struct bench_store_config *config);
void *nearcache_store_open_ttl(const struct bench_store_config *config);
void nearcache_store_close(void *store);
int nearcache_store_set(void *store, uint64_t id, const void *value);
uint64_t nearcache_store_entries(void *store);

#endif
