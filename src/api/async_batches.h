/*
 * api/async_batches: the end of what the exported functions of nearcache/async.h begin that read
 * many keys.
 */
#ifndef NC_API_ASYNC_BATCHES_H
#define NC_API_ASYNC_BATCHES_H

#include "api/async_op.h"

/* The end of a batch: the caller's arrays are complete. Returns its outcome. */
int nc_async_hand_over(struct nc_async_op *op);

#endif
