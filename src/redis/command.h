/*
 * redis/command: one or more commands as the bytes of the protocol (RESP arrays of bulk strings).
 * Running out of memory is remembered and reported when the buffer is used. One thread.
 */
#ifndef NC_REDIS_COMMAND_H
#define NC_REDIS_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct nc_command {
    char *bytes;
    size_t used, room;
    uint32_t replies; /* commands begun: as many replies are due */
    bool failed;      /* out of memory; the bytes are worthless */
    char small[512];
};

void nc_command_init(struct nc_command *command);
void nc_command_deinit(struct nc_command *command);
/* Begins a command of `args` words, the command's name included. */
void nc_command_begin(struct nc_command *command, size_t args);
void nc_command_arg(struct nc_command *command, const void *data, size_t bytes);
/* All commands of another. */
void nc_command_append(struct nc_command *command, const struct nc_command *other);
/* One argument in two pieces. */
void nc_command_arg2(struct nc_command *command, const void *a, size_t a_bytes, const void *b,
                     size_t b_bytes);

#endif
