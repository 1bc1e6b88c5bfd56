/*
 * store/index: one shard's hash table: 64-byte buckets of 8 words `tag16 | pointer48`; a key may
 * stand in two of them. Finding takes no lock (inside an epoch); inserting and removing are the
 * shard's lock holder's. It neither allocates nor frees entries.
 *
 * The number of buckets is any number, not a power of two, so that a table grows by a half and is
 * seldom less than 57 % full. The tag alone leads from either bucket to the other.
 */
#ifndef NC_STORE_INDEX_H
#define NC_STORE_INDEX_H

#include "base/hash.h"
#include "memory/entry.h"

#include <stdbool.h>

#if defined(__SANITIZE_THREAD__)
#define NC_INDEX_SCALAR 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define NC_INDEX_SCALAR 1
#endif
#endif
#if !defined(__SSE2__) && !defined(NC_INDEX_SCALAR)
#define NC_INDEX_SCALAR 1
#endif
#ifndef NC_INDEX_SCALAR
#include <emmintrin.h>
#endif

#define NC_BUCKET_WORDS 8
#define NC_POINTER_MASK ((UINT64_C(1) << 48) - 1)

struct nc_index_table {
    struct nc_index_table *next; /* of those that wait to be freed */
    uint64_t retired_at;
    uint32_t buckets;
    _Alignas(64) _Atomic uint64_t words[][NC_BUCKET_WORDS];
};

struct nc_index {
    _Alignas(64) struct nc_index_table *_Atomic table; /* all that readers read */
    _Alignas(64) uint32_t used;
    uint32_t moves; /* how often an entry moved to another place */
};

int nc_index_init(struct nc_index *index, struct nc_arena *arena, uint32_t buckets);

/* False: both buckets are full. */
bool nc_index_insert(struct nc_index *index, struct nc_entry *entry);
/* Puts `entry` where `old` stands: a reader finds one or the other. */
void nc_index_replace(struct nc_index *index, struct nc_entry *old, struct nc_entry *entry);
void nc_index_remove(struct nc_index *index, struct nc_entry *entry);
/* Some entry of the first bucket, to make room in it. */
struct nc_entry *nc_index_victim(const struct nc_index *index, uint32_t hash);
/* Fuller than this it should grow. */
bool nc_index_is_full(const struct nc_index *index);
/* A table half as large again; the old one is handed out to be freed when nobody reads it. NULL:
 * out of memory, all is as it was. */
struct nc_index_table *nc_index_grow(struct nc_index *index, struct nc_arena *arena);
/* What a table takes in the arena. */
size_t nc_index_table_bytes(const struct nc_index_table *table);
size_t nc_index_bytes(const struct nc_index *index);
/* The entries of bucket `at`; returns how many. */
unsigned nc_index_bucket(const struct nc_index *index, uint32_t at,
                         struct nc_entry *entries[NC_BUCKET_WORDS]);
/* The entries of which this is the lower half of the hash; returns how many. */
unsigned nc_index_with_hash(const struct nc_index *index, uint32_t hash,
                            struct nc_entry *entries[2 * NC_BUCKET_WORDS]);
uint32_t nc_index_buckets(const struct nc_index *index);

/* ---- reading ---- */

static inline struct nc_entry *nc_index_entry(uint64_t word)
{
    return (struct nc_entry *)(uintptr_t)(word & NC_POINTER_MASK);
}

static inline uint32_t nc_index_first(uint32_t buckets, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * buckets >> 32);
}

/* The other bucket of a tag that stands in bucket `at`; of that one it is `at` again. */
static inline uint32_t nc_index_other(uint32_t buckets, uint32_t at, uint16_t tag)
{
    uint32_t sum = (uint32_t)((uint64_t)(tag * UINT32_C(0x9e3779b1)) * buckets >> 32);
    return sum >= at ? sum - at : sum - at + buckets;
}

static inline const struct nc_index_table *nc_index_table(const struct nc_index *index)
{
    /* Acquire pairs with the release of growing: the table's words are filled. */
    return atomic_load_explicit(&((struct nc_index *)index)->table, memory_order_acquire);
}

/* The words of a bucket whose tag is this, as bits. Only a hint where it is computed from plain
 * loads: nc_index_in_bucket reads the word again. */
static inline unsigned nc_index_match(const _Atomic uint64_t *words, uint16_t tag)
{
#ifdef NC_INDEX_SCALAR
    unsigned found = 0;
    for (unsigned i = 0; i < NC_BUCKET_WORDS; i++)
        found |= (unsigned)((uint16_t)(atomic_load_explicit((_Atomic uint64_t *)&words[i],
                                                            memory_order_relaxed) >>
                                       48) == tag)
                 << i;
    return found;
#else
    const __m128i *v = (const __m128i *)words;
    __m128 a = _mm_castsi128_ps(_mm_load_si128(v)), b = _mm_castsi128_ps(_mm_load_si128(v + 1));
    __m128 c = _mm_castsi128_ps(_mm_load_si128(v + 2)), d = _mm_castsi128_ps(_mm_load_si128(v + 3));
    /* The upper halves of eight words, then their upper halves. */
    __m128i low = _mm_castps_si128(_mm_shuffle_ps(a, b, _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i high = _mm_castps_si128(_mm_shuffle_ps(c, d, _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i tags = _mm_packs_epi32(_mm_srai_epi32(low, 16), _mm_srai_epi32(high, 16));
    __m128i same = _mm_cmpeq_epi16(tags, _mm_set1_epi16((short)tag));
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(same, _mm_setzero_si128()));
#endif
}

static inline struct nc_entry *nc_index_in_bucket(const _Atomic uint64_t *words, uint16_t tag,
                                                  uint32_t tier, const void *name,
                                                  size_t name_bytes)
{
    for (unsigned found = nc_index_match(words, tag); found; found &= found - 1) {
        /* Acquire pairs with the release of insertion: the entry's bytes are complete. */
        uint64_t word = atomic_load_explicit((_Atomic uint64_t *)&words[__builtin_ctz(found)],
                                             memory_order_acquire);
        struct nc_entry *entry = nc_index_entry(word);
        if (!entry)
            continue;
        __builtin_prefetch((const char *)entry + 64);
        if (nc_entry_has_name(entry, tier, name, name_bytes))
            return entry;
    }
    return NULL;
}

/* Inside an epoch, or under the lock. */
static inline struct nc_entry *nc_index_find(const struct nc_index *index, uint64_t hash,
                                             uint32_t tier, const void *name, size_t name_bytes)
{
    const struct nc_index_table *table = nc_index_table(index);
    uint16_t tag = nc_hash_tag(hash);
    uint32_t at = nc_index_first(table->buckets, (uint32_t)hash);
    struct nc_entry *entry = nc_index_in_bucket(table->words[at], tag, tier, name, name_bytes);
    if (__builtin_expect(entry != NULL, 1))
        return entry;
    at = nc_index_other(table->buckets, at, tag);
    return nc_index_in_bucket(table->words[at], tag, tier, name, name_bytes);
}

/* For waves of keys: first all buckets on their way, then all entries that may be meant. Hints. */
static inline void nc_index_prefetch_bucket(const struct nc_index *index, uint64_t hash)
{
    const struct nc_index_table *table = nc_index_table(index);
    __builtin_prefetch(table->words[nc_index_first(table->buckets, (uint32_t)hash)]);
}

static inline void nc_index_prefetch_entry(const struct nc_index *index, uint64_t hash)
{
    const struct nc_index_table *table = nc_index_table(index);
    const _Atomic uint64_t *words = table->words[nc_index_first(table->buckets, (uint32_t)hash)];
    unsigned found = nc_index_match(words, nc_hash_tag(hash));
    if (found) {
        uint64_t word = atomic_load_explicit((_Atomic uint64_t *)&words[__builtin_ctz(found)],
                                             memory_order_relaxed);
        __builtin_prefetch(nc_index_entry(word));
        __builtin_prefetch((char *)nc_index_entry(word) + 64);
    } else {
        __builtin_prefetch(table->words[nc_index_other(
            table->buckets, nc_index_first(table->buckets, (uint32_t)hash), nc_hash_tag(hash))]);
    }
}

#endif
