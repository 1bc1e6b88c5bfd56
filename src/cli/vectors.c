#include "cli/vectors.h"

#include <stdlib.h>
#include <string.h>

void cli_vectors_tier(const char *text, struct nearcache_tier_config *config)
{
    for (int preset = NEARCACHE_DEFAULT; preset <= NEARCACHE_MARKETPLACE; preset++) {
        *config = (struct nearcache_tier_config)NEARCACHE_TIER_INIT;
        if (nearcache_tier_preset((enum nearcache_preset)preset, config) == 0 &&
            strcmp(config->name, text) == 0)
            return;
    }
    *config = (struct nearcache_tier_config)NEARCACHE_TIER_INIT;
    config->name = "vectors";
    config->prefix = text;
    config->redis_ttl_ms = NEARCACHE_NONE;
}

static enum nearcache_kind kind_of(enum cli_npy_type type)
{
    return type == CLI_NPY_F32   ? NEARCACHE_VECTOR_F32
           : type == CLI_NPY_F16 ? NEARCACHE_VECTOR_F16
                                 : NEARCACHE_VECTOR_I8;
}

static bool make_arrays(struct cli_vectors *vectors, bool compare)
{
    size_t batch = vectors->batch;

    vectors->names = calloc(batch, sizeof *vectors->names);
    vectors->numbers = calloc(batch, CLI_IDS_NUMBER_BYTES);
    vectors->statuses = calloc(batch, sizeof *vectors->statuses);
    vectors->matrix = malloc(batch * vectors->row_bytes);
    vectors->second = compare ? malloc(batch * vectors->row_bytes) : NULL;
    return vectors->names && vectors->numbers && vectors->statuses && vectors->matrix &&
           (vectors->second || !compare);
}

int cli_vectors_init(struct cli_vectors *vectors, const struct cli_command *command,
                     struct cli_settings *settings, struct nearcache_tier_config *config,
                     const struct cli_npy *npy, size_t batch, bool compare)
{
    int outcome;

    *vectors = (struct cli_vectors){.command = command, .prefix = config->prefix};
    vectors->row_bytes = npy->row_bytes;
    if (npy->row_bytes > CLI_VECTORS_MOST_BYTES || npy->columns > UINT32_MAX) {
        cli_error(command, "rows of %llu bytes are too long", (unsigned long long)npy->row_bytes);
        return CLI_WRONG;
    }
    /* A batch of very long rows is made smaller rather than refused. */
    vectors->batch = batch;
    if (vectors->batch > CLI_VECTORS_MOST_BYTES / npy->row_bytes)
        vectors->batch = CLI_VECTORS_MOST_BYTES / npy->row_bytes;
    if (!make_arrays(vectors, compare)) {
        cli_error(command, "%s", nearcache_strerror(NEARCACHE_ENOMEM));
        return CLI_WRONG;
    }
    outcome = cli_settings_open(settings, command, &vectors->cache);
    if (outcome != CLI_GO_ON)
        return outcome;
    config->kind = kind_of(npy->type);
    config->dimension = (uint32_t)npy->columns;
    config->outage_writes = NEARCACHE_OUTAGE_REFUSE; /* a row is in Redis or it is not loaded */
    outcome = nearcache_tier_open(vectors->cache, config, &vectors->tier);
    if (outcome) {
        cli_error(command, "cannot open the tier: %s", nearcache_strerror(outcome));
        return CLI_WRONG;
    }
    return cli_settings_wait(command, vectors->cache, CLI_VECTORS_TIMEOUT_US);
}

void cli_vectors_deinit(struct cli_vectors *vectors)
{
    nearcache_close(vectors->cache, 0);
    free(vectors->names);
    free(vectors->numbers);
    free(vectors->statuses);
    free(vectors->matrix);
    free(vectors->second);
}

bool cli_vectors_passing(int status)
{
    return status == NEARCACHE_ETIMEOUT || status == NEARCACHE_EOFFLINK ||
           status == NEARCACHE_EREFUSED || status == NEARCACHE_EFULL || status == NEARCACHE_LOCAL;
}

int cli_vectors_wait_again(const struct cli_vectors *vectors, uint64_t patience_us)
{
    cli_pause_us(20000);
    return cli_settings_wait(vectors->command, vectors->cache, patience_us);
}
