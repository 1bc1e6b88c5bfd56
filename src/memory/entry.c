#include "memory/entry.h"

size_t nc_entry_bytes(size_t name_bytes, size_t value_bytes, uint8_t flags)
{
    size_t offset = nc_entry_value_offset(name_bytes, value_bytes, flags & NC_ENTRY_ALIGNED);
    return value_bytes > UINT32_MAX - offset ? 0 : offset + value_bytes;
}

struct nc_entry *nc_entry_init(void *block, uint64_t hash, uint32_t tier, const void *name,
                               size_t name_bytes, size_t value_bytes, uint8_t flags)
{
    struct nc_entry *entry = block;
    memset(entry, 0, sizeof *entry);
    atomic_init(&entry->version_flags, flags);
    entry->hash = (uint32_t)hash;
    entry->tier_epoch = nc_entry_tier_epoch(tier, 0);
    entry->name_bytes = (uint16_t)name_bytes;
    entry->value_bytes = (uint32_t)value_bytes;
    memcpy(entry->name, name, name_bytes);
    return entry;
}

struct nc_entry *nc_entry_create(struct nc_arena *arena, uint32_t heap, uint64_t hash,
                                 uint32_t tier, const void *name, size_t name_bytes,
                                 size_t value_bytes, uint8_t flags)
{
    size_t bytes = nc_entry_bytes(name_bytes, value_bytes, flags);
    void *block = bytes ? nc_arena_alloc(arena, heap, bytes) : NULL;
    return block ? nc_entry_init(block, hash, tier, name, name_bytes, value_bytes, flags) : NULL;
}

struct nc_entry *nc_entry_copy(struct nc_arena *arena, const struct nc_entry *entry)
{
    struct nc_entry *from = (struct nc_entry *)entry;
    size_t bytes = (size_t)((char *)nc_entry_value(entry) - (char *)entry) + entry->value_bytes;
    struct nc_entry *copy = nc_arena_alloc(arena, nc_arena_heap_of(arena, entry), bytes);
    if (!copy)
        return NULL;
    memset(copy, 0, sizeof *copy);
    /* Relaxed: the lock's holder writes all but the mark, which is a hint. */
    atomic_init(&copy->version_flags,
                atomic_load_explicit(&from->version_flags, memory_order_relaxed));
    atomic_init(&copy->expiry_tick, atomic_load_explicit(&from->expiry_tick, memory_order_relaxed));
    atomic_init(&copy->mark, atomic_load_explicit(&from->mark, memory_order_relaxed));
    copy->hash = entry->hash;
    copy->tier_epoch = entry->tier_epoch;
    copy->birth_tick = entry->birth_tick;
    copy->value_bytes = entry->value_bytes;
    copy->name_bytes = entry->name_bytes;
    copy->queue = entry->queue;
    memcpy(copy->name, entry->name, bytes - offsetof(struct nc_entry, name));
    return copy;
}

void nc_entry_destroy(struct nc_arena *arena, struct nc_entry *entry)
{
    if (entry)
        nc_arena_free(arena, entry);
}
