#include "sync/journal.h"

#include "base/sha1.h"

#include <stdlib.h>
#include <string.h>

void nc_journal_init(struct nc_journal *journal, struct nc_store *store,
                     const _Atomic uint64_t *seen, uint64_t bytes_most, uint64_t entries_most)
{
    memset(journal, 0, sizeof *journal);
    pthread_mutex_init(&journal->lock, NULL);
    journal->store = store;
    journal->seen = seen;
    journal->bytes_most = bytes_most;
    journal->entries_most = entries_most;
}

static size_t identity_bytes(size_t name_bytes) { return sizeof(uint32_t) + name_bytes; }

static size_t charge_of(const struct nc_intent *intent)
{
    return sizeof *intent + identity_bytes(intent->name_bytes) + intent->value_bytes;
}

/* Other programs write its key, too: values decide. Else versions do. */
static bool is_compared(const struct nc_intent *intent)
{
    return intent->tier->coherence == NEARCACHE_COHERENCE_TRACKING;
}

static void drop_reference_locked(struct nc_intent *intent)
{
    if (--intent->references == 0)
        free(intent);
}

static void unlink_locked(struct nc_journal *journal, struct nc_intent *intent)
{
    HASH_DEL(journal->table, intent);
    if (intent->older)
        intent->older->newer = intent->newer;
    else
        journal->oldest = intent->newer;
    if (intent->newer)
        intent->newer->older = intent->older;
    else
        journal->newest = intent->older;
    journal->bytes -= charge_of(intent);
    nc_budget_uncharge(journal->store, NC_BYTES_JOURNAL, charge_of(intent));
    atomic_fetch_sub_explicit(&journal->entries, 1, memory_order_release);
    drop_reference_locked(intent);
}

void nc_journal_deinit(struct nc_journal *journal)
{
    while (journal->oldest)
        unlink_locked(journal, journal->oldest);
    pthread_mutex_destroy(&journal->lock);
}

static void write_identity(unsigned char *identity, const struct nc_key *key)
{
    memcpy(identity, &key->tier->id, sizeof(uint32_t));
    memcpy(identity + sizeof(uint32_t), key->name, key->name_bytes);
}

/* Compares in place: the table's key would be a copy of the name, and memory for a long one might
 * be missing just when two intents of a key must not be taken for two keys. */
static struct nc_intent *find_locked(struct nc_journal *journal, const struct nc_key *key)
{
    unsigned bucket;
    if (!journal->table)
        return NULL;
    UT_hash_table *table = journal->table->hh.tbl;
    HASH_TO_BKT((unsigned)key->hash, table->num_buckets, bucket);
    for (UT_hash_handle *hh = table->buckets[bucket].hh_head; hh; hh = hh->hh_next) {
        struct nc_intent *intent = ELMT_FROM_HH(table, hh);
        if (intent->hash == key->hash && intent->tier == key->tier &&
            intent->name_bytes == key->name_bytes &&
            memcmp(nc_intent_name(intent), key->name, key->name_bytes) == 0)
            return intent;
    }
    return NULL;
}

static struct nc_intent *create(const struct nc_key *key, const void *value, size_t value_bytes)
{
    size_t identity = identity_bytes(key->name_bytes);
    struct nc_intent *intent = malloc(sizeof *intent + identity + value_bytes);
    if (!intent)
        return NULL;
    memset(intent, 0, sizeof *intent);
    intent->references = 1;
    intent->tier = key->tier;
    intent->hash = key->hash;
    intent->name_bytes = key->name_bytes;
    intent->value_bytes = value_bytes;
    intent->value = intent->identity + identity;
    write_identity(intent->identity, key);
    if (value_bytes)
        memcpy(intent->value, value, value_bytes);
    return intent;
}

static bool link_locked(struct nc_journal *journal, struct nc_intent *intent)
{
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, journal->table, intent->identity,
                                identity_bytes(intent->name_bytes), (unsigned)intent->hash, intent);
    if (!intent->hh.tbl)
        return false;
    intent->older = journal->newest;
    if (journal->newest)
        journal->newest->newer = intent;
    else
        journal->oldest = intent;
    journal->newest = intent;
    journal->bytes += charge_of(intent);
    nc_budget_charge(journal->store, NC_BYTES_JOURNAL, charge_of(intent));
    atomic_fetch_add(&journal->entries, 1); /* see nc_journal_put */
    return true;
}

static void add_digest(struct nc_intent *intent, const struct nc_digest *digest)
{
    for (unsigned i = 0; i < intent->digest_count && i < NC_DIGESTS; i++)
        if (memcmp(&intent->digests[i], digest, sizeof *digest) == 0)
            return;
    if (intent->digest_count < NC_DIGESTS)
        intent->digests[intent->digest_count] = *digest;
    intent->digest_count++;
}

void nc_digest_of(struct nc_digest *digest, const void *value, size_t value_bytes)
{
    struct nc_sha1_part part = {value, value_bytes};
    memset(digest, 0, sizeof *digest);
    if (value)
        nc_sha1_hex(&part, 1, digest->hex);
    else
        memcpy(digest->hex, NC_DIGEST_ABSENT, sizeof NC_DIGEST_ABSENT);
}

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* What the newer intent may find in Redis: what the older one might have, and, where a request was
 * in doubt, what that one would have left. */
static void add_digests(struct nc_intent *intent, const struct nc_intent *older,
                        const struct nc_digest *before)
{
    struct nc_digest own;
    if (!older) {
        if (before)
            add_digest(intent, before);
        return;
    }
    intent->doubt_until_ns =
        later(later(intent->doubt_until_ns, older->doubt_until_ns),
              later(older->not_before_ns, older->sent ? older->sent_until_ns : 0));
    for (unsigned i = 0; i < older->digest_count && i < NC_DIGESTS; i++)
        add_digest(intent, &older->digests[i]);
    if (older->digest_count > NC_DIGESTS)
        intent->digest_count = NC_DIGESTS + 1;
    if (older->not_before_ns == 0 && !older->sent)
        return;
    nc_digest_of(&own, older->op == NC_INTENT_SET ? older->value : NULL, older->value_bytes);
    add_digest(intent, &own);
}

/* One that was asked for before ends behind it. */
static void stand_for_locked(struct nc_intent *newer, const struct nc_intent *older)
{
    add_digests(newer, older, NULL);
    if (newer->not_before_ns < older->not_before_ns)
        newer->not_before_ns = older->not_before_ns;
}

/* An older own write of its key has left a value (NULL: none), whatever stood there before. */
static void follow_locked(struct nc_intent *intent, uint64_t version, const void *value,
                          size_t value_bytes)
{
    struct nc_digest left;
    if (intent->seen < version)
        intent->seen = version;
    /* What was in doubt before it had ended, too. */
    intent->digest_count = 0;
    intent->doubt_until_ns = 0;
    if (!is_compared(intent))
        return;
    nc_digest_of(&left, value, value_bytes);
    add_digest(intent, &left);
}

int nc_journal_put(struct nc_journal *journal, const struct nc_key *key, enum nc_intent_op op,
                   const void *value, size_t value_bytes, uint64_t taken_ns, uint64_t ends_ns,
                   uint64_t not_before_ns, const struct nc_digest *before)
{
    struct nc_intent *intent = create(key, value, value_bytes);
    if (!intent)
        return NEARCACHE_ENOMEM;
    intent->op = op;
    intent->taken_ns = taken_ns;
    intent->ends_ns = ends_ns;
    intent->not_before_ns = not_before_ns;

    int outcome = 0;
    pthread_mutex_lock(&journal->lock);
    struct nc_intent *older = find_locked(journal, key);
    /* Equal: the same batch, whose later part comes later. */
    if (older && older->taken_ns > taken_ns) {
        add_digests(intent, NULL, before);
        stand_for_locked(older, intent);
        pthread_mutex_unlock(&journal->lock);
        free(intent);
        return 0;
    }
    uint64_t bytes = journal->bytes + charge_of(intent) - (older ? charge_of(older) : 0);
    uint64_t entries = atomic_load(&journal->entries) + (older ? 0 : 1);
    add_digests(intent, older, before);
    if (bytes > journal->bytes_most || entries > journal->entries_most) {
        outcome = NEARCACHE_EFULL;
        free(intent);
    } else {
        /* A request in doubt of the older intent may still land: the newer one waits for it. */
        if (older && older->not_before_ns > intent->not_before_ns)
            intent->not_before_ns = older->not_before_ns;
        /* The newer one goes in first, so that failing to leaves the older one where it was. */
        if (!link_locked(journal, intent)) {
            outcome = NEARCACHE_ENOMEM;
            free(intent);
        } else {
            /* Sequentially consistent, and behind the count of entries: an older write that is
             * acknowledged just now finds this intent, or its version is found here. */
            intent->seen = atomic_load(journal->seen);
            if (older)
                unlink_locked(journal, older);
        }
    }
    pthread_mutex_unlock(&journal->lock);
    return outcome;
}

struct nc_intent *nc_journal_find(struct nc_journal *journal, const struct nc_key *key)
{
    if (nc_journal_entries(journal) == 0)
        return NULL;
    pthread_mutex_lock(&journal->lock);
    struct nc_intent *intent = find_locked(journal, key);
    if (intent)
        intent->references++;
    pthread_mutex_unlock(&journal->lock);
    return intent;
}

struct nc_intent *nc_journal_ready(struct nc_journal *journal, uint64_t io_ns, uint64_t *due_ns)
{
    struct nc_intent *intent;
    *due_ns = UINT64_MAX;
    pthread_mutex_lock(&journal->lock);
    for (intent = journal->oldest; intent; intent = intent->newer) {
        uint64_t ready_ns = later(intent->not_before_ns, intent->refused_until_ns);
        if (ready_ns <= io_ns)
            break;
        if (ready_ns < *due_ns)
            *due_ns = ready_ns;
    }
    if (intent)
        intent->references++;
    pthread_mutex_unlock(&journal->lock);
    return intent;
}

/* Intents that are tried again and again must leave time for those behind them. */
#define REFUSED_NS (2 * NC_NS_PER_S)
#define REFUSED_MOST_NS (10 * NC_NS_PER_S)

void nc_journal_refused(struct nc_journal *journal, struct nc_intent *intent, uint64_t io_ns)
{
    pthread_mutex_lock(&journal->lock);
    intent->refused_ns = intent->refused_ns ? intent->refused_ns * 2 : REFUSED_NS;
    if (intent->refused_ns > REFUSED_MOST_NS)
        intent->refused_ns = REFUSED_MOST_NS;
    intent->refused_until_ns = io_ns + intent->refused_ns;
    pthread_mutex_unlock(&journal->lock);
}

void nc_journal_release(struct nc_journal *journal, struct nc_intent *intent)
{
    pthread_mutex_lock(&journal->lock);
    drop_reference_locked(intent);
    pthread_mutex_unlock(&journal->lock);
}

static bool is_linked_locked(const struct nc_journal *journal, const struct nc_intent *intent)
{
    struct nc_intent *found = NULL;
    HASH_FIND_BYHASHVALUE(hh, journal->table, intent->identity, identity_bytes(intent->name_bytes),
                          (unsigned)intent->hash, found);
    return found == intent;
}

bool nc_journal_settle(struct nc_journal *journal, struct nc_intent *intent)
{
    pthread_mutex_lock(&journal->lock);
    bool linked = is_linked_locked(journal, intent);
    if (linked)
        unlink_locked(journal, intent);
    pthread_mutex_unlock(&journal->lock);
    return linked;
}

void nc_journal_depart(struct nc_journal *journal, struct nc_intent *intent, uint64_t until_ns,
                       struct nc_replaceable *replaceable)
{
    pthread_mutex_lock(&journal->lock);
    intent->sent = true;
    intent->sent_until_ns = later(intent->sent_until_ns, until_ns);
    replaceable->seen = intent->seen;
    replaceable->doubt_until_ns = intent->doubt_until_ns;
    replaceable->digest_count = intent->digest_count;
    for (unsigned i = 0; i < intent->digest_count && i < NC_DIGESTS; i++)
        replaceable->digests[i] = intent->digests[i];
    pthread_mutex_unlock(&journal->lock);
}

bool nc_journal_forget(struct nc_journal *journal, const struct nc_key *key, uint64_t taken_ns,
                       uint64_t version, const void *value, size_t value_bytes)
{
    if (atomic_load(&journal->entries) == 0) /* see nc_journal_put */
        return false;
    pthread_mutex_lock(&journal->lock);
    struct nc_intent *intent = find_locked(journal, key);
    bool newer = intent && intent->taken_ns > taken_ns;
    if (newer)
        follow_locked(intent, version, value, value_bytes);
    else if (intent)
        unlink_locked(journal, intent);
    pthread_mutex_unlock(&journal->lock);
    return newer;
}

void nc_journal_doubt(struct nc_journal *journal, const struct nc_key *key, uint64_t taken_ns,
                      uint64_t until_ns, const void *value, size_t value_bytes)
{
    struct nc_digest left;
    if (nc_journal_entries(journal) == 0)
        return;
    nc_digest_of(&left, value, value_bytes);
    pthread_mutex_lock(&journal->lock);
    struct nc_intent *intent = find_locked(journal, key);
    if (intent && intent->taken_ns > taken_ns) {
        intent->doubt_until_ns = later(intent->doubt_until_ns, until_ns);
        add_digest(intent, &left);
    }
    pthread_mutex_unlock(&journal->lock);
}

void nc_journal_follow(struct nc_journal *journal, const struct nc_intent *older, uint64_t version)
{
    struct nc_intent *newer = NULL;
    pthread_mutex_lock(&journal->lock);
    HASH_FIND_BYHASHVALUE(hh, journal->table, older->identity, identity_bytes(older->name_bytes),
                          (unsigned)older->hash, newer);
    if (newer)
        follow_locked(newer, version, older->op == NC_INTENT_SET ? older->value : NULL,
                      older->value_bytes);
    pthread_mutex_unlock(&journal->lock);
}

void nc_journal_forget_prefix(struct nc_journal *journal, struct nearcache_tier *tier,
                              const void *prefix, size_t prefix_bytes, uint64_t taken_ns,
                              uint64_t version)
{
    struct nc_digest absent;
    nc_digest_of(&absent, NULL, 0);
    pthread_mutex_lock(&journal->lock);
    for (struct nc_intent *intent = journal->oldest, *next; intent; intent = next) {
        next = intent->newer;
        if (intent->tier != tier || intent->name_bytes < prefix_bytes ||
            memcmp(nc_intent_name(intent), prefix, prefix_bytes) != 0)
            continue;
        if (intent->taken_ns <= taken_ns) {
            unlink_locked(journal, intent);
            continue;
        }
        /* It may find the key swept already, or not yet. */
        if (intent->seen < version)
            intent->seen = version;
        if (is_compared(intent))
            add_digest(intent, &absent);
    }
    pthread_mutex_unlock(&journal->lock);
}
