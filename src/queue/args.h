/*
 * queue/args: the arguments of a command or script, copied into one piece of memory as they are
 * added. A failed allocation is remembered in `text.failed`.
 */
#ifndef NC_QUEUE_ARGS_H
#define NC_QUEUE_ARGS_H

#include "queue/text.h"

/* One thread. All zero is empty. */
struct nc_args {
    struct nc_text text;
    size_t *ends; /* where each argument ends in the text */
    size_t count, capacity;
};

void nc_args_deinit(struct nc_args *args);
void nc_args_clear(struct nc_args *args);
void nc_args_add(struct nc_args *args, const void *data, size_t bytes);
void nc_args_add_string(struct nc_args *args, const char *string);
void nc_args_add_int(struct nc_args *args, int64_t number);
/* "" when there is none. */
void nc_args_add_count(struct nc_args *args, uint64_t number);

static inline const char *nc_args_at(const struct nc_args *args, size_t index, size_t *bytes)
{
    size_t begin = index ? args->ends[index - 1] : 0;
    *bytes = args->ends[index] - begin;
    return args->text.data + begin;
}

#endif
