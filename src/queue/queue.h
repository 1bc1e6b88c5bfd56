/*
 * queue/queue: the handle of one queue, and what the other files of this folder share: its keys,
 * its connection, its defaults, and how an answer of a script becomes an outcome.
 */
#ifndef NC_QUEUE_QUEUE_H
#define NC_QUEUE_QUEUE_H

#include "nearcache/queue.h"
#include "queue/options.h"
#include "queue/remote.h"

#include <stdatomic.h>
#include <sys/types.h>

/* Immutable after opening but for `children`: thread-safe. */
struct nearcache_queue {
    char *name;
    char *prefix; /* "bull" */
    char *keys;   /* "bull:mail:", what every key begins with */
    struct nc_remote *remote;
    struct nc_log log;
    uint64_t timeout_us;
    uint64_t max_events;
    pid_t pid; /* that opened it: the copy of a fork answers NEARCACHE_EFORK */
    bool has_defaults;
    struct nearcache_job_options defaults;
    char *defaults_json;
    int preset;           /* enum nearcache_preset_queue, or -1 */
    atomic_uint children; /* workers and event readers */
    atomic_bool warned;   /* looked at maxmemory-policy already */
};

uint64_t nc_queue_now_ms(void);
uint64_t nc_queue_deadline_ns(const struct nearcache_queue *queue);
/* NEARCACHE_EFORK in a child of fork(), NEARCACHE_EINVAL for NULL, else 0. */
int nc_queue_usable(const struct nearcache_queue *queue);

/* Logs at ERROR that an argument is wrong and returns NEARCACHE_EINVAL. */
int nc_queue_refuse(const struct nearcache_queue *queue, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Refuses what is not JSON, by name. NULL with 0 bytes is accepted. */
int nc_queue_check_json(const struct nearcache_queue *queue, const char *what, const void *json,
                        size_t bytes);

/* Runs a script and frees the arguments' memory; a failed allocation in them is NEARCACHE_ENOMEM.
 */
int nc_queue_script(struct nearcache_queue *queue, enum nc_queue_script script,
                    struct nc_args *args, struct nc_value **answer);
/* The same when the answer is one number. */
int nc_queue_script_int(struct nearcache_queue *queue, enum nc_queue_script script,
                        struct nc_args *args, int64_t *number);
/* A plain command, arguments freed as above. */
int nc_queue_command(struct nearcache_queue *queue, struct nc_args *args, struct nc_value **answer);
/* Adds keys + suffix as an argument. */
void nc_queue_add_key(const struct nearcache_queue *queue, struct nc_args *args,
                      const char *suffix);

#endif
