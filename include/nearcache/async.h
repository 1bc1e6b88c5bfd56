/*
 * nearcache/async.h: the same cache from an event loop, whose thread never waits.
 *
 *     watch nearcache_fd(cache) for reading; when it is readable:   nearcache_dispatch(cache, 0);
 *     nearcache_get_async(products, "42", 2, NULL, on_product, request, NULL);
 *
 * A call either completes at once (a local hit: the callback is NOT called, the outcome is the
 * return value) or returns NEARCACHE_PENDING; its callback then runs exactly once, inside
 * nearcache_dispatch, on the thread that calls it. Deadlines are kept by the one descriptor:
 * there is no timer to arm. Synchronous callers may use the same cache at the same time.
 *
 * What has to ask Redis is carried by the loop itself, on a connection of its own: what is asked
 * for alone leaves at once, what is asked for while others are under way leaves with others in one
 * request, and nearcache_dispatch reads the replies. Of large batches only so much is under way at
 * a time that a get made meanwhile is not kept waiting.
 *
 * A few threads of the cache stand by for what would have to be waited for: calls made before the
 * loop's connection is there, keys that a synchronous caller is writing or whose last write waits
 * for Redis, writes in doubt because the connection broke. None is started before one is needed.
 *
 * Calls of one key run in the order in which they were made: a write waits for the reads of the key
 * that are under way, a read for the writes, and a local copy is no answer meanwhile.
 *
 * Calls may be made on any thread; callbacks run in the dispatch. nearcache_close drops what has
 * not been dispatched: those callbacks never run.
 */
#ifndef NEARCACHE_ASYNC_H
#define NEARCACHE_ASYNC_H

#include <nearcache.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { NEARCACHE_PENDING = 3 /* the callback will be called */ };

/* Identifies a pending call of a cache; never 0, never used again. */
typedef uint64_t nearcache_ticket;

/*
 * The end of a read. `status` is what nearcache_get would have returned; when it is 0 the result
 * is the callee's to release (copy the struct out to keep it longer).
 */
typedef void (*nearcache_get_fn)(void *arg, int status, struct nearcache_result *result);
/* The end of a batch: the arrays that were given to the call are complete. */
typedef void (*nearcache_many_fn)(void *arg, int status);
/* The end of a write: what nearcache_set would have returned. */
typedef void (*nearcache_set_fn)(void *arg, int status);

/*
 * As nearcache_get, without waiting. Returns 0 (hit; *result filled, callback not called),
 * NEARCACHE_MISS (known absent), NEARCACHE_PENDING (*ticket, unless NULL, names the call), or an
 * error. The name is copied.
 */
int nearcache_get_async(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                        const struct nearcache_read *how, nearcache_get_fn done, void *arg,
                        struct nearcache_result *result, nearcache_ticket *ticket);

/*
 * As nearcache_get_many and nearcache_get_vectors (without a loader). What is here is taken at
 * once; when that is all, the call is complete and returns what they would have. Names are copied;
 * results, matrix, statuses and sources are the caller's and must stay until the callback or a
 * cancel. Until the callback only statuses tell something: a row that is under way has
 * NEARCACHE_PENDING.
 */
int nearcache_get_many_async(struct nearcache_tier *tier, const struct nearcache_name *names,
                             size_t count, const struct nearcache_read *how,
                             struct nearcache_result *results, int *statuses,
                             nearcache_many_fn done, void *arg, nearcache_ticket *ticket);
int nearcache_get_vectors_async(struct nearcache_tier *tier, const struct nearcache_name *names,
                                size_t count, const struct nearcache_read *how, void *matrix,
                                size_t row_stride_bytes, int *statuses,
                                enum nearcache_source *sources, nearcache_many_fn done, void *arg,
                                nearcache_ticket *ticket);

/* As nearcache_set and nearcache_delete. Name and value are copied. */
int nearcache_set_async(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                        const void *value, size_t value_bytes, const struct nearcache_write *how,
                        nearcache_set_fn done, void *arg, nearcache_ticket *ticket);
int nearcache_delete_async(struct nearcache_tier *tier, const void *name, size_t name_bytes,
                           const struct nearcache_write *how, nearcache_set_fn done, void *arg,
                           nearcache_ticket *ticket);

/*
 * Gives a pending call up: after it returned 0 its callback will not run and the caller's arrays
 * are free again; a write may still happen. NEARCACHE_MISS: it has ended or is ending (its callback
 * has run, is running, or will run in the current dispatch). On the thread that dispatches.
 */
int nearcache_cancel(struct nearcache *cache, nearcache_ticket ticket);

/*
 * A descriptor that is readable whenever nearcache_dispatch has something to do. It belongs to
 * the cache; level-triggered; only poll it. Negative: an error code (NEARCACHE_EIO, EFORK).
 */
int nearcache_fd(struct nearcache *cache);

/*
 * Runs the callbacks that are due, at most `most` of them (0: all), and returns how many ran, or
 * a negative error. Never waits. One thread at a time.
 */
int nearcache_dispatch(struct nearcache *cache, unsigned most);

#ifdef __cplusplus
}
#endif

#endif
