/*
 * Replies from anybody: the reader must say the same of a stream in one piece, in pieces of any
 * size, and whatever it accepts hiredis must read alike. The first byte is the size of the pieces.
 */
#include "redis/reply.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* A hash of what was said, in order; `whole`: up to the last reply that ended. */
struct said {
    uint64_t hash, whole, ends;
    uint64_t widest, deepest;
};

static void say(struct said *said, const void *what, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        said->hash = (said->hash ^ ((const unsigned char *)what)[i]) * UINT64_C(1099511628211);
}

static void say_number(struct said *said, int64_t number) { say(said, &number, sizeof number); }

static void on_part(void *arg, const struct nc_reply_part *part)
{
    struct said *said = arg;
    say_number(said, (int64_t)part->type);
    if (part->depth > said->deepest)
        said->deepest = part->depth;
    if (part->elements > said->widest)
        said->widest = part->elements;
    if (part->type == NC_REPLY_ARRAY)
        say_number(said, (int64_t)part->elements);
    else if (part->type == NC_REPLY_INTEGER)
        say_number(said, part->integer);
    else if (part->str)
        say(said, part->str, part->bytes);
}

static void on_end(void *arg)
{
    struct said *said = arg;
    said->whole = said->hash;
    said->ends++;
}

static int read_all(const uint8_t *data, size_t bytes, size_t piece, struct said *said)
{
    const struct nc_reader_events events = {on_part, on_end, said};
    struct nc_reader *reader = nc_reader_create(&events);
    int outcome = 0;
    memset(said, 0, sizeof *said);
    if (!reader)
        abort();
    for (size_t at = 0; at < bytes && outcome == 0; at += piece) {
        size_t count = bytes - at < piece ? bytes - at : piece;
        /* A block of its own, so that a read beyond it is found. */
        char *copy = malloc(count);
        if (!copy)
            abort();
        memcpy(copy, data + at, count);
        outcome = nc_reader_feed(reader, copy, count);
        free(copy);
    }
    nc_reader_destroy(reader);
    return outcome;
}

static void say_reply(struct said *said, const redisReply *reply)
{
    static const enum nc_reply_type types[] = {
        [REDIS_REPLY_STRING] = NC_REPLY_BULK,     [REDIS_REPLY_ARRAY] = NC_REPLY_ARRAY,
        [REDIS_REPLY_INTEGER] = NC_REPLY_INTEGER, [REDIS_REPLY_NIL] = NC_REPLY_NIL,
        [REDIS_REPLY_STATUS] = NC_REPLY_STATUS,   [REDIS_REPLY_ERROR] = NC_REPLY_ERROR};
    struct nc_reply_part part = {.type = types[reply->type]};
    part.elements = reply->elements;
    part.integer = reply->integer;
    part.str = reply->str;
    part.bytes = reply->str ? (size_t)reply->len : 0;
    on_part(said, &part);
    for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
        say_reply(said, reply->element[i]);
}

/* What hiredis says, of whole replies. False: it refuses the stream. */
static int ask_hiredis(const uint8_t *data, size_t bytes, struct said *said)
{
    redisReader *reader = redisReaderCreate();
    void *reply = NULL;
    int good;
    memset(said, 0, sizeof *said);
    redisReaderFeed(reader, (const char *)data, bytes);
    while ((good = redisReaderGetReply(reader, &reply) == REDIS_OK) && reply) {
        say_reply(said, reply);
        on_end(said);
        freeReplyObject(reply);
    }
    redisReaderFree(reader);
    return good;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct said whole, pieces, theirs;
    if (bytes < 2)
        return 0;
    size_t piece = data[0] ? data[0] : 1;
    data++;
    bytes--;
    int outcome = read_all(data, bytes, bytes, &whole);
    if (read_all(data, bytes, piece, &pieces) != outcome ||
        memcmp(&whole, &pieces, sizeof whole) != 0)
        abort();
    /* hiredis of Debian 12 nests seven deep and makes room for what an array claims. */
    if (outcome != 0 || whole.deepest > 6 || whole.widest > 4096)
        return 0;
    if (!ask_hiredis(data, bytes, &theirs) || whole.ends != theirs.ends ||
        whole.whole != theirs.whole)
        abort();
    return 0;
}
