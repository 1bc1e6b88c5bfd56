/*
 * api/async_calls: what the exported functions of nearcache/async.h have in common.
 */
#ifndef NC_API_ASYNC_CALLS_H
#define NC_API_ASYNC_CALLS_H

#include "api/async.h"
#include "api/call.h"

/* The cache's, made when it is needed first. 0, NEARCACHE_ENOMEM, NEARCACHE_EIO. */
int nc_async_of(struct nearcache *cache, struct nc_async **async);

/* The local copy if it is fresh, and no write of the key has been asked for meanwhile. */
bool nc_async_read_hit(struct nc_call_context *call, const struct nc_key *key,
                       struct nearcache_result *result, int *outcome);

/* Completes and submits a read; NULL: it could not be made. NEARCACHE_PENDING, or why not, and it
 * is gone. */
int nc_async_submit_read(struct nc_call_context *call, struct nc_async_op *op,
                         const struct nc_read_options *options, nearcache_ticket *ticket);

#endif
