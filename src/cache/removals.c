#include "cache/removals.h"

void nc_removals_tell_kept(struct nc_cache *cache, struct nc_cache_thread *self)
{
    /* What is called back may remove more, and tells of that by itself. */
    while (self && self->holds == 0 && self->removed.first) {
        struct nc_removed removed = self->removed;
        self->removed = (struct nc_removed){NULL, NULL};
        nc_store_settle(&cache->store, &removed);
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
