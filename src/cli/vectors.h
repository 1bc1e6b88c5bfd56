/*
 * cli/vectors: what load and export share: the tier that --tier names, and the arrays of a batch.
 */
#ifndef NC_CLI_VECTORS_H
#define NC_CLI_VECTORS_H

#include "cli/ids.h"
#include "cli/npy.h"
#include "cli/settings.h"

#define CLI_VECTORS_BATCH 256u
#define CLI_VECTORS_MOST_BATCH 65536u
#define CLI_VECTORS_MOST_BYTES ((uint64_t)1 << 30) /* of a batch */
#define CLI_VECTORS_TIMEOUT_US UINT64_C(5000000)   /* of a batch */

/* One thread. */
struct cli_vectors {
    const struct cli_command *command;
    struct nearcache *cache;
    struct nearcache_tier *tier;
    const char *prefix;
    size_t batch;
    size_t row_bytes;
    struct nearcache_name *names;
    char *numbers;
    int *statuses;
    char *matrix;
    char *second; /* another matrix, to compare with; NULL unless asked for */
};

/* The tier that a preset's name or else a prefix stands for. */
void cli_vectors_tier(const char *text, struct nearcache_tier_config *config);

/*
 * Opens a vector tier for rows of this type and number of columns, waits for Redis, and makes the
 * arrays. Complains itself. Returns CLI_GO_ON or an exit status; deinit it in every case.
 */
int cli_vectors_init(struct cli_vectors *vectors, const struct cli_command *command,
                     struct cli_settings *settings, struct nearcache_tier_config *config,
                     const struct cli_npy *npy, size_t batch, bool compare);
void cli_vectors_deinit(struct cli_vectors *vectors);

/* A failure that may pass by itself: Redis is away or slow. */
bool cli_vectors_passing(int status);

/*
 * Waits for Redis to be back before a batch is tried again. Returns CLI_GO_ON or an exit status.
 */
int cli_vectors_wait_again(const struct cli_vectors *vectors, uint64_t patience_us);

#endif
