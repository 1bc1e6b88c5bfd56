#include "memory/entry.h"

struct nc_entry *nc_entry_create(struct nc_arena *arena, uint32_t heap, uint64_t hash,
                                 uint32_t tier, const void *name, size_t name_bytes,
                                 size_t value_bytes, uint8_t flags)
{
    size_t offset = nc_entry_value_offset(name_bytes, value_bytes, flags & NC_ENTRY_ALIGNED);
    if (value_bytes > UINT32_MAX - offset)
        return NULL;
    struct nc_entry *entry = nc_arena_alloc(arena, heap, offset + value_bytes);
    if (!entry)
        return NULL;
    memset(entry, 0, sizeof *entry);
    atomic_init(&entry->version_flags, flags);
    entry->hash = (uint32_t)hash;
    entry->tier_epoch = nc_entry_tier_epoch(tier, 0);
    entry->name_bytes = (uint16_t)name_bytes;
    entry->value_bytes = (uint32_t)value_bytes;
    memcpy(entry->name, name, name_bytes);
    return entry;
}

void nc_entry_destroy(struct nc_arena *arena, struct nc_entry *entry)
{
    if (entry)
        nc_arena_free(arena, entry);
}
