/*
 * Reads vectors back in one batch, straight into a matrix, and compares each row with the file that
 * they were loaded from. Twice: the first batch comes from Redis, the second from this process.
 *
 *     read_vectors REDIS_URL FILE.npy FILE.ids
 */
#include <nearcache.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DIMENSION = 512, ROW_BYTES = DIMENSION * (int)sizeof(float), ROWS_MAX = 1000000 };

struct batch {
    size_t rows;
    struct nearcache_name *names;
    char *expected; /* rows of the file */
    char *matrix;   /* rows of the cache, aligned to 64 bytes */
    int *statuses;
    enum nearcache_source *sources;
};

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int read_ids(struct batch *batch, const char *path)
{
    FILE *in = fopen(path, "r");
    char line[256];

    if (!in)
        return -1;
    batch->names = calloc(ROWS_MAX, sizeof *batch->names);
    while (batch->names && batch->rows < ROWS_MAX && fgets(line, sizeof line, in)) {
        size_t length = strcspn(line, "\r\n");
        char *id = malloc(length + 1);

        if (!id)
            break;
        memcpy(id, line, length);
        batch->names[batch->rows].data = id;
        batch->names[batch->rows++].bytes = length;
    }
    fclose(in);
    return batch->rows > 0 ? 0 : -1;
}

static int read_rows(struct batch *batch, const char *path)
{
    FILE *in = fopen(path, "rb");
    unsigned char head[10];
    int failed = -1;

    if (!in)
        return -1;
    batch->expected = malloc(batch->rows * ROW_BYTES);
    if (batch->expected && fread(head, 1, sizeof head, in) == sizeof head &&
        fseek(in, 10 + head[8] + head[9] * 256, SEEK_SET) == 0 &&
        fread(batch->expected, ROW_BYTES, batch->rows, in) == batch->rows)
        failed = 0;
    fclose(in);
    return failed;
}

/* One batch; returns how many rows equal those of the file. */
static size_t read_batch(struct nearcache_tier *tier, struct batch *batch)
{
    struct nearcache_read how = NEARCACHE_READ_INIT;
    size_t good = 0, from[6] = {0};
    double start_ms = now_ms(), elapsed_ms;
    int outcome;

    how.timeout_us = 10000000; /* all rows are one call: give it the time that its bytes take */
    memset(batch->matrix, 0, batch->rows * ROW_BYTES);
    outcome = nearcache_get_vectors(tier, batch->names, batch->rows, &how, batch->matrix, 0, NULL,
                                    NULL, batch->statuses, batch->sources);
    elapsed_ms = now_ms() - start_ms;
    for (size_t i = 0; i < batch->rows; i++) {
        size_t at = i * ROW_BYTES;

        if (batch->statuses[i] != 0)
            continue;
        good += memcmp(batch->matrix + at, batch->expected + at, ROW_BYTES) == 0;
        from[batch->sources[i]]++;
    }
    printf("%zu of %zu rows equal, %zu from Redis, %zu from here, in %.2f ms (%.2f us a row): %s\n",
           good, batch->rows, from[NEARCACHE_SOURCE_REMOTE], from[NEARCACHE_SOURCE_LOCAL],
           elapsed_ms, elapsed_ms * 1000 / (double)batch->rows, nearcache_strerror(outcome));
    return good;
}

int main(int argc, char **argv)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache *cache = NULL;
    struct nearcache_tier *embeddings;
    struct batch batch = {0};
    int failed;

    if (argc != 4) {
        fprintf(stderr, "usage: read_vectors REDIS_URL FILE.npy FILE.ids\n");
        return 2;
    }
    if (read_ids(&batch, argv[3]) != 0 || read_rows(&batch, argv[2]) != 0) {
        fprintf(stderr, "read_vectors: cannot read %s and %s\n", argv[2], argv[3]);
        return 1;
    }
    batch.matrix = aligned_alloc(64, batch.rows * ROW_BYTES);
    batch.statuses = calloc(batch.rows, sizeof *batch.statuses);
    batch.sources = calloc(batch.rows, sizeof *batch.sources);
    redis.url = argv[1];
    config.redis = &redis;
    config.budget_bytes = (uint64_t)batch.rows * ROW_BYTES * 2 + NEARCACHE_DEFAULT_BUDGET_BYTES;
    failed = !batch.matrix || !batch.statuses || !batch.sources ||
             nearcache_open(&cache, &config) != 0 ||
             nearcache_tier_open_preset(cache, NEARCACHE_EMBEDDINGS, &embeddings) != 0 ||
             nearcache_wait(cache, 5000000) != 0;
    if (failed) {
        fprintf(stderr, "read_vectors: Redis at %s does not answer\n", argv[1]);
    } else {
        failed = read_batch(embeddings, &batch) != batch.rows;
        failed |= read_batch(embeddings, &batch) != batch.rows;
    }
    nearcache_close(cache, 0);
    for (size_t i = 0; i < batch.rows; i++)
        free((void *)batch.names[i].data);
    free(batch.names);
    free(batch.expected);
    free(batch.matrix);
    free(batch.statuses);
    free(batch.sources);
    return failed;
}
