/*
 * sync/journal: the newest intent per key of an outage, in memory only, bounded in entries and
 * bytes. Nothing is dropped silently: a full journal refuses the write.
 *
 * Newest is what was asked for last, whatever ends first: a write may wait out its deadline behind
 * an older one of its key that is still under way. So an older one never takes the place of a newer
 * one, and being acknowledged it removes none.
 *
 * What an intent writes is constant once put; what it may replace grows as older writes of the key
 * end. Who works on one holds a reference, and settles it only while it is still the newest.
 * Thread-safe (one lock; reads that find the journal empty take none).
 */
#ifndef NC_SYNC_JOURNAL_H
#define NC_SYNC_JOURNAL_H

#include "base/table.h"
#include "cache/cache.h"

/*
 * Values of a key that an intent may replace. Where other programs write too: what was last seen
 * here and what may have been written from here since; with more of them nothing is replaced. Where
 * versions decide: what older writes from here may have left, of which nobody knows whether they
 * were applied, and under which version; with more of them that version may refuse the intent.
 */
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
    uint64_t taken_ns; /* machine's monotonic time of the write */
    uint64_t ends_ns;  /* when its TTL is over, same clock; NEARCACHE_NONE: never */
    /* These are guarded by the journal's lock; not_before_ns moves only with the key's flight. */
    uint64_t not_before_ns;                /* a request in doubt may still be applied until then */
    uint64_t refused_until_ns, refused_ns; /* by Redis: until then, and for how long each time */
    uint64_t seen; /* the largest version known here when it was made, or of an older own write */
    bool sent;     /* a replay has left, so its value may be found */
    uint64_t sent_until_ns;  /* ... and be applied until then */
    uint64_t doubt_until_ns; /* until then older own writes may have been applied */
    uint32_t references;
    size_t name_bytes, value_bytes;
    unsigned char *value;                 /* behind the identity, in the same block */
    struct nc_digest digests[NC_DIGESTS]; /* same lock */
    unsigned digest_count;                /* more than NC_DIGESTS: too many to know. Same lock */
    /* What the table is keyed by: the tier's id, then the name. */
    unsigned char identity[];
};

/* What an intent may replace, as far as it is known at one moment. */
struct nc_replaceable {
    uint64_t seen, doubt_until_ns;
    struct nc_digest digests[NC_DIGESTS];
    unsigned digest_count;
};

struct nc_journal {
    pthread_mutex_t lock;
    struct nc_intent *table;
    struct nc_intent *oldest, *newest;
    uint64_t bytes, bytes_most, entries_most;
    _Atomic uint64_t entries;
    struct nc_store *store;       /* whose budget is charged */
    const _Atomic uint64_t *seen; /* the largest version known here */
};

void nc_journal_init(struct nc_journal *journal, struct nc_store *store,
                     const _Atomic uint64_t *seen, uint64_t bytes_most, uint64_t entries_most);
void nc_journal_deinit(struct nc_journal *journal);

static inline const void *nc_intent_name(const struct nc_intent *intent)
{
    return intent->identity + sizeof(uint32_t);
}

/* Of a value; NULL: of none. */
void nc_digest_of(struct nc_digest *digest, const void *value, size_t value_bytes);

/*
 * Puts an intent in place of an older one of its key; where a newer one is pending, that one stands
 * for both. Name and value are copied. `before` (NULL: unknown) is the value that was last seen
 * here. 0, NEARCACHE_EFULL (the older one stays), NEARCACHE_ENOMEM.
 */
int nc_journal_put(struct nc_journal *journal, const struct nc_key *key, enum nc_intent_op op,
                   const void *value, size_t value_bytes, uint64_t taken_ns, uint64_t ends_ns,
                   uint64_t not_before_ns, const struct nc_digest *before);

/* The pending intent of a key, referenced, or NULL. */
struct nc_intent *nc_journal_find(struct nc_journal *journal, const struct nc_key *key);
/* The oldest intent that may be replayed at io_ns, referenced, or NULL; *due_ns: when the next may.
 */
struct nc_intent *nc_journal_ready(struct nc_journal *journal, uint64_t io_ns, uint64_t *due_ns);
/* Redis refuses it for now: it is ready again in some seconds, and others go first. */
void nc_journal_refused(struct nc_journal *journal, struct nc_intent *intent, uint64_t io_ns);
void nc_journal_release(struct nc_journal *journal, struct nc_intent *intent);
/* A replay of it is about to leave, and may be applied until then. */
void nc_journal_depart(struct nc_journal *journal, struct nc_intent *intent, uint64_t until_ns,
                       struct nc_replaceable *replaceable);
/* Removes the intent if it is still the newest of its key. True: it was. Keeps the reference. */
bool nc_journal_settle(struct nc_journal *journal, struct nc_intent *intent);
/*
 * A write of the key that was asked for at taken_ns was acknowledged, and left this value (NULL:
 * none) at this version (0: unknown): forgets what was asked for before. What was asked for after
 * it stays and may replace it. True: that is pending. To be called with the key's flight, and once
 * the version is in *seen, where what is put after this call finds it.
 */
bool nc_journal_forget(struct nc_journal *journal, const struct nc_key *key, uint64_t taken_ns,
                       uint64_t version, const void *value, size_t value_bytes);
/* The same, and nobody knows whether it was applied; if, then until `until_ns`. */
void nc_journal_doubt(struct nc_journal *journal, const struct nc_key *key, uint64_t taken_ns,
                      uint64_t until_ns, const void *value, size_t value_bytes);
/* The replay of an intent was applied at this version after a newer one took its place, which may
 * replace what it left. To be called with the key's flight. */
void nc_journal_follow(struct nc_journal *journal, const struct nc_intent *older, uint64_t version);
/* The tier was cleared up to a name prefix, at this version (0: unknown), as was asked for at
 * taken_ns: forgets what is pending below it and was asked for before. */
void nc_journal_forget_prefix(struct nc_journal *journal, struct nearcache_tier *tier,
                              const void *prefix, size_t prefix_bytes, uint64_t taken_ns,
                              uint64_t version);

static inline uint64_t nc_journal_entries(const struct nc_journal *journal)
{
    /* Acquire pairs with the release in put: who learns of a write from its caller sees it here. */
    return atomic_load_explicit(&journal->entries, memory_order_acquire);
}

#endif
