/*
 * cli/config_file: lines of `key = value`. Empty lines and lines that begin with # say nothing.
 * A key that is unknown, given twice, or has a value that is none is an error that names the line.
 */
#ifndef NC_CLI_CONFIG_FILE_H
#define NC_CLI_CONFIG_FILE_H

#include <nearcache.h>

#include <stdbool.h>

#define CLI_CONFIG_PROBLEM_BYTES 512

struct cli_config_file {
    struct nearcache_redis *redis; /* the two structs that are filled */
    struct nearcache_config *config;
    bool names_redis; /* a key about the address was there */
    char *text;       /* strings in the structs point into it: the caller frees it afterwards */
};

/*
 * Reads `path`. False: a text in `problem`, nothing to free; the structs may be half filled.
 */
bool cli_config_file_read(struct cli_config_file *file, const char *path,
                          char problem[CLI_CONFIG_PROBLEM_BYTES]);

#endif
