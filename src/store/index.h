/*
 * store/index: one shard's hash table: 64-byte buckets of 8 words `tag16 | pointer48`; a key may
 * stand in two of them. Finding takes no lock (inside an epoch); inserting and removing are the
 * shard's lock holder's. It neither allocates nor frees entries.
 *
 * An entry stands in the first bucket of its hash while that has room. How many of a bucket's own
 * stand in their other one, its strays, is in the low bits of its first word, which no pointer to a
 * block needs: without strays a look-up that finds nothing waits for one line and not for two.
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
#define NC_STRAYS_MASK UINT64_C(63)
#define NC_POINTER_MASK (((UINT64_C(1) << 48) - 1) & ~NC_STRAYS_MASK)

struct nc_index_table {
    struct nc_index_table *next; /* of those that wait to be freed */
    uint64_t retired_at;
    uint32_t buckets;
    _Alignas(64) _Atomic uint64_t words[][NC_BUCKET_WORDS];
};

/* All that readers read. Tables only grow, and `buckets` is stored after `table` and loaded before
 * it: a reader may know fewer buckets than his table has, and then miss, but never more. Loading
 * both at once saves him one wait. */
struct nc_index_head {
    struct nc_index_table *_Atomic table;
    _Atomic uint32_t buckets;
};

struct nc_index {
    struct nc_index_head *head; /* beside those of the other shards */
    uint32_t used;
    uint32_t moves; /* how often an entry moved to another place */
};

/* `head`: the caller's, as long as the index lives. 0 or NEARCACHE_ENOMEM. */
int nc_index_init(struct nc_index *index, struct nc_index_head *head, struct nc_arena *arena,
                  uint32_t buckets);

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
/* Hints before it: of several hashes first the one for all, then the other. */
void nc_index_announce(const struct nc_index *index, uint32_t hash);
void nc_index_approach(const struct nc_index *index, uint32_t hash);
/* Where both buckets of a hash stand. */
void nc_index_lines(const struct nc_index *index, uint32_t hash, const void *lines[2]);
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

/* What a look-up goes by. */
struct nc_index_view {
    const struct nc_index_table *table;
    uint32_t buckets;
};

static inline struct nc_index_view nc_index_view(const struct nc_index_head *head)
{
    struct nc_index_head *own = (struct nc_index_head *)head;
    struct nc_index_view view;
    /* Acquire pairs with the releases of growing: the table is at least as large as this number,
     * and its words are filled. */
    view.buckets = atomic_load_explicit(&own->buckets, memory_order_acquire);
    view.table = atomic_load_explicit(&own->table, memory_order_acquire);
    return view;
}

/* Those of nc_index_first, as many bytes into the table: a shift and an addition less. */
static inline const _Atomic uint64_t *nc_index_words(struct nc_index_view view, uint32_t hash)
{
    uint64_t bytes = (uint64_t)hash * view.buckets >> 26 & ~UINT64_C(63);
    return (const _Atomic uint64_t *)((const char *)view.table->words + bytes);
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
    /* The tag goes from register to register: a 16-bit value on the stack would be read back wider
     * than it was written, which waits until it has left the core. */
    const __m128i same = _mm_shuffle_epi32(_mm_shufflelo_epi16(_mm_cvtsi32_si128(tag), 0), 0);
    const __m128 *v = (const __m128 *)words;
    /* The upper halves of the eight words, four at a time: a tag and what of the pointer is below
     * it. Packing keeps the sign, which is the result of the tag. */
    __m128i a = _mm_castps_si128(_mm_shuffle_ps(v[0], v[1], _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i b = _mm_castps_si128(_mm_shuffle_ps(v[2], v[3], _MM_SHUFFLE(3, 1, 3, 1)));
    a = _mm_packs_epi32(_mm_cmpeq_epi16(a, same), _mm_cmpeq_epi16(b, same));
    return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(a, _mm_setzero_si128()));
#endif
}

/* Whether what is not in this bucket may be in its other one. */
static inline bool nc_index_has_strays(const _Atomic uint64_t *words)
{
    /* Relaxed: as with the tags, who inserted before us, by whatever order we know of, counted
     * before that. */
    return (atomic_load_explicit((_Atomic uint64_t *)words, memory_order_relaxed) &
            NC_STRAYS_MASK) != 0;
}

static inline __attribute__((always_inline)) struct nc_entry *
nc_index_in_bucket(const _Atomic uint64_t *words, uint16_t tag, uint32_t tier_epoch, uint32_t mask,
                   const void *name, size_t name_bytes)
{
    for (unsigned found = nc_index_match(words, tag); found; found &= found - 1) {
        /* Acquire pairs with the release of insertion: the entry's bytes are complete. */
        uint64_t word = atomic_load_explicit(
            (_Atomic uint64_t *)&words[(unsigned)__builtin_ctz(found)], memory_order_acquire);
        struct nc_entry *entry = nc_index_entry(word);
        if (!entry)
            continue;
        __builtin_prefetch((const char *)entry + 64);
        if (__builtin_expect(nc_entry_has_name(entry, tier_epoch, mask, name, name_bytes), 1))
            return entry;
    }
    return NULL;
}

/* Inside an epoch, or under the lock. `mask`: see nc_entry_has_name. */
static inline __attribute__((always_inline)) struct nc_entry *
nc_index_find(const struct nc_index_head *head, uint64_t hash, uint32_t tier_epoch, uint32_t mask,
              const void *name, size_t name_bytes)
{
    struct nc_index_view view = nc_index_view(head);
    uint16_t tag = nc_hash_tag(hash);
    const _Atomic uint64_t *words = nc_index_words(view, (uint32_t)hash);
    struct nc_entry *entry = nc_index_in_bucket(words, tag, tier_epoch, mask, name, name_bytes);
    if (__builtin_expect(entry != NULL, 1) || !nc_index_has_strays(words))
        return entry;
    /* Inlined twice rather than called: what is alive across a call is kept in memory. */
    uint32_t at = nc_index_first(view.buckets, (uint32_t)hash);
    return nc_index_in_bucket(view.table->words[nc_index_other(view.buckets, at, tag)], tag,
                              tier_epoch, mask, name, name_bytes);
}

/* Fetches both buckets, for who will have to look through both. A hint; in an epoch or not. */
void nc_index_prefetch_both(const struct nc_index_head *head, uint64_t hash);

/* Fetches the bucket in which a look-up begins. A hint. */
static inline void nc_index_prefetch_bucket(const struct nc_index_head *head, uint64_t hash)
{
    struct nc_index_view view = nc_index_view(head);
    __builtin_prefetch(nc_index_words(view, (uint32_t)hash));
}

/* The first entry of a tag in a bucket, its lines under way; NULL: there is none. */
static inline struct nc_entry *nc_index_guess_in(const _Atomic uint64_t *words, uint16_t tag)
{
    unsigned found = nc_index_match(words, tag);
    if (!found)
        return NULL;
    /* Acquire pairs with the release of insertion: the entry's bytes are complete. */
    struct nc_entry *entry = nc_index_entry(atomic_load_explicit(
        (_Atomic uint64_t *)&words[(unsigned)__builtin_ctz(found)], memory_order_acquire));
    __builtin_prefetch(entry);
    __builtin_prefetch((const char *)entry + 64);
    return entry;
}

/* The entry that is probably meant, of which no more was read than the bucket: its lines are on
 * their way. NULL: the other bucket is, or there is none. Inside an epoch. */
static inline struct nc_entry *nc_index_guess(const struct nc_index_head *head, uint64_t hash)
{
    struct nc_index_view view = nc_index_view(head);
    uint16_t tag = nc_hash_tag(hash);
    const _Atomic uint64_t *words = nc_index_words(view, (uint32_t)hash);
    struct nc_entry *entry = nc_index_guess_in(words, tag);
    if (!entry && nc_index_has_strays(words)) {
        uint32_t at = nc_index_first(view.buckets, (uint32_t)hash);
        __builtin_prefetch(view.table->words[nc_index_other(view.buckets, at, tag)]);
    }
    return entry;
}

/* After it, of several hashes of the ones whose first bucket had none: the same of the other. */
static inline struct nc_entry *nc_index_guess_other(const struct nc_index_head *head, uint64_t hash)
{
    struct nc_index_view view = nc_index_view(head);
    uint16_t tag = nc_hash_tag(hash);
    uint32_t at = nc_index_first(view.buckets, (uint32_t)hash);
    if (!nc_index_has_strays(view.table->words[at]))
        return NULL;
    return nc_index_guess_in(view.table->words[nc_index_other(view.buckets, at, tag)], tag);
}

#endif
