/* uthash as most people use it: a table, a list and a lock per shard. 16 shards. */
#ifndef BENCH_STORE_UTHASH_H
#define BENCH_STORE_UTHASH_H

/* A stronger and faster hash than uthash's own, the same for every peer; and no exit() on OOM. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(element) ((element)->table_failed = 1)
#include <uthash.h>
#include <utlist.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define UTHASH_SHARDS 16u

#endif
