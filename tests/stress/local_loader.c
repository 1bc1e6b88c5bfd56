/*
 * local_loader THREADS SECONDS: without Redis, half of the threads load keys (one by one and as
 * vectors) that the others set or delete at the same time. Once a write has returned, no loader
 * that began before it may put its value in: a key that was set keeps what was set, one that was
 * deleted stays away, and so does one that was cleared. Meant for ThreadSanitizer too.
 */
#include "base/hash.h"

#include <nearcache.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS 64u
#define MADE 0u /* by a loader; what is set counts up from 1 */

static struct nearcache *cache;
static struct nearcache_tier *tier;
static _Atomic uint64_t loads, wrong;
static _Atomic bool stop;

static int make(void *arg, const void *name, size_t bytes, struct nearcache_loaded *loaded)
{
    static const uint32_t made = MADE;
    (void)arg;
    (void)name;
    (void)bytes;
    loads++;
    loaded->data = &made;
    loaded->bytes = sizeof made;
    return 0;
}

static int make_rows(void *arg, const struct nearcache_name *names, size_t count, void *matrix,
                     size_t stride, int *statuses)
{
    (void)arg;
    (void)names;
    memset(matrix, 0, count * stride);
    memset(statuses, 0, count * sizeof *statuses);
    loads++;
    return 0;
}

static void *load(void *arg)
{
    uint64_t random = (uint64_t)(uintptr_t)arg;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        uint32_t key = (uint32_t)nc_hash_step(&random) % KEYS, row;
        struct nearcache_name name = {&key, sizeof key};
        struct nearcache_result result;
        int status;
        if (random & 256) {
            if (nearcache_get_or_load(tier, &key, sizeof key, NULL, make, NULL, &result) != 0)
                wrong++;
            nearcache_release(&result);
        } else if (nearcache_get_vectors(tier, &name, 1, NULL, &row, 0, make_rows, NULL, &status,
                                         NULL) != 0) {
            wrong++;
        }
    }
    return NULL;
}

/* Writers share no keys: thread `number` of `writers` has every writers-th one. */
struct writer {
    pthread_t id;
    uint32_t number, writers;
};

static void *write_and_look(void *arg)
{
    const struct writer *w = arg;
    for (uint32_t value = MADE + 1; !atomic_load_explicit(&stop, memory_order_relaxed); value++) {
        uint32_t key = w->number + value % (KEYS / w->writers) * w->writers;
        struct nearcache_result result;
        /* Away first, so that somebody loads it. */
        nearcache_delete(tier, &key, sizeof key, NULL);
        if (nearcache_set(tier, &key, sizeof key, &value, sizeof value, NULL) != 0)
            wrong++;
        for (int look = 0; look < 20; look++) {
            if (nearcache_get(tier, &key, sizeof key, NULL, &result) != 0 ||
                memcmp(result.data, &value, sizeof value) != 0)
                wrong++;
            nearcache_release(&result);
        }
    }
    return NULL;
}

/* Stands for another thread that clears while the loader runs. */
static int clear_and_make(void *arg, const void *name, size_t bytes,
                          struct nearcache_loaded *loaded)
{
    uint64_t count;
    if (nearcache_delete_prefix(tier, arg ? name : NULL, arg ? bytes : 0, 0, &count) != 0)
        wrong++;
    return make(NULL, name, bytes, loaded);
}

static void load_what_is_cleared(void)
{
    uint32_t key = KEYS;
    struct nearcache_result result;
    for (int by_prefix = 0; by_prefix < 2; by_prefix++) {
        if (nearcache_get_or_load(tier, &key, sizeof key, NULL, clear_and_make,
                                  by_prefix ? &key : NULL, &result) != 0)
            wrong++;
        nearcache_release(&result);
        if (nearcache_get(tier, &key, sizeof key, NULL, &result) != NEARCACHE_MISS)
            wrong++;
        nearcache_release(&result);
    }
}

int main(int argc, char **argv)
{
    uint32_t threads = argc > 1 ? (uint32_t)atoi(argv[1]) : 4, writers = threads / 2;
    uint64_t seconds = argc > 2 ? (uint64_t)atoi(argv[2]) : 3;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier_config = NEARCACHE_TIER_INIT;
    struct writer writer[32];
    pthread_t loaders[32];
    config.journal_bytes = NEARCACHE_NONE;
    tier_config.name = "stress";
    tier_config.redis_ttl_ms = NEARCACHE_NONE;
    tier_config.kind = NEARCACHE_VECTOR_F32;
    tier_config.dimension = 1;
    if (threads < 2 || threads > 64 || nearcache_open(&cache, &config) != 0 ||
        nearcache_tier_open(cache, &tier_config, &tier) != 0)
        return 2;
    for (uint32_t i = 0; i < writers; i++) {
        writer[i] = (struct writer){.number = i, .writers = writers};
        if (pthread_create(&writer[i].id, NULL, write_and_look, &writer[i]) != 0 ||
            pthread_create(&loaders[i], NULL, load, (void *)(uintptr_t)(i + 1)) != 0)
            return 2;
    }
    struct timespec time = {(time_t)seconds, 0};
    nanosleep(&time, NULL);
    atomic_store(&stop, true);
    for (uint32_t i = 0; i < writers; i++) {
        pthread_join(writer[i].id, NULL);
        pthread_join(loaders[i], NULL);
    }
    load_what_is_cleared();
    uint64_t pinned = nearcache_pinned(cache);
    int closed = nearcache_close(cache, 0);
    printf("%llu loads, %llu wrong, %llu pinned\n", (unsigned long long)loads,
           (unsigned long long)wrong, (unsigned long long)pinned);
    return wrong || loads == 0 || pinned || closed != 0;
}
