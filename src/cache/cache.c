#include "cache/cache.h"

#include "base/hash.h"
#include "base/mutant.h"
#include "cache/hit.h"
#include "store/sweep.h"

#include <stdlib.h>
#include <string.h>

/* ---- init ---- */

static struct nearcache_tier *tier_of(struct nc_cache *cache, const struct nc_entry *entry)
{
    return nc_cache_tier_at(cache, nc_entry_tier(entry));
}

static void on_removal(void *arg, struct nc_entry *entry, enum nearcache_cause cause)
{
    struct nc_cache *cache = arg;
    struct nearcache_tier *tier = tier_of(cache, entry);
    struct nc_cache_thread *self = nc_cache_self(cache);
    static const enum nc_counter counter[] = {
        [NEARCACHE_CAUSE_EXPIRED] = NC_COUNT_removed_expired,
        [NEARCACHE_CAUSE_EVICTED] = NC_COUNT_removed_evicted,
        [NEARCACHE_CAUSE_REPLACED] = NC_COUNT_removed_replaced,
        [NEARCACHE_CAUSE_INVALIDATED] = NC_COUNT_removed_invalidated,
        [NEARCACHE_CAUSE_CLEARED] = NC_COUNT_removed_cleared,
    };
    nc_cache_count(self, tier, counter[cause], 1);
    if (!cache->on_removal)
        return;
    bool absent = nc_entry_is(entry, NC_ENTRY_NEGATIVE);
    struct nearcache_removal removal = {tier,
                                        nc_entry_name(entry),
                                        entry->name_bytes,
                                        absent ? NULL : nc_entry_value(entry),
                                        nc_entry_value_bytes(entry),
                                        cause};
    cache->on_removal(cache->on_removal_arg, &removal);
}

static bool is_dead(void *arg, const struct nc_entry *entry)
{
    struct nearcache_tier *tier = tier_of(arg, entry);
    uint32_t lane = nc_cache_lane_of(tier, nc_entry_name(entry), entry->name_bytes);
    return !nc_entry_is_of(entry, atomic_load_explicit(&tier->epochs[lane], memory_order_relaxed));
}

/* Copies of some tiers may stand in for a while after their time. */
static nc_tick lingers(void *arg, const struct nc_entry *entry)
{
    return nc_entry_is(entry, NC_ENTRY_NEGATIVE) ? 0 : tier_of(arg, entry)->linger_ticks;
}

/* Enough buckets that two keys seldom share one, and a 64th of the budget at most. */
static unsigned choose_bucket_bits(uint64_t budget_bytes, unsigned least)
{
    unsigned bits = least > 10 ? least : 10;
    while (bits < 20 && (sizeof(struct nc_bucket) << (bits + 1)) <= budget_bytes / 64)
        bits++;
    return bits;
}

static int init_lanes(struct nc_cache *cache, const struct nc_cache_config *config)
{
    cache->lane_count = config->lanes_most ? config->lanes_most : 1;
    cache->lane_of = config->lane_of;
    cache->lane_arg = config->lane_arg;
    while (1u << cache->lane_bits < cache->lane_count)
        cache->lane_bits++;
    cache->lanes = aligned_alloc(64, cache->lane_count * sizeof *cache->lanes);
    if (!cache->lanes)
        return NEARCACHE_ENOMEM;
    memset(cache->lanes, 0, cache->lane_count * sizeof *cache->lanes);
    for (uint32_t i = 0; i < cache->lane_count; i++) {
        atomic_init(&cache->lanes[i].link_generation, 1);
        atomic_init(&cache->lanes[i].link_epoch, 1);
    }
    return 0;
}

int nc_cache_init(struct nc_cache *cache, const struct nc_cache_config *config)
{
    memset(cache, 0, sizeof *cache);
    nc_clock_init(&cache->clock, config->clock, config->clock_arg);
    cache->hash_seed = config->hash_seed ? config->hash_seed : nc_hash_random();
    /* The coarse clock that hits are judged by is late by up to its resolution. */
    uint64_t late_ns = 8 * NC_NS_PER_MS;
    cache->lease_ns = config->lease_ns > late_ns ? config->lease_ns - late_ns : 0;
    cache->log = config->log;
    cache->audits = config->audits;
    cache->on_removal = config->on_removal;
    cache->on_removal_arg = config->on_removal_arg;
    int outcome = init_lanes(cache, config);
    if (outcome != 0)
        return outcome;
    if ((outcome = nc_life_init(&cache->life)) != 0)
        goto err_after_lanes;
    if ((outcome = nc_threads_init(&cache->threads, sizeof(struct nc_cache_thread))) != 0)
        goto err_after_life;
    struct nc_store_config store = {
        .budget_bytes = config->budget_bytes,
        .capacity_entries = config->capacity_entries,
        .shards = config->shards,
        .on_removal = on_removal,
        .is_dead = is_dead,
        .lingers = lingers,
        .arg = cache,
    };
    if ((outcome = nc_store_init(&cache->store, &store, &cache->threads)) != 0)
        goto err_after_threads;
    cache->bucket_bits =
        choose_bucket_bits(config->budget_bytes, cache->store.shard_bits + cache->lane_bits);
    cache->buckets = calloc((size_t)1 << cache->bucket_bits, sizeof *cache->buckets);
    if (!cache->buckets) {
        outcome = NEARCACHE_ENOMEM;
        goto err_after_store;
    }
    nc_budget_charge(&cache->store, NC_BYTES_FIXED,
                     (sizeof *cache->buckets << cache->bucket_bits) + sizeof *cache);
    pthread_mutex_init(&cache->tiers_lock, NULL);
    return 0;

err_after_store:
    nc_store_deinit(&cache->store);
err_after_threads:
    nc_threads_deinit(&cache->threads);
err_after_life:
    nc_life_deinit(&cache->life);
err_after_lanes:
    free(cache->lanes);
    return outcome;
}

bool nc_cache_deinit(struct nc_cache *cache)
{
    if (!nc_store_deinit(&cache->store))
        return false;
    for (struct nc_thread *t = nc_threads_first(&cache->threads); t; t = t->next)
        for (unsigned i = 0; i < NEARCACHE_MAX_TIERS; i++)
            free(atomic_load(&((struct nc_cache_thread *)t)->counters[i]));
    nc_threads_deinit(&cache->threads);
    for (uint32_t i = 0; i < NEARCACHE_MAX_TIERS; i++)
        free(atomic_load(&cache->tiers[i]));
    free(cache->buckets);
    free(cache->lanes);
    pthread_mutex_destroy(&cache->tiers_lock);
    nc_life_deinit(&cache->life);
    return true;
}

/* ---- tiers ---- */

static bool overlaps(const struct nearcache_tier *a, const struct nearcache_tier *b)
{
    size_t common = a->prefix_bytes < b->prefix_bytes ? a->prefix_bytes : b->prefix_bytes;
    return memcmp(a->prefix, b->prefix, common) == 0;
}

/* Redis refuses overlapping prefixes of BCAST tracking, and an empty one overlaps with all. */
static const char *conflict_locked(struct nc_cache *cache, const struct nearcache_tier *tier)
{
    bool tracks = tier->linked && tier->coherence == NEARCACHE_COHERENCE_TRACKING;
    if (tracks && tier->prefix_bytes == 0)
        return "a tier in tracking mode needs a prefix";
    for (uint32_t i = 0; nc_cache_tier_at(cache, i); i++) {
        const struct nearcache_tier *other = nc_cache_tier_at(cache, i);
        if (strcmp(other->name, tier->name) == 0)
            return "a tier of that name is open";
        if (tracks && other->coherence == NEARCACHE_COHERENCE_TRACKING && overlaps(other, tier))
            return "the prefixes of two tiers in tracking mode overlap";
    }
    return NULL;
}

static enum nearcache_policy policy_of(const struct nearcache_tier *tier)
{
    return tier->policy == NEARCACHE_POLICY_DEFAULT ? NEARCACHE_POLICY_LRU : tier->policy;
}

int nc_cache_tier_open(struct nc_cache *cache, const struct nearcache_tier_config *config,
                       void *owner, bool linked, struct nearcache_tier **out, const char **why)
{
    struct nearcache_tier *tier = aligned_alloc(64, (sizeof *tier + 63) / 64 * 64);
    *why = "out of memory";
    if (!tier)
        return NEARCACHE_ENOMEM;
    int outcome = nc_tier_init(tier, config, linked, why);
    if (outcome != 0) {
        free(tier);
        return outcome;
    }
    tier->cache = cache;
    tier->timed = tier->proven || cache->clock.now;
    tier->after_hit = tier->after_hit || (cache->audits && tier->proven);
    tier->plain = !tier->timed && !tier->after_hit && !cache->lane_of;
    tier->alive = cache->life.word;
    tier->owner = owner;
    pthread_mutex_lock(&cache->tiers_lock);
    const char *conflict = conflict_locked(cache, tier);
    uint32_t count = atomic_load(&cache->tier_count);
    if (conflict || count == NEARCACHE_MAX_TIERS) {
        *why = conflict ? conflict : "256 tiers are open";
        free(tier);
        outcome = NEARCACHE_ECONFIG;
    } else if (!(tier->partition = nc_store_tier_open(&cache->store, count, policy_of(tier),
                                                      (uint32_t)tier->budget_share_percent))) {
        free(tier);
        outcome = NEARCACHE_ENOMEM;
    } else {
        tier->id = count;
        nc_hash_secret(&tier->secret, cache->hash_seed, count);
        tier->heads = cache->store.heads;
        tier->sharding = cache->store.sharding;
        if (tier->partition->policy == NEARCACHE_POLICY_LRU)
            tier->generations = tier->partition->generations;
        /* Release pairs with the acquire in nc_cache_tier_at. */
        atomic_store_explicit(&cache->tiers[count], tier, memory_order_release);
        atomic_store(&cache->tier_count, count + 1);
        *out = tier;
    }
    pthread_mutex_unlock(&cache->tiers_lock);
    return outcome;
}

struct nearcache_tier *nc_cache_tier_find(struct nc_cache *cache, const char *name)
{
    struct nearcache_tier *tier;
    for (uint32_t i = 0; (tier = nc_cache_tier_at(cache, i)); i++)
        if (strcmp(tier->name, name) == 0)
            return tier;
    return NULL;
}

/* ---- counting ---- */

void nc_cache_count_first(struct nc_cache_thread *self, struct nearcache_tier *tier,
                          enum nc_counter which, uint64_t n)
{
    struct nc_counters *counters = self ? aligned_alloc(64, sizeof *counters) : NULL;
    if (!counters) {
        nc_counter_add_shared(&tier->shared, which, n);
        return;
    }
    memset(counters, 0, sizeof *counters);
    nc_counter_add(counters, which, n);
    /* Release pairs with the acquire of who sums: the block is filled in. */
    atomic_store_explicit(&self->counters[tier->id], counters, memory_order_release);
}

void nc_cache_counters(struct nearcache_tier *tier, uint64_t sum[NC_COUNTERS])
{
    struct nc_counters *counters;
    memset(sum, 0, NC_COUNTERS * sizeof sum[0]);
    nc_counters_sum(sum, &tier->shared);
    for (struct nc_thread *t = nc_threads_first(&tier->cache->threads); t; t = t->next) {
        counters = atomic_load_explicit(&((struct nc_cache_thread *)t)->counters[tier->id],
                                        memory_order_acquire);
        if (counters)
            nc_counters_sum(sum, counters);
    }
}

/* ---- reading ---- */

static enum nc_found find_old(struct nc_cache_thread *self, const struct nc_key *key,
                              uint64_t max_stale_ns, struct nearcache_result *result)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    enum nc_found found = NC_FOUND_NOTHING;
    uint32_t epoch = atomic_load_explicit(&tier->epochs[key->lane], memory_order_acquire);

    nc_epoch_enter(&cache->store.epoch, &self->reader);
    struct nc_entry *entry = nc_hit_lookup(key, nc_entry_tier_epoch(tier->id, epoch));
    if (entry) {
        uint64_t now_ns = nc_clock_now_ns(&cache->clock);
        bool absent = nc_entry_is(entry, NC_ENTRY_NEGATIVE);
        if (max_stale_ns != 0 && nc_cache_stale_age_ns(key, entry, now_ns) <= max_stale_ns)
            found = nc_hit_take(self, key, entry, nc_entry_flags(entry), now_ns,
                                absent ? NC_FOUND_OLD_ABSENCE : NC_FOUND_OLD, result);
    }
    nc_epoch_leave(&self->reader);
    return found;
}

enum nc_found nc_cache_find(struct nc_cache_thread *self, const struct nc_key *key, bool stale,
                            uint64_t max_stale_ns, struct nearcache_result *result)
{
    enum nc_found found = nc_hit_find(self, key, result);
    return found == NC_FOUND_NOTHING && stale ? find_old(self, key, max_stale_ns, result) : found;
}

uint64_t nc_cache_stale_age_ns(const struct nc_key *key, const struct nc_entry *entry,
                               uint64_t now_ns)
{
    const struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    uint64_t age_ns = nc_tick_to_ms(nc_tick_of(now_ns) - entry->birth_tick) * NC_NS_PER_MS;
    uint64_t last_ns =
        atomic_load_explicit(&cache->lanes[key->lane].last_proof_ns, memory_order_relaxed);
    /* While the link was proven the copy was true, however old it is. */
    if (tier->proven && last_ns) {
        uint64_t unproven_ns = nc_hit_proof_age_ns(cache, last_ns, now_ns);
        return unproven_ns < age_ns ? unproven_ns : age_ns;
    }
    return age_ns;
}

int nc_cache_hold(struct nc_cache_thread *self, struct nearcache_tier *tier, struct nc_entry *entry,
                  struct nearcache_result *result)
{
    struct nc_cache *cache = tier->cache;
    struct nc_pin pin = nc_epoch_pin_again(&cache->store.epoch, &self->reader, entry);
    if (!pin.entry)
        return NEARCACHE_ENOMEM;
    nc_hit_put_times(result, entry, nc_entry_flags(entry), nc_clock_now_ns(&cache->clock));
    nc_hit_put_pin(result, pin, nc_entry_value(entry), nc_entry_value_bytes(entry));
    return 0;
}

int nc_cache_hold_new(struct nc_cache_thread *self, struct nearcache_tier *tier,
                      struct nc_entry *entry, uint64_t now_ns, struct nearcache_result *result)
{
    struct nc_pin pin = nc_epoch_pin(&tier->cache->store.epoch, &self->reader, entry);
    if (!pin.entry)
        return NEARCACHE_ENOMEM;
    nc_hit_put_times(result, entry, nc_entry_flags(entry), now_ns);
    nc_hit_put_pin(result, pin, nc_entry_value(entry), nc_entry_value_bytes(entry));
    return 0;
}

struct nc_entry *nc_cache_held_entry(const struct nearcache_result *result)
{
    return (struct nc_entry *)result->internal[0];
}

/* ---- tickets and filling ---- */

/* The highest bits are those of the shard, whose lock guards it; the lowest tell lanes apart, whose
 * versions cannot be compared. */
static struct nc_bucket *bucket_of(const struct nc_cache *cache, const struct nc_key *key)
{
    return &cache->buckets[key->hash >> (64 - cache->bucket_bits + cache->lane_bits)
                                            << cache->lane_bits |
                           key->lane];
}

struct nc_ticket nc_cache_ticket(const struct nc_key *key)
{
    struct nc_cache *cache = key->tier->cache;
    struct nc_ticket ticket;
    /* Acquire pairs with the writers of each: what is read from Redis after this is not older than
     * what the ticket stands for. */
    ticket.generation =
        atomic_load_explicit(&cache->lanes[key->lane].link_generation, memory_order_acquire);
    ticket.epoch = atomic_load_explicit(&key->tier->epochs[key->lane], memory_order_acquire);
    ticket.changes = atomic_load_explicit(&bucket_of(cache, key)->changes, memory_order_acquire);
    return ticket;
}

enum nc_found nc_cache_load_begin(struct nc_cache_thread *self, const struct nc_key *key, bool look,
                                  struct nc_ticket *ticket, struct nearcache_result *result)
{
    struct nc_shard *shard = nc_store_shard(&key->tier->cache->store, key->hash);
    nc_shard_lock(shard);
    *ticket = nc_cache_ticket(key);
    enum nc_found found = look ? nc_hit_find(self, key, result) : NC_FOUND_NOTHING;
    if (found != NC_FOUND_FRESH)
        shard->loads++;
    nc_shard_unlock(shard);
    return found;
}

void nc_cache_load_end(const struct nc_key *key)
{
    struct nc_shard *shard = nc_store_shard(&key->tier->cache->store, key->hash);
    nc_shard_lock(shard);
    shard->loads--;
    nc_shard_unlock(shard);
}

struct nc_entry *nc_cache_entry_create(struct nc_cache_thread *self, const struct nc_key *key,
                                       size_t value_bytes, bool absent)
{
    struct nc_store *store = &key->tier->cache->store;
    nc_cache_announce(key);
    uint8_t flags =
        (uint8_t)((absent ? NC_ENTRY_NEGATIVE : 0) | (key->tier->row_bytes ? NC_ENTRY_ALIGNED : 0));
    size_t bytes = nc_entry_bytes(key->name_bytes, value_bytes, flags);
    void *block = bytes ? nc_epoch_alloc(&store->epoch, &self->reader, bytes) : NULL;
    return block ? nc_entry_init(block, key->hash, key->tier->id, key->name, key->name_bytes,
                                 value_bytes, flags)
                 : NULL;
}

void nc_cache_entry_destroy(struct nearcache_tier *tier, struct nc_entry *entry)
{
    nc_entry_destroy(&tier->cache->store.arena, entry);
}

void nc_cache_entry_times(struct nc_cache_thread *self, const struct nc_key *key,
                          struct nc_entry *entry, uint64_t now_ns, uint64_t ttl_ns)
{
    entry->birth_tick = nc_tick_of(now_ns);
    if (ttl_ns == NEARCACHE_NONE || ttl_ns > (UINT64_C(1) << (31 + NC_TICK_SHIFT)) - 1)
        return;
    ttl_ns = nc_tier_local_ttl_ns(key->tier, ttl_ns, nc_hash_step(&self->random));
    /* Rounded down: what is over is over by the reader's coarser clock too. */
    atomic_store_explicit(&entry->expiry_tick, nc_tick_of(now_ns + ttl_ns), memory_order_relaxed);
    nc_entry_set(entry, NC_ENTRY_EXPIRES);
}

void nc_cache_orphan(struct nc_cache_thread *self, struct nearcache_tier *tier,
                     struct nc_entry *entry)
{
    (void)self;
    nc_epoch_retire(&tier->cache->store.epoch, entry);
}

int nc_cache_copy(struct nc_cache_thread *self, const struct nc_key *key, const void *value,
                  size_t value_bytes, struct nearcache_result *result)
{
    struct nc_entry *entry = nc_cache_entry_create(self, key, value_bytes, false);
    if (!entry)
        return NEARCACHE_ENOMEM;
    if (value_bytes)
        memcpy(nc_entry_value(entry), value, value_bytes);
    uint64_t now_ns = nc_clock_now_ns(&key->tier->cache->clock);
    entry->birth_tick = nc_tick_of(now_ns);
    int outcome = nc_cache_hold_new(self, key->tier, entry, now_ns, result);
    nc_cache_orphan(self, key->tier, entry);
    return outcome;
}

void nc_cache_announce(const struct nc_key *key)
{
    struct nc_cache *cache = key->tier->cache;
    if (key->tier->linked)
        __builtin_prefetch(bucket_of(cache, key), 1);
    nc_index_prefetch_both(nc_store_head(&cache->store, key->hash), key->hash);
    nc_shard_announce(&cache->store, key->hash, key->tier->partition);
}

void nc_cache_approach(struct nc_cache_thread *self, const struct nc_key *key)
{
    struct nc_store *store = &key->tier->cache->store;
    nc_epoch_enter(&store->epoch, &self->reader);
    nc_index_guess(nc_store_head(store, key->hash), key->hash);
    nc_epoch_leave(&self->reader);
}

/* R3, R4: whether what was read or written may still be kept. */
static bool may_keep_locked(const struct nc_key *key, const struct nc_ticket *ticket,
                            uint64_t version)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    const struct nc_bucket *bucket = bucket_of(cache, key);
    if (NC_MUTANT(no_ticket))
        return true;
    if (ticket->epoch != atomic_load_explicit(&tier->epochs[key->lane], memory_order_acquire))
        return false;
    if (ticket->generation != 0 &&
        ticket->generation !=
            atomic_load_explicit(&cache->lanes[key->lane].link_generation, memory_order_acquire))
        return false;
    if (version == 0)
        return ticket->changes == atomic_load_explicit(&bucket->changes, memory_order_relaxed);
    return bucket->epoch !=
               atomic_load_explicit(&cache->lanes[key->lane].link_epoch, memory_order_acquire) ||
           bucket->version <= version;
}

static bool is_over(const struct nc_entry *entry, nc_tick now)
{
    return nc_entry_is(entry, NC_ENTRY_EXPIRES) &&
           !nc_tick_after(
               atomic_load_explicit(&((struct nc_entry *)entry)->expiry_tick, memory_order_relaxed),
               now);
}

/* An absence does not take the place of a value that was not deleted but ended: if a loader fails
 * to make a new one, that value is what there is. */
static bool stands_in(const struct nearcache_tier *tier, const struct nc_entry *old,
                      const struct nc_entry *entry, nc_tick now)
{
    if (!old || old->tier_epoch != entry->tier_epoch || nc_entry_is(old, NC_ENTRY_NEGATIVE) ||
        !nc_entry_is(entry, NC_ENTRY_NEGATIVE))
        return false;
    return nc_entry_is(old, NC_ENTRY_OLD) || (tier->linger_ticks != 0 && is_over(old, now));
}

bool nc_cache_fill(struct nc_cache_thread *self, const struct nc_key *key,
                   const struct nc_ticket *ticket, struct nc_entry *entry)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_store *store = &tier->cache->store;
    struct nc_shard *shard = nc_store_shard(store, key->hash);
    struct nc_removed removed = {NULL, NULL};
    bool raced = false, kept = false;
    nc_cache_approach(self, key); /* the entry that it may replace */
    nc_shard_lock(shard);
    uint32_t epoch = ticket ? ticket->epoch
                            : atomic_load_explicit(&tier->epochs[key->lane], memory_order_acquire);
    entry->tier_epoch = nc_entry_tier_epoch(tier->id, epoch);
    /* A line of memory that only loaders look at. Release pairs with the acquire in
     * nc_cache_ticket. */
    if (!ticket && shard->loads != 0)
        atomic_fetch_add_explicit(&bucket_of(tier->cache, key)->changes, 1, memory_order_release);
    if (ticket && !may_keep_locked(key, ticket, nc_entry_version(entry))) {
        raced = true;
    } else {
        nc_tick now = 0;
        struct nc_entry *old =
            nc_shard_find_locked(shard, key->hash, tier->id, key->name, key->name_bytes);
        if (old) {
            __builtin_prefetch(nc_entry_newer(old), 1);
            __builtin_prefetch(nc_entry_older(old), 1);
        }
        if (nc_shard_needs_time_locked(shard, entry) || (old && tier->linger_ticks != 0))
            now = nc_tick_of(nc_clock_now_ns(&tier->cache->clock));
        /* An insert never replaces an entry of a higher version. */
        if (old && old->tier_epoch == entry->tier_epoch &&
            nc_entry_version(old) > nc_entry_version(entry))
            raced = true;
        else if (!stands_in(tier, old, entry, now))
            kept = nc_shard_insert_locked(shard, entry, old, now, &removed);
    }
    nc_shard_unlock(shard);
    nc_store_settle(store, &removed);
    if (raced)
        nc_cache_count(self, tier, NC_COUNT_race_discards, 1);
    if (!kept)
        nc_cache_orphan(self, tier, entry);
    return kept;
}

/* ---- dropping ---- */

void nc_cache_observe(struct nc_cache_thread *self, const struct nc_key *key, uint64_t version,
                      enum nearcache_cause cause)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    struct nc_bucket *bucket = bucket_of(cache, key);
    struct nc_shard *shard = nc_store_shard(&cache->store, key->hash);
    struct nc_removed removed = {NULL, NULL};
    (void)self;
    nc_shard_lock(shard);
    uint32_t link_epoch =
        atomic_load_explicit(&cache->lanes[key->lane].link_epoch, memory_order_acquire);
    if (bucket->epoch != link_epoch || bucket->version < version) {
        bucket->epoch = link_epoch;
        bucket->version = version;
    }
    /* Release pairs with the acquire in nc_cache_ticket. */
    atomic_fetch_add_explicit(&bucket->changes, 1, memory_order_release);
    struct nc_entry *entry =
        nc_shard_find_locked(shard, key->hash, tier->id, key->name, key->name_bytes);
    if (entry && nc_entry_version(entry) < version)
        nc_shard_remove_locked(shard, entry, cause, &removed);
    nc_shard_unlock(shard);
    nc_store_settle(&cache->store, &removed);
}

void nc_cache_drop(struct nc_cache_thread *self, const struct nc_key *key,
                   enum nearcache_cause cause)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    struct nc_shard *shard = nc_store_shard(&cache->store, key->hash);
    struct nc_removed removed = {NULL, NULL};
    (void)self;
    nc_shard_lock(shard);
    atomic_fetch_add_explicit(&bucket_of(cache, key)->changes, 1, memory_order_release);
    struct nc_entry *entry =
        nc_shard_find_locked(shard, key->hash, tier->id, key->name, key->name_bytes);
    if (entry)
        nc_shard_remove_locked(shard, entry, cause, &removed);
    nc_shard_unlock(shard);
    nc_store_settle(&cache->store, &removed);
}

/* The live local copy of a key, under its shard's lock. */
static struct nc_entry *live_locked(struct nc_shard *shard, const struct nc_key *key)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_entry *entry =
        nc_shard_find_locked(shard, key->hash, tier->id, key->name, key->name_bytes);
    if (entry &&
        nc_entry_is_of(entry,
                       atomic_load_explicit(&tier->epochs[key->lane], memory_order_acquire)) &&
        !nc_entry_is(entry, NC_ENTRY_NEGATIVE))
        return entry;
    return NULL;
}

bool nc_cache_expire(struct nc_cache_thread *self, const struct nc_key *key)
{
    struct nc_shard *shard = nc_store_shard(&key->tier->cache->store, key->hash);
    nc_tick now = nc_tick_of(nc_clock_now_ns(&key->tier->cache->clock));
    (void)self;
    nc_shard_lock(shard);
    struct nc_entry *entry = live_locked(shard, key);
    bool here = entry && !is_over(entry, now);
    if (here)
        nc_entry_set(entry, NC_ENTRY_OLD);
    nc_shard_unlock(shard);
    return here;
}

bool nc_cache_touch(struct nc_cache_thread *self, const struct nc_key *key, uint64_t ttl_ns,
                    uint64_t version)
{
    struct nearcache_tier *tier = key->tier;
    struct nc_cache *cache = tier->cache;
    struct nc_shard *shard = nc_store_shard(&cache->store, key->hash);
    uint64_t now_ns = nc_clock_now_ns(&cache->clock);
    if (ttl_ns > tier->local_ttl_ns)
        ttl_ns = tier->local_ttl_ns;
    nc_shard_lock(shard);
    struct nc_entry *entry = live_locked(shard, key);
    bool here = entry && !is_over(entry, nc_tick_of(now_ns));
    if (here) {
        if (ttl_ns == NEARCACHE_NONE) {
            nc_entry_clear(entry, NC_ENTRY_EXPIRES);
        } else {
            ttl_ns = nc_tier_local_ttl_ns(tier, ttl_ns, nc_hash_step(&self->random));
            atomic_store_explicit(&entry->expiry_tick, nc_tick_of(now_ns + ttl_ns),
                                  memory_order_relaxed);
            nc_entry_set(entry, NC_ENTRY_EXPIRES);
            nc_shard_touched_locked(shard, entry, nc_tick_of(now_ns));
        }
        if (version) {
            struct nc_bucket *bucket = bucket_of(cache, key);
            bucket->epoch =
                atomic_load_explicit(&cache->lanes[key->lane].link_epoch, memory_order_acquire);
            bucket->version = version > bucket->version ? version : bucket->version;
            nc_entry_set_version(entry, version);
        }
    }
    nc_shard_unlock(shard);
    return here;
}

void nc_cache_tier_lane_epoch(struct nearcache_tier *tier, uint32_t lane)
{
    /* Release pairs with the acquires of hits and tickets. */
    atomic_fetch_add_explicit(&tier->epochs[lane], 1, memory_order_release);
}

void nc_cache_tier_epoch(struct nearcache_tier *tier)
{
    for (uint32_t lane = 0; lane < tier->cache->lane_count; lane++)
        nc_cache_tier_lane_epoch(tier, lane);
}

void nc_cache_link_epoch(struct nc_cache *cache, uint32_t lane)
{
    struct nearcache_tier *tier;
    atomic_fetch_add_explicit(&cache->lanes[lane].link_epoch, 1, memory_order_release);
    for (uint32_t i = 0; (tier = nc_cache_tier_at(cache, i)); i++)
        if (tier->proven)
            nc_cache_tier_lane_epoch(tier, lane);
}

struct prefix {
    const struct nearcache_tier *tier;
    const void *bytes;
    size_t count;
};

static bool has_prefix(void *arg, const struct nc_entry *entry)
{
    const struct prefix *prefix = arg;
    return nc_entry_tier(entry) == prefix->tier->id && entry->name_bytes >= prefix->count &&
           memcmp(entry->name, prefix->bytes, prefix->count) == 0;
}

uint64_t nc_cache_drop_prefix(struct nc_cache_thread *self, struct nearcache_tier *tier,
                              const void *prefix, size_t prefix_bytes)
{
    struct prefix match = {tier, prefix_bytes ? prefix : "", prefix_bytes};
    (void)self;
    return nc_store_remove_if(&tier->cache->store, has_prefix, &match, NEARCACHE_CAUSE_CLEARED);
}

uint64_t nc_cache_clear(struct nc_cache_thread *self, struct nearcache_tier *tier,
                        const void *prefix, size_t prefix_bytes)
{
    /* Release pairs with the acquire of may_keep_locked: who keeps something by an older ticket has
     * done so before the shard is looked through. Loaders of other keys begin again, too. */
    for (uint32_t lane = 0; lane < tier->cache->lane_count; lane++)
        atomic_fetch_add_explicit(&tier->cache->lanes[lane].link_generation, 1,
                                  memory_order_release);
    return nc_cache_drop_prefix(self, tier, prefix, prefix_bytes);
}

bool nc_cache_sweep(struct nc_cache *cache)
{
    struct nearcache_tier *tier;
    uint64_t epochs = 0;
    for (uint32_t i = 0; (tier = nc_cache_tier_at(cache, i)); i++)
        for (uint32_t lane = 0; lane < cache->lane_count; lane++)
            epochs += atomic_load_explicit(&tier->epochs[lane], memory_order_relaxed);
    uint64_t now_ns = nc_clock_now_ns(&cache->clock);
    atomic_store_explicit(&cache->recent_ns, now_ns, memory_order_relaxed);
    return nc_sweep(&cache->store, nc_tick_of(now_ns), epochs);
}
