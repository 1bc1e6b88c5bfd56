/*
 * store/index: one shard's hash table: 64-byte buckets of 8 words `tag16 | pointer48`; a key may
 * stand in two of them. Finding takes no lock (inside an epoch); inserting and removing are the
 * shard's lock holder's. It neither allocates nor frees entries.
 */
#ifndef NC_STORE_INDEX_H
#define NC_STORE_INDEX_H

#include "base/hash.h"
#include "memory/entry.h"

#include <stdbool.h>

#define NC_BUCKET_WORDS 8

struct nc_index_table {
    struct nc_index_table *next; /* of those that wait to be freed */
    uint64_t retired_at;
    uint32_t mask;
    _Alignas(64) _Atomic uint64_t words[][NC_BUCKET_WORDS];
};

struct nc_index {
    struct nc_index_table *_Atomic table;
    uint32_t used;
};

int nc_index_init(struct nc_index *index, uint32_t buckets);
void nc_index_deinit(struct nc_index *index);

struct nc_entry *nc_index_find(const struct nc_index *index, uint64_t hash, uint32_t tier,
                               const void *name, size_t name_bytes);
/* False: both buckets are full. */
bool nc_index_insert(struct nc_index *index, struct nc_entry *entry);
/* Puts `entry` where `old` stands: a reader finds one or the other. */
void nc_index_replace(struct nc_index *index, struct nc_entry *old, struct nc_entry *entry);
void nc_index_remove(struct nc_index *index, struct nc_entry *entry);
/* Some entry of the first bucket, to make room in it. */
struct nc_entry *nc_index_victim(const struct nc_index *index, uint64_t hash);
/* A table of twice the size; the old one is handed out to be freed when nobody reads it. NULL:
 * out of memory, all is as it was. */
struct nc_index_table *nc_index_grow(struct nc_index *index);
size_t nc_index_bytes(const struct nc_index *index);
/* The entries of bucket `at`; returns how many. */
unsigned nc_index_bucket(const struct nc_index *index, uint32_t at,
                         struct nc_entry *entries[NC_BUCKET_WORDS]);
uint32_t nc_index_buckets(const struct nc_index *index);

#endif
