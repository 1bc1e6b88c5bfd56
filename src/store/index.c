#include "store/index.h"

#include "nearcache.h"

#include <string.h>

/* Of 20 words, so many may be taken before it grows. */
#define FULL_OF_20 17
/* While growing, how many buckets ahead their entries are fetched. */
#define AHEAD 4

size_t nc_index_table_bytes(const struct nc_index_table *table)
{
    return nc_arena_block_bytes(sizeof *table + (size_t)table->buckets * 64);
}

static struct nc_index_table *create_table(struct nc_arena *arena, uint32_t buckets)
{
    size_t bytes = sizeof(struct nc_index_table) + (size_t)buckets * 64;
    struct nc_index_table *table = nc_arena_alloc(arena, 0, bytes);
    if (table) {
        memset(table, 0, bytes);
        table->buckets = buckets;
    }
    return table;
}

int nc_index_init(struct nc_index *index, struct nc_index_head *head, struct nc_arena *arena,
                  uint32_t buckets)
{
    struct nc_index_table *table = create_table(arena, buckets);
    index->head = head;
    atomic_init(&head->table, table);
    atomic_init(&head->buckets, buckets);
    index->used = index->moves = 0;
    return table ? 0 : NEARCACHE_ENOMEM;
}

static struct nc_index_table *table_of(const struct nc_index *index)
{
    /* Relaxed: the lock holder's; only he changes it. */
    return atomic_load_explicit(&index->head->table, memory_order_relaxed);
}

static uint64_t word_of(const struct nc_entry *entry)
{
    return (uint64_t)nc_hash_tag(entry->hash) << 48 | (uint64_t)(uintptr_t)entry;
}

/* ---- words and strays ---- */

/* Without the number of strays; 0: nothing stands there. */
static uint64_t word_at(const struct nc_index_table *table, uint32_t at, int i)
{
    return atomic_load_explicit((_Atomic uint64_t *)&table->words[at][i], memory_order_relaxed) &
           ~NC_STRAYS_MASK;
}

static void put(_Atomic uint64_t *place, uint64_t word)
{
    uint64_t strays = atomic_load_explicit(place, memory_order_relaxed) & NC_STRAYS_MASK;
    /* Release pairs with the acquire of finding: the entry's bytes come first. */
    atomic_store_explicit(place, word | strays, memory_order_release);
}

/* One that has reached the mask keeps it, until the table grows. */
static void count_strays(struct nc_index_table *table, uint32_t at, int by)
{
    _Atomic uint64_t *place = &table->words[at][0];
    uint64_t word = atomic_load_explicit(place, memory_order_relaxed);
    if ((word & NC_STRAYS_MASK) != NC_STRAYS_MASK)
        /* Release: it has a word's pointer in it, as in put. */
        atomic_store_explicit(place, word + (uint64_t)(int64_t)by, memory_order_release);
}

static uint32_t bucket_of(const struct nc_index_table *table, const _Atomic uint64_t *place)
{
    return (uint32_t)((size_t)((const char *)place - (const char *)table->words) / 64);
}

/* A word of tag 0 is an empty one. */
static _Atomic uint64_t *in_bucket(struct nc_index_table *table, uint32_t at, uint64_t word)
{
    for (unsigned found = nc_index_match(table->words[at], (uint16_t)(word >> 48)); found;
         found &= found - 1) {
        int i = __builtin_ctz(found);
        if (word_at(table, at, i) == word)
            return &table->words[at][i];
    }
    return NULL;
}

/* Where `word` stands among the places of `hash`; 0 finds an empty one. */
static _Atomic uint64_t *place(struct nc_index_table *table, uint32_t hash, uint64_t word)
{
    uint32_t at = nc_index_first(table->buckets, hash);
    _Atomic uint64_t *found = in_bucket(table, at, word);
    if (found)
        return found;
    return in_bucket(table, nc_index_other(table->buckets, at, nc_hash_tag(hash)), word);
}

/* What stands in bucket `at` is about to stand in its other one. */
static void count_move(struct nc_index_table *table, uint32_t at, uint64_t word)
{
    uint32_t first = nc_index_first(table->buckets, nc_index_entry(word)->hash);
    count_strays(table, first, first == at ? 1 : -1);
}

/* A full bucket: somebody who can moves to his other one, which his tag tells. The copy is there
 * before the original is overwritten, so a reader who looks there afterwards finds him; one who
 * had looked there already may miss him, which is legal in a cache. */
static _Atomic uint64_t *kick_from(struct nc_index_table *table, uint32_t at, unsigned depth)
{
    /* One after the other they would be waited for. */
    for (int i = 0; i < NC_BUCKET_WORDS; i++)
        __builtin_prefetch(table->words[nc_index_other(table->buckets, at,
                                                       (uint16_t)(word_at(table, at, i) >> 48))]);
    for (unsigned level = 0; level <= depth; level++)
        for (int i = 0; i < NC_BUCKET_WORDS; i++) {
            uint64_t word = word_at(table, at, i);
            uint32_t other = nc_index_other(table->buckets, at, (uint16_t)(word >> 48));
            if (other == at)
                continue;
            _Atomic uint64_t *to = in_bucket(table, other, 0);
            if (!to && level > 0)
                to = kick_from(table, other, level - 1);
            if (!to)
                continue;
            put(to, word);
            count_move(table, at, word);
            return &table->words[at][i];
        }
    return NULL;
}

static _Atomic uint64_t *make_place(struct nc_index_table *table, uint32_t hash)
{
    uint32_t at = nc_index_first(table->buckets, hash);
    _Atomic uint64_t *found = kick_from(table, at, 0);
    if (!found)
        found = kick_from(table, nc_index_other(table->buckets, at, nc_hash_tag(hash)), 1);
    return found;
}

/* Into a place that is empty or has just been made. */
static void settle(struct nc_index_table *table, _Atomic uint64_t *to, uint32_t hash, uint64_t word)
{
    uint32_t first = nc_index_first(table->buckets, hash);
    if (bucket_of(table, to) != first)
        count_strays(table, first, 1);
    put(to, word);
}

/* ---- changing it ---- */

bool nc_index_insert(struct nc_index *index, struct nc_entry *entry)
{
    _Atomic uint64_t *to = place(table_of(index), entry->hash, 0);
    if (!to) {
        to = make_place(table_of(index), entry->hash);
        index->moves++;
    }
    if (!to)
        return false;
    settle(table_of(index), to, entry->hash, word_of(entry));
    index->used++;
    return true;
}

void nc_index_replace(struct nc_index *index, struct nc_entry *old, struct nc_entry *entry)
{
    put(place(table_of(index), old->hash, word_of(old)), word_of(entry));
}

void nc_index_remove(struct nc_index *index, struct nc_entry *entry)
{
    struct nc_index_table *table = table_of(index);
    uint32_t first = nc_index_first(table->buckets, entry->hash);
    _Atomic uint64_t *from = place(table, entry->hash, word_of(entry));
    /* Whoever still finds the entry is in an epoch that keeps it. */
    put(from, 0);
    if (bucket_of(table, from) != first)
        count_strays(table, first, -1);
    index->used--;
}

struct nc_entry *nc_index_victim(const struct nc_index *index, uint32_t hash)
{
    struct nc_index_table *table = table_of(index);
    uint32_t at = nc_index_first(table->buckets, hash);
    return nc_index_entry(word_at(table, at, (int)((hash >> 13) % NC_BUCKET_WORDS)));
}

bool nc_index_is_full(const struct nc_index *index)
{
    return (uint64_t)index->used * 20 >=
           (uint64_t)nc_index_buckets(index) * NC_BUCKET_WORDS * FULL_OF_20;
}

static void prefetch_entries(struct nc_index_table *table, uint32_t at)
{
    for (int i = 0; at < table->buckets && i < NC_BUCKET_WORDS; i++)
        __builtin_prefetch(nc_index_entry(word_at(table, at, i)));
}

struct nc_index_table *nc_index_grow(struct nc_index *index, struct nc_arena *arena)
{
    struct nc_index_table *old = table_of(index);
    if (old->buckets > UINT32_MAX / 2)
        return NULL;
    struct nc_index_table *table = create_table(arena, old->buckets + old->buckets / 2);
    if (!table)
        return NULL;
    for (uint32_t at = 0; at < old->buckets; at++) {
        prefetch_entries(old, at + AHEAD);
        for (int i = 0; i < NC_BUCKET_WORDS; i++) {
            uint64_t word = word_at(old, at, i);
            if (!word)
                continue;
            uint32_t hash = nc_index_entry(word)->hash;
            _Atomic uint64_t *to = place(table, hash, 0);
            if (!to && !(to = make_place(table, hash))) {
                /* It cannot hold them all: seen never, and nothing is lost. */
                nc_arena_free(arena, table);
                return NULL;
            }
            settle(table, to, hash, word);
        }
    }
    /* Releases pair with the acquires in nc_index_view. */
    atomic_store_explicit(&index->head->table, table, memory_order_release);
    atomic_store_explicit(&index->head->buckets, table->buckets, memory_order_release);
    index->moves++;
    return old;
}

size_t nc_index_bytes(const struct nc_index *index)
{
    return nc_index_table_bytes(table_of(index));
}

uint32_t nc_index_buckets(const struct nc_index *index) { return table_of(index)->buckets; }

unsigned nc_index_bucket(const struct nc_index *index, uint32_t at,
                         struct nc_entry *entries[NC_BUCKET_WORDS])
{
    struct nc_index_table *table = table_of(index);
    unsigned n = 0;
    for (int i = 0; at < table->buckets && i < NC_BUCKET_WORDS; i++) {
        uint64_t word = word_at(table, at, i);
        if (word)
            entries[n++] = nc_index_entry(word);
    }
    return n;
}

unsigned nc_index_with_hash(const struct nc_index *index, uint32_t hash,
                            struct nc_entry *entries[2 * NC_BUCKET_WORDS])
{
    struct nc_index_table *table = table_of(index);
    uint16_t tag = nc_hash_tag(hash);
    uint32_t first = nc_index_first(table->buckets, hash), at = first;
    unsigned n = 0;
    do {
        for (unsigned match = nc_index_match(table->words[at], tag); match; match &= match - 1) {
            uint64_t word = word_at(table, at, __builtin_ctz(match));
            if (nc_index_entry(word)->hash == hash)
                entries[n++] = nc_index_entry(word);
        }
        at = nc_index_other(table->buckets, at, tag);
    } while (at != first);
    return n;
}

void nc_index_prefetch_both(const struct nc_index_head *head, uint64_t hash)
{
    struct nc_index_view view = nc_index_view(head);
    uint32_t at = nc_index_first(view.buckets, (uint32_t)hash);
    __builtin_prefetch(view.table->words[at], 1);
    __builtin_prefetch(view.table->words[nc_index_other(view.buckets, at, nc_hash_tag(hash))], 1);
}

void nc_index_lines(const struct nc_index *index, uint32_t hash, const void *lines[2])
{
    struct nc_index_table *table = table_of(index);
    uint32_t at = nc_index_first(table->buckets, hash);
    lines[0] = table->words[at];
    lines[1] = table->words[nc_index_other(table->buckets, at, nc_hash_tag(hash))];
}

void nc_index_announce(const struct nc_index *index, uint32_t hash)
{
    const void *lines[2];
    nc_index_lines(index, hash, lines);
    __builtin_prefetch(lines[0]);
    __builtin_prefetch(lines[1]);
}

void nc_index_approach(const struct nc_index *index, uint32_t hash)
{
    struct nc_index_table *table = table_of(index);
    uint16_t tag = nc_hash_tag(hash);
    uint32_t at = nc_index_first(table->buckets, hash);
    for (int i = 0; i < 2; i++, at = nc_index_other(table->buckets, at, tag))
        for (unsigned match = nc_index_match(table->words[at], tag); match; match &= match - 1)
            __builtin_prefetch(nc_index_entry(word_at(table, at, __builtin_ctz(match))));
}
