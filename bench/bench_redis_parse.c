/*
 * Reading replies out of memory, in pieces of 64 KiB as a socket gives them: our reader against
 * hiredis' reader with reply functions that build nothing. Both hand every value to a function that
 * copies it into a row, as a batch of vectors does.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "redis/reply.h"

#include "lib/output.h"
#include "lib/timer.h"

#define PIECE (64u * 1024u)

static const struct variant {
    const char *name, *goal;
    unsigned values, bytes;
    bool array; /* one MGET, or as many GETs */
} variants[] = {
    {"GET of 256 bytes", "redis_parse_get", 4096, 256, false},
    {"MGET 256 x 2 KiB", "redis_parse_mget_2k", 256, 2048, true},
    {"MGET 256 x 6 KiB", "redis_parse_mget_6k", 256, 6144, true},
};

static char row[8192];
static uint64_t values_read;

static char *make_stream(const struct variant *v, size_t *bytes)
{
    char *stream = malloc((size_t)v->values * (v->bytes + 16) + 32), *at = stream;

    if (!stream)
        bench_die("no memory");
    if (v->array)
        at += sprintf(at, "*%u\r\n", v->values);
    for (unsigned i = 0; i < v->values; i++) {
        at += sprintf(at, "$%u\r\n", v->bytes);
        memset(at, 'v', v->bytes);
        at += v->bytes;
        *at++ = '\r';
        *at++ = '\n';
    }
    *bytes = (size_t)(at - stream);
    return stream;
}

/* ---- ours ---- */

static void on_part(void *arg, const struct nc_reply_part *part)
{
    (void)arg;
    if (part->type == NC_REPLY_BULK) {
        memcpy(row, part->str, part->bytes);
        values_read++;
    }
}

static void on_end(void *arg) { (void)arg; }

static void read_ours(const char *stream, size_t bytes)
{
    static const struct nc_reader_events events = {on_part, on_end, NULL};
    static struct nc_reader *reader;

    if (!reader && !(reader = nc_reader_create(&events)))
        bench_die("no memory");
    for (size_t at = 0; at < bytes; at += PIECE)
        if (nc_reader_feed(reader, stream + at, bytes - at < PIECE ? bytes - at : PIECE))
            bench_die("our reader refuses it");
}

/* ---- hiredis ---- */

static void *on_string(const redisReadTask *task, char *text, size_t bytes)
{
    (void)task;
    memcpy(row, text, bytes);
    values_read++;
    return row;
}

#ifdef NC_HIREDIS_CREATE_ARRAY_SIZE_T
static void *on_array(const redisReadTask *task, size_t elements)
#else
static void *on_array(const redisReadTask *task, int elements)
#endif
{
    (void)task;
    (void)elements;
    return row;
}

static void *on_integer(const redisReadTask *task, long long value)
{
    (void)task;
    (void)value;
    return row;
}

static void *on_nil(const redisReadTask *task)
{
    (void)task;
    return row;
}

static void on_free(void *object) { (void)object; }

static void read_hiredis(const char *stream, size_t bytes)
{
    static redisReplyObjectFunctions functions = {.createString = on_string,
                                                  .createArray = on_array,
                                                  .createInteger = on_integer,
                                                  .createNil = on_nil,
                                                  .freeObject = on_free};
    static redisReader *reader;
    void *reply;

    if (!reader)
        reader = redisReaderCreateWithFunctions(&functions);
    for (size_t at = 0; at < bytes; at += PIECE) {
        redisReaderFeed(reader, stream + at, bytes - at < PIECE ? bytes - at : PIECE);
        do {
            reply = NULL;
            if (redisReaderGetReply(reader, &reply) != REDIS_OK)
                bench_die("hiredis refuses it");
        } while (reply);
    }
}

/* ---- rounds ---- */

/* ns per value. */
static double stretch(void (*read)(const char *stream, size_t bytes), const char *stream,
                      size_t bytes, unsigned for_ms)
{
    uint64_t begin_ns = bench_clock_ns(), end_ns = begin_ns + (uint64_t)for_ms * 1000000u;

    values_read = 0;
    do
        read(stream, bytes);
    while (bench_clock_ns() < end_ns);
    return (double)(bench_clock_ns() - begin_ns) / (double)values_read;
}

static void run_variant(const struct bench_options *options, const struct variant *v)
{
    struct bench_rounds ours = {0, {0}}, theirs = {0, {0}}, again = {0, {0}};
    struct bench_summary ratio;
    size_t bytes;
    char *stream = make_stream(v, &bytes);

    for (int round = 0; round < options->rounds; round++) {
        stretch(read_ours, stream, bytes, options->warm_ms / 4 + 1);
        bench_rounds_add(&ours, stretch(read_ours, stream, bytes, options->measure_ms / 4 + 1));
        stretch(read_hiredis, stream, bytes, options->warm_ms / 4 + 1);
        bench_rounds_add(&theirs,
                         stretch(read_hiredis, stream, bytes, options->measure_ms / 4 + 1));
        bench_rounds_add(&again, stretch(read_hiredis, stream, bytes, options->measure_ms / 4 + 1));
    }
    bench_table(v->name, "ns a value");
    bench_row(v->name, "nearcache's reader", "ns", &ours);
    bench_row(v->name, "hiredis' reader, own functions", "ns", &theirs);
    ratio = bench_ratio(&theirs, &ours);
    bench_goal(v->goal, &ratio);
    ratio = bench_ratio(&again, &theirs);
    bench_noise_same(&ratio);
    free(stream);
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "redis_parse", "reading replies against hiredis' reader");

    for (unsigned i = 0; i < sizeof variants / sizeof *variants; i++)
        if (bench_wants(&options, variants[i].name))
            run_variant(&options, &variants[i]);
    bench_end();
    return 0;
}
