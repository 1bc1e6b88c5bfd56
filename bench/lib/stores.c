#include "lib/store.h"

#include <stdlib.h>
#include <string.h>

#include "lib/output.h"

const struct bench_store *const bench_stores[] = {
    &bench_store_nearcache,
    &bench_store_nearcache_peek,
    &bench_store_nearcache_ttl,
    &bench_store_floor_huge,
    &bench_store_floor,
    &bench_store_ck,
    &bench_store_lfht,
    &bench_store_glib,
    &bench_store_uthash_mutex,
    &bench_store_uthash_spin,
    NULL,
};

const struct bench_store *bench_store_find(const char *name)
{
    for (int i = 0; bench_stores[i]; i++)
        if (!strcmp(bench_stores[i]->name, name))
            return bench_stores[i];
    bench_die("no store %s", name);
}

/* In scattered order, or neighbours by id would be neighbours in memory. */
static uint64_t scattered(uint64_t i, uint64_t count)
{
    static const uint64_t primes[] = {2654435761u, 2246822519u, 3266489917u};
    uint64_t prime = primes[0];

    for (int k = 0; k < 3 && count % prime == 0; k++)
        prime = primes[k];
    return (uint64_t)((unsigned __int128)i * prime % count);
}

void *bench_store_open_filled(const struct bench_store *store,
                              const struct bench_store_config *config, uint64_t count)
{
    uint64_t *value = calloc(1, config->value_bytes);
    void *opened = value ? store->open(config) : NULL;

    if (!opened)
        bench_die("%s does not open", store->title);
    if (store->thread_begin)
        store->thread_begin(opened);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t id = scattered(i, count);

        value[1] = id;
        if (store->set(opened, id, value))
            bench_die("%s refuses an entry", store->title);
    }
    if (store->thread_end)
        store->thread_end(opened);
    free(value);
    return opened;
}
