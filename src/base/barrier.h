/*
 * base/barrier: a full barrier in all running threads of the process at once (membarrier, Linux
 * 4.14): what a seldom path pays so that a frequent one needs none. Thread-safe.
 *
 * The frequent side stores, then loads, with a compiler's barrier between; the other stores, calls
 * nc_barrier_all, then loads. At least one of them sees what the other has stored.
 */
#ifndef NC_BASE_BARRIER_H
#define NC_BASE_BARRIER_H

#include <stdbool.h>

/* Once in a process, any number of times; false: the kernel has none. */
bool nc_barrier_register(void);
/* False: it was not done; never after nc_barrier_register was true. */
bool nc_barrier_all(void);

#endif
