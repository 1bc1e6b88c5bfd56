/*
 * api/statuses: what a call of many keys returns: the statuses of its keys as one.
 */
#ifndef NC_API_STATUSES_H
#define NC_API_STATUSES_H

#include <stddef.h>

/* The first failure among them, 0 if there is none (absent keys are none). */
static inline int nc_statuses_first_failure(const int *statuses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (statuses[i] < 0)
            return statuses[i];
    return 0;
}

/* All of them, if there are any, are the outcome of the whole call, which is returned. */
static inline int nc_statuses_fail_all(int outcome, int *statuses, size_t count)
{
    for (size_t i = 0; statuses && i < count; i++)
        statuses[i] = outcome;
    return outcome;
}

#endif
