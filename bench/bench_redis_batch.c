/*
 * Batches of vectors: nearcache_get_vectors into a matrix, against the best MGET that hiredis can
 * do (chunks of 32 to 256 keys, one by one or all sent before the first is read, copied into the
 * matrix), and against a client that receives the same replies and drops them. And the warm batch,
 * all rows local, against memcpy of the same rows into the same cold matrix.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <nearcache.h>

#include "lib/keys.h"
#include "lib/output.h"
#include "lib/redis_server.h"
#include "lib/threads.h"
#include "lib/timer.h"

#define MAX_ROWS 10000u
#define NAME_BYTES 16u
/* So long a peer's batch may take. A client that asks for far more than it can take in at once is
 * sometimes thrown back to the retransmissions of TCP, for minutes. */
#define STALLED_S 5
#define COLD_BYTES                                                                                 \
    ((size_t)192 << 20) /* well beyond any cache: each batch writes elsewhere in it */

/* One thread. The rows of one size. */
struct batch {
    struct bench_redis *redis;
    redisContext *hiredis;
    struct nearcache *cache;
    struct nearcache_tier *tier;
    size_t row_bytes;
    unsigned keys;  /* in Redis */
    unsigned count; /* of one batch */
    unsigned next;  /* first key of the next batch */
    unsigned chunk; /* hiredis: keys of one MGET */
    bool pipelined; /* hiredis: all sent before the first is read */
    bool stalled;   /* hiredis: took too long, and was connected again */
    uint64_t give_up_ns;
    char (*texts)[NAME_BYTES];
    struct nearcache_name *names;
    int *statuses;
    char *matrix; /* COLD_BYTES */
    size_t matrix_at;
};

static char *next_matrix(struct batch *batch)
{
    size_t bytes = batch->row_bytes * batch->count;

    if (batch->matrix_at + bytes > COLD_BYTES)
        batch->matrix_at = 0;
    batch->matrix_at += bytes;
    return batch->matrix + batch->matrix_at - bytes;
}

static unsigned next_keys(struct batch *batch)
{
    unsigned first = batch->next;

    batch->next = first + 2u * batch->count > batch->keys ? 0 : first + batch->count;
    return first;
}

static void check_row(const struct batch *batch, const char *row, unsigned key)
{
    uint32_t stamp;

    memcpy(&stamp, row, sizeof stamp);
    if (stamp != key)
        bench_die("row of key %u is another one (%zu bytes)", key, batch->row_bytes);
}

static void connect_hiredis(struct batch *batch)
{
    batch->hiredis = redisConnect("127.0.0.1", (int)batch->redis->port);
    if (!batch->hiredis || batch->hiredis->err ||
        redisSetTimeout(batch->hiredis, (struct timeval){STALLED_S, 0}) != REDIS_OK)
        bench_die("hiredis does not connect");
}

/* Whether the batch is given up; what is still to come goes with its connection. */
static bool gives_up(struct batch *batch, bool failed)
{
    bool late = bench_clock_ns() > batch->give_up_ns;

    if (failed && !late)
        bench_die("hiredis got something else");
    if (late) {
        redisFree(batch->hiredis);
        connect_hiredis(batch);
        batch->stalled = true;
    }
    return late;
}

static void fill(struct batch *batch)
{
    char *row = calloc(1, batch->row_bytes);
    void *reply;

    if (!row)
        bench_die("out of memory");
    for (uint32_t i = 0; i < batch->keys; i++) {
        memcpy(row, &i, sizeof i);
        reply = redisCommand(batch->hiredis, "SET vec%u:%u %b", (unsigned)batch->row_bytes, i, row,
                             batch->row_bytes);
        if (!reply)
            bench_die("filling Redis failed: %s", batch->hiredis->errstr);
        freeReplyObject(reply);
    }
    free(row);
}

/* `rows` local rows at most; fewer than the keys makes every batch miss. */
static void open_cache(struct batch *batch, uint64_t rows)
{
    struct nearcache_redis where = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache_tier_config tier = NEARCACHE_TIER_INIT;
    char prefix[32];

    snprintf(prefix, sizeof prefix, "vec%zu:", batch->row_bytes);
    where.url = batch->redis->tcp_url;
    config.redis = &where;
    config.deadline_us = 5000000;
    config.budget_bytes = ((uint64_t)64 << 20) + rows * (batch->row_bytes + 512u);
    config.capacity_entries = rows;
    tier.name = "vectors";
    tier.prefix = prefix;
    tier.redis_ttl_ms = NEARCACHE_NONE;
    tier.coherence = NEARCACHE_COHERENCE_NONE;
    tier.local_ttl_ms = NEARCACHE_NONE;
    tier.kind = NEARCACHE_VECTOR_F32;
    tier.dimension = (uint32_t)(batch->row_bytes / 4u);
    if (nearcache_open(&batch->cache, &config) ||
        nearcache_tier_open(batch->cache, &tier, &batch->tier) ||
        nearcache_wait(batch->cache, 5000000))
        bench_die("nearcache does not come up with Redis");
}

static void open_batch(struct batch *batch, struct bench_redis *redis, size_t row_bytes)
{
    memset(batch, 0, sizeof *batch);
    batch->redis = redis;
    batch->row_bytes = row_bytes;
    batch->keys = MAX_ROWS;
    batch->texts = calloc(MAX_ROWS, NAME_BYTES);
    batch->names = calloc(MAX_ROWS, sizeof *batch->names);
    batch->statuses = calloc(MAX_ROWS, sizeof *batch->statuses);
    batch->matrix = aligned_alloc(64, COLD_BYTES);
    if (!batch->texts || !batch->names || !batch->statuses || !batch->matrix)
        bench_die("out of memory");
    memset(batch->matrix, 1, COLD_BYTES);
    for (unsigned i = 0; i < MAX_ROWS; i++) {
        batch->names[i].data = batch->texts[i];
        batch->names[i].bytes = (size_t)snprintf(batch->texts[i], NAME_BYTES, "%u", i);
    }
    connect_hiredis(batch);
    fill(batch);
}

static void close_batch(struct batch *batch)
{
    redisFree(batch->hiredis);
    free(batch->texts);
    free(batch->names);
    free(batch->statuses);
    free(batch->matrix);
}

static void read_ours(struct batch *batch)
{
    unsigned first = next_keys(batch);
    char *matrix = next_matrix(batch);
    int outcome = nearcache_get_vectors(batch->tier, batch->names + first, batch->count, NULL,
                                        matrix, 0, NULL, NULL, batch->statuses, NULL);

    if (outcome)
        bench_die("get_vectors: %s", nearcache_strerror(outcome));
    for (unsigned i = 0; i < batch->count; i += 97u) {
        if (batch->statuses[i])
            bench_die("a row is missing");
        check_row(batch, matrix + i * batch->row_bytes, first + i);
    }
}

static void send_mget(struct batch *batch, unsigned first, unsigned count)
{
    const char *arguments[257];
    size_t lengths[257];
    char keys[257][32];

    arguments[0] = "MGET";
    lengths[0] = 4;
    for (unsigned i = 0; i < count; i++) {
        lengths[i + 1] =
            (size_t)snprintf(keys[i], sizeof keys[i], "vec%zu:%u", batch->row_bytes, first + i);
        arguments[i + 1] = keys[i];
    }
    redisAppendCommandArgv(batch->hiredis, (int)count + 1, arguments, lengths);
}

/* False: given up. */
static bool take_mget(struct batch *batch, unsigned first, unsigned count, char *rows)
{
    redisReply *reply = NULL;

    if (gives_up(batch, redisGetReply(batch->hiredis, (void **)&reply) != REDIS_OK)) {
        if (reply)
            freeReplyObject(reply);
        return false;
    }
    if (!reply || reply->type != REDIS_REPLY_ARRAY || reply->elements != count)
        bench_die("hiredis got something else");
    for (unsigned i = 0; i < count; i++) {
        if ((size_t)reply->element[i]->len != batch->row_bytes)
            bench_die("a row is missing");
        memcpy(rows + i * batch->row_bytes, reply->element[i]->str, batch->row_bytes);
    }
    check_row(batch, rows, first);
    freeReplyObject(reply);
    return true;
}

static unsigned chunk_at(const struct batch *batch, unsigned done)
{
    return batch->count - done < batch->chunk ? batch->count - done : batch->chunk;
}

static void read_hiredis(struct batch *batch)
{
    unsigned first = next_keys(batch);
    char *matrix = next_matrix(batch);

    if (batch->pipelined)
        for (unsigned i = 0; i < batch->count; i += batch->chunk)
            send_mget(batch, first + i, chunk_at(batch, i));
    for (unsigned i = 0; i < batch->count; i += batch->chunk) {
        if (!batch->pipelined)
            send_mget(batch, first + i, chunk_at(batch, i));
        if (!take_mget(batch, first + i, chunk_at(batch, i), matrix + i * batch->row_bytes))
            return;
    }
}

/* The bytes of one MGET's reply: known, so nothing needs to be parsed. */
static size_t reply_bytes(const struct batch *batch, unsigned count)
{
    char header[32];

    return (size_t)snprintf(header, sizeof header, "*%u\r\n", count) +
           count * ((size_t)snprintf(header, sizeof header, "$%zu\r\n", batch->row_bytes) +
                    batch->row_bytes + 2u);
}

static void read_and_drop(struct batch *batch)
{
    static char buffer[64 << 10];
    unsigned first = next_keys(batch);

    for (unsigned i = 0; i < batch->count; i += batch->chunk) {
        unsigned count = chunk_at(batch, i);
        size_t left = reply_bytes(batch, count);
        int sent = 0;

        send_mget(batch, first + i, count);
        while (!sent)
            if (redisBufferWrite(batch->hiredis, &sent) != REDIS_OK)
                bench_die("a send failed");
        while (left) {
            ssize_t got =
                read(batch->hiredis->fd, buffer, left < sizeof buffer ? left : sizeof buffer);

            if (gives_up(batch, got <= 0))
                return;
            left -= (size_t)got;
        }
    }
}

/* Thousands of rows per second over a stretch. */
static double stretch(struct batch *batch, void (*read_batch)(struct batch *), unsigned ms)
{
    uint64_t begin = bench_clock_ns(), end = begin + (uint64_t)ms * 1000000u, now;
    double rows = 0.0;

    batch->stalled = false;
    batch->give_up_ns = end + STALLED_S * 1000000000ull - 100000000u; /* before its own time-out */
    do {
        read_batch(batch);
        rows += batch->count;
        now = bench_clock_ns();
    } while (now < end && !batch->stalled);
    return batch->stalled ? 0.0 : rows * 1e6 / (double)(now - begin);
}

static void choose_hiredis(struct batch *batch, void (*read_batch)(struct batch *), unsigned ms)
{
    static const unsigned chunks[] = {32, 64, 128, 256};
    double best = 0.0, rate;
    unsigned best_chunk = 32;
    bool best_pipelined = false;

    for (int pipelined = 0; pipelined <= (read_batch == read_hiredis); pipelined++) {
        for (unsigned i = 0; i < sizeof chunks / sizeof *chunks; i++) {
            batch->chunk = chunks[i];
            batch->pipelined = pipelined;
            rate = stretch(batch, read_batch, ms);
            if (rate <= best)
                continue;
            best = rate;
            best_chunk = chunks[i];
            best_pipelined = pipelined;
        }
    }
    batch->chunk = best_chunk;
    batch->pipelined = best_pipelined;
}

/* `theirs` NULL: the peer stalled, and there is nothing to compare with. */
static void report_batch_goal(const struct batch *batch, unsigned count, bool split,
                              const char *peer, const struct bench_rounds *ours,
                              const struct bench_rounds *theirs)
{
    struct bench_summary ratio;
    char name[64];

    snprintf(name, sizeof name, "redis_batch_%u_%zuk_%s_%s", count, batch->row_bytes >> 10, peer,
             split ? "split" : "same");
    if (!theirs) {
        bench_goal_skip(name, "hiredis stalled for seconds");
        return;
    }
    ratio = bench_ratio(ours, theirs);
    bench_goal(name, &ratio);
}

static void cold_rows(const struct bench_options *options, struct batch *batch, unsigned count,
                      bool split)
{
    struct bench_rounds ours = {0, {0}}, theirs = {0, {0}}, limit = {0, {0}}, again = {0, {0}};
    unsigned ms = options->measure_ms * 2u, drop_chunk, chunk;
    struct bench_summary ratio;
    char group[96], name[64];
    bool pipelined;

    snprintf(group, sizeof group, "%u rows of %zu bytes, %s", count, batch->row_bytes,
             split ? "split" : "same");
    if (!bench_wants(options, group))
        return;
    batch->count = count;
    bench_progress("%s: choosing the best MGET", group);
    choose_hiredis(batch, read_and_drop, ms / 2u);
    drop_chunk = batch->chunk;
    choose_hiredis(batch, read_hiredis, ms / 2u);
    chunk = batch->chunk;
    pipelined = batch->pipelined;
    stretch(batch, read_ours, ms);
    bool stalled = false;
    for (int round = 0; round < options->rounds; round++) {
        bench_progress("%s: round %d of %d", group, round + 1, options->rounds);
        bench_rounds_add(&theirs, stretch(batch, read_hiredis, ms));
        stalled = stalled || batch->stalled;
        bench_rounds_add(&ours, stretch(batch, read_ours, ms));
        batch->chunk = drop_chunk;
        bench_rounds_add(&limit, stretch(batch, read_and_drop, ms));
        stalled = stalled || batch->stalled;
        batch->chunk = chunk;
        bench_rounds_add(&again, stretch(batch, read_hiredis, ms));
        stalled = stalled || batch->stalled;
    }
    bench_table(group, "krows/s");
    bench_row(group, "nearcache get_vectors", "krows/s", &ours);
    snprintf(name, sizeof name, "hiredis MGET x %u%s", chunk, pipelined ? ", pipelined" : "");
    bench_row(group, name, "krows/s", &theirs);
    bench_row(group, "receive and drop", "krows/s", &limit);
    if (!stalled) {
        ratio = bench_ratio(&again, &theirs);
        bench_noise_same(&ratio);
    }
    report_batch_goal(batch, count, split, "mget", &ours, stalled ? NULL : &theirs);
    report_batch_goal(batch, count, split, "limit", &ours, stalled ? NULL : &limit);
}

static void copy_rows(char *matrix, char *const *rows, unsigned count, size_t row_bytes)
{
    for (unsigned i = 0; i < count; i++)
        memcpy(matrix + i * row_bytes, rows[i], row_bytes);
}

/* All rows local. The rows of memcpy lie scattered, as entries of a cache do. */
static void warm_rows(const struct bench_options *options, struct batch *batch)
{
    struct bench_rounds ours = {0, {0}}, theirs = {0, {0}}, again = {0, {0}};
    char **rows = calloc(MAX_ROWS, sizeof *rows);
    struct bench_summary ratio;
    uint64_t begin;

    if (!rows)
        bench_die("out of memory");
    for (unsigned i = 0; i < MAX_ROWS; i++) {
        rows[i] = aligned_alloc(64, batch->row_bytes);
        if (!rows[i])
            bench_die("out of memory");
        memset(rows[i], 1, batch->row_bytes);
    }
    for (unsigned i = MAX_ROWS; i > 1; i--) {
        uint64_t random = i * 0x9E3779B97F4A7C15ull;
        unsigned other = (unsigned)(bench_random(&random) % i);
        char *kept = rows[i - 1];

        rows[i - 1] = rows[other];
        rows[other] = kept;
    }
    batch->count = 4096;
    for (unsigned first = 0; first + 256u <= MAX_ROWS; first += 256u) {
        if (nearcache_get_vectors(batch->tier, batch->names + first, 256, NULL, batch->matrix, 0,
                                  NULL, NULL, batch->statuses, NULL))
            bench_die("warming failed");
    }
    batch->keys = MAX_ROWS / 256u * 256u;
    for (int round = 0; round < options->rounds * 3; round++) {
        bench_progress("warm batch: round %d of %d", round + 1, options->rounds * 3);
        begin = bench_clock_ns();
        copy_rows(next_matrix(batch), rows + next_keys(batch), batch->count, batch->row_bytes);
        bench_rounds_add(&theirs, (double)(bench_clock_ns() - begin) / 1e3);
        begin = bench_clock_ns();
        read_ours(batch);
        bench_rounds_add(&ours, (double)(bench_clock_ns() - begin) / 1e3);
        begin = bench_clock_ns();
        copy_rows(next_matrix(batch), rows + next_keys(batch), batch->count, batch->row_bytes);
        bench_rounds_add(&again, (double)(bench_clock_ns() - begin) / 1e3);
    }
    bench_table("warm batch, 4096 rows of 2 KiB, cold matrix", "us");
    bench_row("warm batch", "nearcache get_vectors, all local", "us", &ours);
    bench_row("warm batch", "memcpy of the same rows", "us", &theirs);
    ratio = bench_ratio(&again, &theirs);
    bench_noise_same(&ratio);
    ratio = bench_ratio(&ours, &theirs);
    bench_goal("warm_batch_memcpy", &ratio);
    for (unsigned i = 0; i < MAX_ROWS; i++)
        free(rows[i]);
    free(rows);
}

static void run_size(const struct bench_options *options, struct bench_redis *redis,
                     size_t row_bytes)
{
    struct batch batch;

    for (int split = 0; split <= (bench_processors() > 1); split++) {
        bench_redis_pin(redis, split ? 1 : 0);
        bench_pin(split ? 1 : 0); /* the cache's own threads stay with the server */
        open_batch(&batch, redis, row_bytes);
        open_cache(&batch, 512);
        bench_pin(0);
        cold_rows(options, &batch, 256, split);
        nearcache_close(batch.cache, 1000000);
        open_cache(&batch, 1024);
        if (row_bytes == 2048u)
            cold_rows(options, &batch, 4096, split);
        nearcache_close(batch.cache, 1000000);
        if (split == 0 && row_bytes == 2048u && bench_wants(options, "warm batch")) {
            open_cache(&batch, MAX_ROWS * 2u);
            warm_rows(options, &batch);
            nearcache_close(batch.cache, 1000000);
        }
        close_batch(&batch);
    }
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "redis_batch", "batches of vectors against MGET and memcpy");
    struct bench_redis redis;

    if (bench_redis_start(&redis)) {
        run_size(&options, &redis, 2048);
        run_size(&options, &redis, 6144);
        bench_redis_stop(&redis);
    } else {
        bench_skip("everything", "no redis-server on the PATH");
    }
    bench_end();
    return 0;
}
