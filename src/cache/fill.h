/*
 * cache/fill: entries of one's own: made, filled in, and handed to the cache, which keeps them if
 * nothing has happened meanwhile that would make them untrue.
 */
#ifndef NC_CACHE_FILL_H
#define NC_CACHE_FILL_H

#include "cache/ticket.h"

/* Hints: a write to the key comes soon. First of all keys the one, then of all the other: what each
 * write would wait for alone is then waited for together. */
void nc_cache_announce(const struct nc_key *key);
void nc_cache_approach(struct nc_cache_thread *self, const struct nc_key *key);

/*
 * A private entry for `key`, to be filled by the caller and handed to nc_cache_fill. NULL: out of
 * memory. `aligned` values start on a 64-byte line whatever their size.
 */
struct nc_entry *nc_cache_entry_create(struct nc_cache_thread *self, const struct nc_key *key,
                                       size_t value_bytes, bool absent);
/* Sets when the entry was read (now_ns) and when it is over; jitter is taken off here. */
void nc_cache_entry_times(struct nc_cache_thread *self, const struct nc_key *key,
                          struct nc_entry *entry, uint64_t now_ns, uint64_t ttl_ns);

/* Destroys a private entry that nobody holds. */
void nc_cache_entry_destroy(struct nearcache_tier *tier, struct nc_entry *entry);
/* A private entry that is not to be cached: it lives as long as the pins that were taken of it. */
void nc_cache_orphan(struct nc_cache_thread *self, struct nearcache_tier *tier,
                     struct nc_entry *entry);

/* As nc_cache_hold, for a private one. */
int nc_cache_hold_new(struct nc_cache_thread *self, struct nearcache_tier *tier,
                      struct nc_entry *entry, uint64_t now_ns, struct nearcache_result *result);

/* An orphan made of bytes, pinned in the result. 0 or NEARCACHE_ENOMEM. */
int nc_cache_copy(struct nc_cache_thread *self, const struct nc_key *key, const void *value,
                  size_t value_bytes, struct nearcache_result *result);

/*
 * Inserts a private entry if its ticket still holds and, when it has a version, nothing newer is
 * known. Either way the entry now belongs to the cache, and `pin` (taken before) keeps it readable
 * for the caller. True: it is cached. False: it is not (a race discard when `raced`, counted).
 * Without a ticket it is a write where there is no Redis: nothing can be newer, and the same step
 * voids the tickets of loaders, so that one that began before cannot undo it.
 */
bool nc_cache_fill(struct nc_cache_thread *self, const struct nc_key *key,
                   const struct nc_ticket *ticket, struct nc_entry *entry);

/*
 * Around a loader where there is no Redis to order its value and writes. From the beginning on each
 * write to the key voids the ticket. What was written before is looked for, where `look` says so,
 * under the lock of the writers: a look without it may miss an entry that is just moving. As
 * nc_cache_find; with NC_FOUND_FRESH there is nothing to load and no end to come.
 */
enum nc_found nc_cache_load_begin(struct nc_cache_thread *self, const struct nc_key *key, bool look,
                                  struct nc_ticket *ticket, struct nearcache_result *result);
void nc_cache_load_end(const struct nc_key *key);

#endif
