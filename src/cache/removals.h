/*
 * cache/removals: when on_removal is told. It may call back, and what it calls may wait: for a
 * key's flight, or for a reply that whoever leads a connection reads. So a thread that has either
 * of them holds what it removes, and tells when it has let go of all.
 *
 *     nc_removals_hold(self);
 *     ...                              what is removed here by this thread is not told
 *     nc_removals_tell(cache, self);   the outermost one tells
 *
 * A callback that removes is told of that in a call within its own, eight deep; further ones wait.
 * Without a callback nothing is held: what was removed is retired at once. What is held keeps its
 * memory, so a hold lasts for a call of Redis and not for a batch of many, nor for a loader. `self`
 * is the calling thread's record; NULL, where there was no memory for one: nothing is held.
 */
#ifndef NC_CACHE_REMOVALS_H
#define NC_CACHE_REMOVALS_H

#include "cache/cache.h"

static inline void nc_removals_hold(struct nc_cache_thread *self)
{
    if (self)
        self->holds++;
}

void nc_removals_tell(struct nc_cache *cache, struct nc_cache_thread *self);

/* Ends a hold and leaves it to the next one that ends to tell. */
static inline void nc_removals_keep(struct nc_cache_thread *self)
{
    if (self)
        self->holds--;
}

/* Tells what was kept, unless more is held. */
void nc_removals_tell_kept(struct nc_cache *cache, struct nc_cache_thread *self);

/* Adds to what the thread holds. */
void nc_removals_add(struct nc_cache_thread *self, const struct nc_removed *removed);

/* What was removed under a shard's lock, which is let go: told and retired, or held. */
static inline void nc_removals_settle(struct nc_cache *cache, struct nc_cache_thread *self,
                                      struct nc_removed *removed)
{
    if (!removed->first || !self || !cache->on_removal) {
        nc_store_settle(&cache->store, removed);
        return;
    }
    nc_removals_add(self, removed);
    nc_removals_tell_kept(cache, self);
}

#endif
