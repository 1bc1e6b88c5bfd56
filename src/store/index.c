#include "store/index.h"

#include "nearcache.h"

#include <stdlib.h>
#include <string.h>

#define POINTER_MASK ((UINT64_C(1) << 48) - 1)

static size_t table_bytes(uint32_t buckets)
{
    return sizeof(struct nc_index_table) + (size_t)buckets * 64;
}

static struct nc_index_table *create_table(uint32_t buckets)
{
    struct nc_index_table *table = aligned_alloc(64, table_bytes(buckets));
    if (table) {
        memset(table, 0, table_bytes(buckets));
        table->mask = buckets - 1;
    }
    return table;
}

int nc_index_init(struct nc_index *index, uint32_t buckets)
{
    struct nc_index_table *table = create_table(buckets);
    atomic_init(&index->table, table);
    index->used = 0;
    return table ? 0 : NEARCACHE_ENOMEM;
}

void nc_index_deinit(struct nc_index *index)
{
    free(atomic_load(&index->table));
}

static uint64_t word_of(const struct nc_entry *entry)
{
    return (uint64_t)nc_hash_tag(entry->hash) << 48 | (uint64_t)(uintptr_t)entry;
}

static struct nc_entry *entry_of(uint64_t word)
{
    return (struct nc_entry *)(uintptr_t)(word & POINTER_MASK);
}

/* The tag alone must tell the other bucket, so that either leads to the other. */
static uint32_t bucket_of(const struct nc_index_table *table, uint64_t hash, int which)
{
    uint32_t first = nc_hash_slot(hash);
    return (which ? first ^ (nc_hash_tag(hash) * UINT32_C(0x5bd1e995)) : first) & table->mask;
}

struct nc_entry *nc_index_find(const struct nc_index *index, uint64_t hash, uint32_t tier,
                               const void *name, size_t name_bytes)
{
    /* Acquire pairs with the release of growing: the table's words are filled. */
    struct nc_index_table *table =
        atomic_load_explicit(&((struct nc_index *)index)->table, memory_order_acquire);
    uint16_t tag = nc_hash_tag(hash);
    for (int which = 0; which < 2; which++) {
        _Atomic uint64_t *words = table->words[bucket_of(table, hash, which)];
        for (int i = 0; i < NC_BUCKET_WORDS; i++) {
            /* Acquire pairs with the release of insertion: the entry's bytes are complete. */
            uint64_t word = atomic_load_explicit(&words[i], memory_order_acquire);
            if ((uint16_t)(word >> 48) != tag)
                continue;
            struct nc_entry *entry = entry_of(word);
            if (entry->hash == hash && entry->tier == tier && entry->name_bytes == name_bytes &&
                memcmp(entry->name, name, name_bytes) == 0)
                return entry;
        }
    }
    return NULL;
}

static _Atomic uint64_t *place(struct nc_index_table *table, uint64_t hash, uint64_t word)
{
    for (int which = 0; which < 2; which++) {
        _Atomic uint64_t *words = table->words[bucket_of(table, hash, which)];
        for (int i = 0; i < NC_BUCKET_WORDS; i++)
            if (atomic_load_explicit(&words[i], memory_order_relaxed) == word)
                return &words[i];
    }
    return NULL;
}

/* Both buckets are full: somebody who can moves to his other one. The copy is there before the
 * original is overwritten, so a reader finds him throughout. */
static _Atomic uint64_t *kick(struct nc_index_table *table, uint64_t hash)
{
    for (int which = 0; which < 2; which++) {
        _Atomic uint64_t *words = table->words[bucket_of(table, hash, which)];
        for (int i = 0; i < NC_BUCKET_WORDS; i++) {
            uint64_t word = atomic_load_explicit(&words[i], memory_order_relaxed);
            _Atomic uint64_t *other = place(table, entry_of(word)->hash, 0);
            if (!other)
                continue;
            atomic_store_explicit(other, word, memory_order_release);
            return &words[i];
        }
    }
    return NULL;
}

bool nc_index_insert(struct nc_index *index, struct nc_entry *entry)
{
    struct nc_index_table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
    _Atomic uint64_t *word = place(table, entry->hash, 0);
    if (!word)
        word = kick(table, entry->hash);
    if (!word)
        return false;
    atomic_store_explicit(word, word_of(entry), memory_order_release);
    index->used++;
    return true;
}

void nc_index_replace(struct nc_index *index, struct nc_entry *old, struct nc_entry *entry)
{
    struct nc_index_table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
    atomic_store_explicit(place(table, old->hash, word_of(old)), word_of(entry),
                          memory_order_release);
}

void nc_index_remove(struct nc_index *index, struct nc_entry *entry)
{
    struct nc_index_table *table = atomic_load_explicit(&index->table, memory_order_relaxed);
    atomic_store_explicit(place(table, entry->hash, word_of(entry)), 0, memory_order_relaxed);
    index->used--;
}

struct nc_entry *nc_index_victim(const struct nc_index *index, uint64_t hash)
{
    struct nc_index_table *table =
        atomic_load_explicit(&((struct nc_index *)index)->table, memory_order_relaxed);
    uint64_t word = atomic_load_explicit(
        &table->words[bucket_of(table, hash, 0)][(hash >> 40) % NC_BUCKET_WORDS],
        memory_order_relaxed);
    return entry_of(word);
}

struct nc_index_table *nc_index_grow(struct nc_index *index)
{
    struct nc_index_table *old = atomic_load_explicit(&index->table, memory_order_relaxed);
    struct nc_index_table *table = create_table((old->mask + 1) * 2);
    if (!table)
        return NULL;
    for (uint32_t b = 0; b <= old->mask; b++)
        for (int i = 0; i < NC_BUCKET_WORDS; i++) {
            uint64_t word = atomic_load_explicit(&old->words[b][i], memory_order_relaxed);
            _Atomic uint64_t *to = word ? place(table, entry_of(word)->hash, 0) : NULL;
            if (word && !to)
                to = kick(table, entry_of(word)->hash);
            if (word && !to) { /* cannot hold them all: seen never, and nothing is lost */
                free(table);
                return NULL;
            }
            if (word)
                atomic_store_explicit(to, word, memory_order_relaxed);
        }
    atomic_store_explicit(&index->table, table, memory_order_release);
    return old;
}

size_t nc_index_bytes(const struct nc_index *index)
{
    return table_bytes(nc_index_buckets(index));
}

uint32_t nc_index_buckets(const struct nc_index *index)
{
    return atomic_load_explicit(&((struct nc_index *)index)->table, memory_order_relaxed)->mask + 1;
}

unsigned nc_index_bucket(const struct nc_index *index, uint32_t at,
                         struct nc_entry *entries[NC_BUCKET_WORDS])
{
    struct nc_index_table *table =
        atomic_load_explicit(&((struct nc_index *)index)->table, memory_order_relaxed);
    unsigned n = 0;
    for (int i = 0; at <= table->mask && i < NC_BUCKET_WORDS; i++) {
        uint64_t word = atomic_load_explicit(&table->words[at][i], memory_order_relaxed);
        if (word)
            entries[n++] = entry_of(word);
    }
    return n;
}
