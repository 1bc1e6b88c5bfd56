#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void nc_log_init(struct nc_log *log, nearcache_log_fn fn, void *arg, enum nearcache_log_level level)
{
    log->fn = fn;
    log->arg = arg;
    log->level = level;
}

void nc_log_write(const struct nc_log *log, enum nearcache_log_level level, const char *format, ...)
{
    char line[512];
    va_list args;
    if (!log || !log->fn || level > log->level)
        return;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    log->fn(log->arg, level, line);
}
