/*
 * The floor: what remains of a hit when the index is perfect. Hash of the key, one pointer, one
 * entry (key compared, value read); nothing can be evicted, changed or shared with a writer. Once
 * on ordinary pages and once on huge ones.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "lib/store.h"
#include "lib/timer.h"

#define HEADER_BYTES 16u
#define FLOOR_LINE 64u

/* Read-only once filled. */
struct peer {
    char **pointers;
    char *memory;
    uint64_t used;
    size_t memory_bytes;
    size_t value_bytes;
    size_t entry_bytes;
    uint64_t entries;
    uint64_t nothing; /* 0: makes the place in the index depend on the hash */
};

struct peer_pin {
    int unused;
};

static inline const uint64_t *peer_get(struct peer *peer, const char *key, struct peer_pin *pin)
{
    uint64_t id, hash = XXH3_64bits(key, BENCH_KEY_BYTES);
    const char *entry;

    (void)pin;
    memcpy(&id, key + 16, sizeof id);
    entry = peer->pointers[id + (hash & peer->nothing)];
    if (memcmp(entry + HEADER_BYTES, key, BENCH_KEY_BYTES) != 0)
        return NULL;
    return (const uint64_t *)(entry + FLOOR_LINE);
}

static inline void peer_release(struct peer *peer, struct peer_pin *pin)
{
    (void)peer;
    (void)pin;
}

static inline int peer_set(struct peer *peer, const char *key, const void *value)
{
    uint64_t id;
    char *entry = peer->memory + peer->used;

    memcpy(&id, key + 16, sizeof id);
    if (id >= peer->entries || peer->used + peer->entry_bytes > peer->memory_bytes)
        return -1;
    memcpy(entry + HEADER_BYTES, key, BENCH_KEY_BYTES);
    memcpy(entry + FLOOR_LINE, value, peer->value_bytes);
    peer->pointers[id] = entry;
    peer->used += peer->entry_bytes;
    return 0;
}

#include "lib/store_loops.h"

/* Aligned to 2 MiB by hand: mmap alone does not promise it. Never unmapped in part. */
static void *map(size_t bytes, int advice)
{
    size_t huge = (size_t)2 << 20;
    char *memory = mmap(NULL, bytes + huge, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    memory = (char *)(((uintptr_t)memory + huge - 1u) & ~(uintptr_t)(huge - 1u));
    madvise(memory, bytes, advice);
    return memory;
}

static void *open_on(const struct bench_store_config *config, int advice)
{
    struct peer *peer = calloc(1, sizeof *peer);

    if (!peer)
        return NULL;
    peer->value_bytes = config->value_bytes;
    peer->entry_bytes = FLOOR_LINE + ((config->value_bytes + 63u) & ~(size_t)63u);
    peer->entries = config->entries;
    peer->memory_bytes = peer->entry_bytes * config->entries;
    peer->pointers = map(sizeof(char *) * config->entries, advice);
    peer->memory = map(peer->memory_bytes, advice);
    if (!peer->pointers || !peer->memory) {
        free(peer);
        return NULL;
    }
    return peer;
}

static void *open_normal(const struct bench_store_config *config)
{
    return open_on(config, MADV_NOHUGEPAGE);
}

static void *open_huge(const struct bench_store_config *config)
{
    return open_on(config, MADV_HUGEPAGE);
}

static void peer_close(void *store)
{
    struct peer *peer = store;

    munmap(peer->pointers, sizeof(char *) * peer->entries);
    munmap(peer->memory, peer->memory_bytes);
    free(peer);
}

static int peer_store_set(void *store, uint64_t id, const void *value)
{
    char key[BENCH_KEY_BYTES];

    bench_key(key, id);
    return peer_set(store, key, value);
}

static uint64_t peer_entries(void *store)
{
    struct peer *peer = store;

    return peer->used / peer->entry_bytes;
}

const struct bench_store bench_store_floor = {
    .name = "floor",
    .title = "floor: perfect index",
    .open = open_normal,
    .close = peer_close,
    .set = peer_store_set,
    .entries = peer_entries,
    .run_hit = peer_run_hit,
};

const struct bench_store bench_store_floor_huge = {
    .name = "floor-huge",
    .title = "floor: perfect index, huge pages",
    .open = open_huge,
    .close = peer_close,
    .set = peer_store_set,
    .entries = peer_entries,
    .run_hit = peer_run_hit,
};
