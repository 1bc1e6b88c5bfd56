/*
 * The worker of the queue embedding-computation: takes up to 32 jobs at a time, computes their
 * vectors together and writes them through the cache in one call. The queue knows no cache and the
 * cache no queue: they meet here, in the program that uses both.
 *
 *     embedding_worker [--until-idle]     works until a signal, or until nothing is left to do
 *     embedding_worker --add N            adds N jobs to try it with
 *
 * Redis is what REDIS_URL or REDIS_HOST say. A job's data is {"productId":..,"imageUrl":..,
 * "title":..,"category":..}; the vector of product 42 becomes the key "embedding:42" (512 floats).
 */
#include <nearcache/queue.h>

#include <math.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIMENSION = 512, BATCH = NEARCACHE_EMBEDDING_BATCH, ID_BYTES = 128, TITLE_BYTES = 1024 };

/* Written before the worker starts and by its one handler thread. */
struct embedder {
    struct nearcache_tier *vectors;
    unsigned long jobs, batches;
    float matrix[BATCH][DIMENSION];
    char ids[BATCH][ID_BYTES];
};

static void print_log(void *arg, enum nearcache_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    fprintf(stderr, "embedding_worker: %s\n", line);
}

/* ---- a job's data ---------------------------------------------------------------------------- */

/*
 * The text of a member of a flat object; the library has seen to it that this is JSON. 0, or -1
 * when there is none or it is too long. A service has a JSON reader of its own for this.
 */
static int text_member(const char *json, const char *name, char *out, size_t capacity)
{
    char quoted[64];
    size_t used = 0;
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\"", name);
    at = strstr(json, quoted);
    if (!at)
        return -1;
    at += strlen(quoted);
    at += strspn(at, " \t\r\n:");
    if (*at++ != '"')
        return -1;
    for (; *at != '"'; at++) {
        if (*at == '\\' && at[1] != 'u')
            at++;
        if (used + 1 >= capacity)
            return -1;
        out[used++] = *at;
    }
    out[used] = 0;
    return used > 0 ? 0 : -1;
}

/* ---- the vectors ----------------------------------------------------------------------------- */

/*
 * Where a service calls its model: here each three letters in a row add to one of the elements
 * (feature hashing), so that like titles get like vectors. Of length 1.
 */
static void embed(const char *title, float vector[DIMENSION])
{
    double square = 0.0;

    memset(vector, 0, DIMENSION * sizeof vector[0]);
    for (const char *at = title; at[0] && at[1] && at[2]; at++) {
        uint32_t hash = 2166136261u;

        for (int i = 0; i < 3; i++)
            hash = (hash ^ (unsigned char)(at[i] | 0x20)) * 16777619u;
        vector[hash % DIMENSION] += hash & 0x80000000u ? 1.0f : -1.0f;
    }
    for (int i = 0; i < DIMENSION; i++)
        square += (double)vector[i] * vector[i];
    for (int i = 0; i < DIMENSION && square > 0.0; i++)
        vector[i] = (float)(vector[i] / sqrt(square));
}

/* Up to 32 jobs at once: one call of the model, one call of the cache, an outcome for each. */
static int run_batch(void *arg, struct nearcache_job **jobs, size_t count)
{
    struct embedder *embedder = arg;
    struct nearcache_job *computed[BATCH];
    struct nearcache_name names[BATCH];
    int statuses[BATCH];
    size_t rows = 0;

    for (size_t i = 0; i < count; i++) {
        const char *data = nearcache_job_info(jobs[i])->data;
        char title[TITLE_BYTES];

        if (text_member(data, "productId", embedder->ids[rows], ID_BYTES) ||
            text_member(data, "title", title, sizeof title)) {
            /* No further try makes such data better. */
            nearcache_job_fail(jobs[i], "productId or title is missing",
                               NEARCACHE_JOB_UNRECOVERABLE);
            continue;
        }
        embed(title, embedder->matrix[rows]);
        names[rows].data = embedder->ids[rows];
        names[rows].bytes = strlen(embedder->ids[rows]);
        computed[rows++] = jobs[i];
    }
    if (rows)
        nearcache_set_vectors(embedder->vectors, names, rows, embedder->matrix,
                              sizeof embedder->matrix[0], NULL, statuses);
    for (size_t i = 0; i < rows; i++) {
        /* NEARCACHE_LOCAL is not enough: a job is done when Redis has its vector. */
        if (statuses[i] == 0)
            nearcache_job_return(computed[i], "{\"dimension\":512}", 17);
        else /* tried again as the job's options say */
            nearcache_job_fail(computed[i], nearcache_strerror(statuses[i]), 0);
    }
    embedder->jobs += count;
    embedder->batches++;
    return 0;
}

/* ---- the program ----------------------------------------------------------------------------- */

static int add(struct nearcache_queue *queue, unsigned long count)
{
    struct nearcache_embedding_request *requests = calloc(count, sizeof *requests);
    char(*texts)[2][48] = calloc(count, sizeof *texts);
    int outcome = requests && texts ? 0 : NEARCACHE_ENOMEM;

    for (unsigned long i = 0; i < count && outcome == 0; i++) {
        snprintf(texts[i][0], sizeof texts[i][0], "sku-%06lu", i + 1);
        snprintf(texts[i][1], sizeof texts[i][1], "Cotton shirt, model %lu", i + 1);
        requests[i].product_id = texts[i][0];
        requests[i].title = texts[i][1];
        requests[i].image_url = "https://images.example.com/shirt.jpg";
        requests[i].category = "top";
    }
    if (outcome == 0)
        outcome = nearcache_queue_compute_embeddings(queue, requests, count, 0, NULL);
    free(texts);
    free(requests);
    if (outcome)
        fprintf(stderr, "embedding_worker: %s\n", nearcache_strerror(outcome));
    return outcome ? 1 : 0;
}

static int open_vectors(const struct nearcache_redis *redis, struct nearcache **cache,
                        struct nearcache_tier **vectors)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;

    config.redis = redis;
    config.log = print_log;
    config.deadline_us = 1000000; /* a worker has time */
    int outcome = nearcache_open(cache, &config);

    if (outcome == 0)
        outcome = nearcache_tier_open_preset(*cache, NEARCACHE_EMBEDDINGS, vectors);
    /* A service serves without Redis; a worker has nothing to do without it. */
    return outcome ? outcome : nearcache_wait(*cache, 10000000);
}

static int work(struct nearcache_queue *queue, const struct nearcache_redis *redis, int until_idle)
{
    static struct embedder embedder;
    struct nearcache_worker_config config = NEARCACHE_WORKER_CONFIG_INIT;
    struct nearcache *cache = NULL;
    struct nearcache_worker *worker;
    sigset_t signals;
    int number;
    int outcome = open_vectors(redis, &cache, &embedder.vectors);

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* the worker's threads block them too */
    config.run_batch = run_batch;
    config.run_arg = &embedder;
    config.batch = BATCH;
    config.name = "embedding_worker";
    if (outcome == 0)
        outcome = nearcache_worker_open(&worker, queue, &config);
    if (outcome) {
        fprintf(stderr, "embedding_worker: %s\n", nearcache_strerror(outcome));
        nearcache_close(cache, 0);
        return 1;
    }
    if (until_idle)
        outcome = nearcache_worker_wait_idle(worker, 60000000);
    else
        sigwait(&signals, &number);
    nearcache_worker_close(worker, 0); /* what runs is finished and reported */
    nearcache_close(cache, 0);
    printf("%lu jobs in %lu batches\n", embedder.jobs, embedder.batches);
    return outcome ? 1 : 0;
}

int main(int argc, char **argv)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_queue_config config = NEARCACHE_QUEUE_CONFIG_INIT;
    struct nearcache_queue *queue;
    unsigned long count =
        argc == 3 && strcmp(argv[1], "--add") == 0 ? strtoul(argv[2], NULL, 10) : 0;
    int until_idle = argc == 2 && strcmp(argv[1], "--until-idle") == 0;

    if (argc > 1 && !count && !until_idle) {
        fprintf(stderr, "usage: embedding_worker [--until-idle | --add N]\n");
        return 2;
    }
    config.log = print_log;
    if (nearcache_redis_from_env(&redis) != 0 ||
        nearcache_queue_open_preset(&queue, &redis, NEARCACHE_QUEUE_EMBEDDINGS, &config) != 0) {
        fprintf(stderr, "embedding_worker: set REDIS_URL or REDIS_HOST\n");
        return 2;
    }
    int status = count ? add(queue, count) : work(queue, &redis, until_idle);

    nearcache_queue_close(queue, 0);
    return status;
}
