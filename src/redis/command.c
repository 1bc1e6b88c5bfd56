#include "redis/command.h"

#include <stdlib.h>
#include <string.h>

void nc_command_init(struct nc_command *command)
{
    command->bytes = command->small;
    command->used = 0;
    command->room = sizeof command->small;
    command->replies = 0;
    command->failed = false;
}

void nc_command_deinit(struct nc_command *command)
{
    if (command->bytes != command->small)
        free(command->bytes);
}

static char *reserve(struct nc_command *command, size_t more)
{
    if (command->failed)
        return NULL;
    if (command->room - command->used < more) {
        size_t room = (command->used + more) * 2;
        char *old = command->bytes == command->small ? NULL : command->bytes;
        char *grown = realloc(old, room);
        if (!grown) {
            command->failed = true;
            return NULL;
        }
        if (!old)
            memcpy(grown, command->small, command->used);
        command->bytes = grown;
        command->room = room;
    }
    return command->bytes + command->used;
}

/* `*12\r\n` or `$12\r\n`; room for it has been reserved. */
static char *put_header(char *at, char kind, size_t number)
{
    char digits[20];
    int n = 0;
    *at++ = kind;
    do
        digits[n++] = (char)('0' + number % 10);
    while (number /= 10);
    while (n > 0)
        *at++ = digits[--n];
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

void nc_command_begin(struct nc_command *command, size_t args)
{
    char *at = reserve(command, 24);
    if (at)
        command->used = (size_t)(put_header(at, '*', args) - command->bytes);
    command->replies++;
}

void nc_command_arg(struct nc_command *command, const void *data, size_t bytes)
{
    nc_command_arg2(command, data, bytes, NULL, 0);
}

void nc_command_arg2(struct nc_command *command, const void *a, size_t a_bytes, const void *b,
                     size_t b_bytes)
{
    char *at = reserve(command, a_bytes + b_bytes + 26);
    if (!at)
        return;
    at = put_header(at, '$', a_bytes + b_bytes);
    if (a_bytes)
        memcpy(at, a, a_bytes);
    if (b_bytes)
        memcpy(at + a_bytes, b, b_bytes);
    at += a_bytes + b_bytes;
    *at++ = '\r';
    *at++ = '\n';
    command->used = (size_t)(at - command->bytes);
}

void nc_command_append(struct nc_command *command, const struct nc_command *other)
{
    char *at = reserve(command, other->used);
    if (!at)
        return;
    memcpy(at, other->bytes, other->used);
    command->used += other->used;
    command->replies += other->replies;
}
