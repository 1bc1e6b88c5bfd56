/*
 * base/table: uthash as this library uses it: running out of memory is reported (hh.tbl is NULL
 * after a failed add) and never ends the process. Tables off the hit path only; callers lock.
 * Keys are hashed by base/hash (seeded) and go in and out with the ..._BYHASHVALUE forms, so that
 * nobody who chooses keys can choose collisions.
 */
#ifndef NC_BASE_TABLE_H
#define NC_BASE_TABLE_H

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#endif
