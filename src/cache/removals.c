#include "cache/removals.h"

/* What is called back may remove more, of which it is told before it goes on, so that it can know
 * its own; but the stack ends. */
#define TELLING_MOST 8

void nc_removals_tell_kept(struct nc_cache *cache, struct nc_cache_thread *self)
{
    while (self && self->holds == 0 && self->telling < TELLING_MOST && self->removed.first) {
        struct nc_removed removed = self->removed;
        self->removed = (struct nc_removed){NULL, NULL};
        self->telling++;
        nc_store_settle(&cache->store, &removed);
        self->telling--;
    }
}

void nc_removals_tell(struct nc_cache *cache, struct nc_cache_thread *self)
{
    if (!self)
        return;
    self->holds--;
    nc_removals_tell_kept(cache, self);
}

void nc_removals_add(struct nc_cache_thread *self, const struct nc_removed *removed)
{
    if (self->removed.last)
        nc_entry_set_newer(self->removed.last, removed->first);
    else
        self->removed.first = removed->first;
    self->removed.last = removed->last;
}
