/*
 * base/log: one user callback for diagnostics, silent by default. Lines carry no secrets: callers
 * never pass passwords, URLs with credentials, keys or values. Thread-safe; set once at open.
 */
#ifndef NC_BASE_LOG_H
#define NC_BASE_LOG_H

#include "nearcache.h"

struct nc_log {
    nearcache_log_fn fn; /* NULL: silent */
    void *arg;
    enum nearcache_log_level level;
};

void nc_log_init(struct nc_log *log, nearcache_log_fn fn, void *arg,
                 enum nearcache_log_level level);

/* Formats into a line of at most 511 bytes; does nothing when silent or below the level. */
void nc_log_write(const struct nc_log *log, enum nearcache_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
