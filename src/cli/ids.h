/*
 * cli/ids: the names of the rows of a matrix: the lines of a file, or the numbers of the rows.
 */
#ifndef NC_CLI_IDS_H
#define NC_CLI_IDS_H

#include <nearcache.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CLI_IDS_PROBLEM_BYTES 256
#define CLI_IDS_NUMBER_BYTES 20 /* of the largest row number */

/* One thread. */
struct cli_ids {
    char *text;      /* NULL: row numbers */
    uint64_t *lines; /* where each line begins in `text`; one more for the end */
    uint64_t count;  /* lines in the file */
};

/*
 * Reads the lines of `path`, one id each; a last line without end counts, an empty line, one that
 * is too long for a key, and a zero byte are errors. NULL for row numbers. False: `problem`.
 */
bool cli_ids_init(struct cli_ids *ids, const char *path, char problem[CLI_IDS_PROBLEM_BYTES]);
void cli_ids_deinit(struct cli_ids *ids);

/*
 * The names of `count` rows from `first` on. `numbers` has CLI_IDS_NUMBER_BYTES for each and
 * holds the text of row numbers.
 */
void cli_ids_names(const struct cli_ids *ids, uint64_t first, size_t count, char *numbers,
                   struct nearcache_name *names);

#endif
