/*
 * sync/journal: the newest intent per key of an outage, in memory only, bounded in entries and
 * bytes. Nothing is dropped silently: a full journal refuses the write.
 *
 * An intent is immutable once put; a newer one of the same key takes its place. Who works on one
 * holds a reference, and acknowledging removes an intent only while it is still the newest.
 * Thread-safe (one lock; reads that find the journal empty take none).
 */
#ifndef NC_SYNC_JOURNAL_H
#define NC_SYNC_JOURNAL_H

#include "base/table.h"
#include "cache/cache.h"

/* Values of a key that an intent may replace where other programs write too: what was last seen
 * here and what may have been written from here since. With more of them nothing is replaced. */
#define NC_DIGESTS 4
#define NC_DIGEST_ABSENT "-"
struct nc_digest {
    char hex[41]; /* SHA-1, or NC_DIGEST_ABSENT */
};

enum nc_intent_op { NC_INTENT_SET, NC_INTENT_DELETE };

struct nc_intent {
    UT_hash_handle hh;
    struct nc_intent *older, *newer; /* in the order of the keys' first intents */
    struct nearcache_tier *tier;
    enum nc_intent_op op;
    uint64_t hash;
    uint64_t taken_ns;      /* machine's monotonic time of the write */
    uint64_t ends_ns;       /* when its TTL is over, same clock; NEARCACHE_NONE: never */
    uint64_t not_before_ns; /* a request in doubt may still be applied until then */
    uint64_t seen;          /* the largest version known here when it was made */
    uint32_t references;    /* guarded by the journal's lock */
    size_t name_bytes, value_bytes;
    unsigned char *value;      /* behind the identity, in the same block */
    struct nc_digest *digests; /* behind the value; NULL: the tier has versions */
    unsigned digest_count;     /* more than NC_DIGESTS: too many to know */
    /* What the table is keyed by: the tier's id, then the name. */
    unsigned char identity[];
};

struct nc_journal {
    pthread_mutex_t lock;
    struct nc_intent *table;
    struct nc_intent *oldest, *newest;
    uint64_t bytes, bytes_most, entries_most;
    _Atomic uint64_t entries;
    struct nc_store *store; /* whose budget is charged */
};

void nc_journal_init(struct nc_journal *journal, struct nc_store *store, uint64_t bytes_most,
                     uint64_t entries_most);
void nc_journal_deinit(struct nc_journal *journal);

static inline const void *nc_intent_name(const struct nc_intent *intent)
{
    return intent->identity + sizeof(uint32_t);
}

/* Of a value; NULL: of none. */
void nc_digest_of(struct nc_digest *digest, const void *value, size_t value_bytes);

/*
 * Puts an intent in place of an older one of its key. `intent` gives all fields but the links;
 * name and value are copied. `before` (NULL: unknown) is the value that was last seen here. 0,
 * NEARCACHE_EFULL (the older one stays), NEARCACHE_ENOMEM.
 */
int nc_journal_put(struct nc_journal *journal, const struct nc_key *key, enum nc_intent_op op,
                   const void *value, size_t value_bytes, uint64_t taken_ns, uint64_t ends_ns,
                   uint64_t not_before_ns, uint64_t seen, const struct nc_digest *before);

/* The pending intent of a key, referenced, or NULL. */
struct nc_intent *nc_journal_find(struct nc_journal *journal, const struct nc_key *key);
/* The oldest intent that may be replayed at io_ns, referenced, or NULL; *due_ns: when the next may.
 */
struct nc_intent *nc_journal_ready(struct nc_journal *journal, uint64_t io_ns, uint64_t *due_ns);
void nc_journal_release(struct nc_journal *journal, struct nc_intent *intent);
/* Removes the intent if it is still the newest of its key. True: it was. Keeps the reference. */
bool nc_journal_settle(struct nc_journal *journal, struct nc_intent *intent);
/* A newer write of the key was acknowledged. */
void nc_journal_forget(struct nc_journal *journal, const struct nc_key *key);
/* The tier was cleared up to a name prefix: forgets what is pending below it. */
void nc_journal_forget_prefix(struct nc_journal *journal, struct nearcache_tier *tier,
                              const void *prefix, size_t prefix_bytes);

static inline uint64_t nc_journal_entries(const struct nc_journal *journal)
{
    /* Acquire pairs with the release in put: who learns of a write from its caller sees it here. */
    return atomic_load_explicit(&journal->entries, memory_order_acquire);
}

#endif
