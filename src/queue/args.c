#include "queue/args.h"

#include <stdlib.h>
#include <string.h>

void nc_args_deinit(struct nc_args *args)
{
    nc_text_deinit(&args->text);
    free(args->ends);
    memset(args, 0, sizeof *args);
}

void nc_args_clear(struct nc_args *args)
{
    nc_text_clear(&args->text);
    args->count = 0;
}

void nc_args_add(struct nc_args *args, const void *data, size_t bytes)
{
    if (args->count == args->capacity) {
        size_t capacity = args->capacity ? args->capacity * 2 : 32;
        size_t *ends = realloc(args->ends, capacity * sizeof *ends);
        if (!ends) {
            args->text.failed = true;
            return;
        }
        args->ends = ends;
        args->capacity = capacity;
    }
    nc_text_add(&args->text, data, bytes);
    args->ends[args->count++] = args->text.bytes;
}

void nc_args_add_string(struct nc_args *args, const char *string)
{
    nc_args_add(args, string, strlen(string));
}

void nc_args_add_int(struct nc_args *args, int64_t number)
{
    struct nc_text digits = {0};
    nc_text_add_int(&digits, number);
    if (digits.failed)
        args->text.failed = true;
    else
        nc_args_add(args, digits.data, digits.bytes);
    nc_text_deinit(&digits);
}

void nc_args_add_count(struct nc_args *args, uint64_t number)
{
    if (number == 0 || number > INT64_MAX)
        nc_args_add(args, "", 0);
    else
        nc_args_add_int(args, (int64_t)number);
}
