#include "redis/reply.h"

#include "nearcache.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>

/* The protocol's own limit; a header that claims more is a lie. */
#define BULK_MOST ((size_t)512 << 20)
#define ARRAY_MOST ((size_t)1 << 24)

struct nc_reader {
    redisReader *reader;
    struct nc_reader_events events;
    bool hostile;
};

/* hiredis wants an object for each reply and frees it; one address serves for all. */
static char nothing;

static uint32_t depth_of(const redisReadTask *task)
{
    uint32_t depth = 0;
    for (const redisReadTask *t = task->parent; t; t = t->parent)
        depth++;
    return depth;
}

static void *deliver(const redisReadTask *task, struct nc_reply_part *part)
{
    struct nc_reader *reader = task->privdata;
    part->depth = depth_of(task);
    part->index = task->idx < 0 ? 0 : (uint64_t)task->idx;
    reader->events.on_part(reader->events.arg, part);
    return &nothing;
}

static void *on_string(const redisReadTask *task, char *str, size_t bytes)
{
    struct nc_reply_part part = {.str = str, .bytes = bytes, .type = NC_REPLY_BULK};
    if (task->type == REDIS_REPLY_ERROR)
        part.type = NC_REPLY_ERROR;
    else if (task->type == REDIS_REPLY_STATUS)
        part.type = NC_REPLY_STATUS;
    return deliver(task, &part);
}

static void *put_array(const redisReadTask *task, size_t elements)
{
    struct nc_reply_part part = {.elements = elements, .type = NC_REPLY_ARRAY};
    if (elements > ARRAY_MOST) {
        ((struct nc_reader *)task->privdata)->hostile = true;
        return NULL;
    }
    return deliver(task, &part);
}

#ifdef NC_HIREDIS_CREATE_ARRAY_SIZE_T
static void *on_array(const redisReadTask *task, size_t elements)
{
    return put_array(task, elements);
}
#else
static void *on_array(const redisReadTask *task, int elements)
{
    return put_array(task, elements < 0 ? 0 : (size_t)elements);
}
#endif

static void *on_integer(const redisReadTask *task, long long value)
{
    struct nc_reply_part part = {.integer = value, .type = NC_REPLY_INTEGER};
    return deliver(task, &part);
}

static void *on_nil(const redisReadTask *task)
{
    struct nc_reply_part part = {.type = NC_REPLY_NIL};
    return deliver(task, &part);
}

static void on_free(void *object) { (void)object; }

static redisReplyObjectFunctions functions = {
    .createString = on_string,
    .createArray = on_array,
    .createInteger = on_integer,
    .createNil = on_nil,
    .freeObject = on_free,
};

struct nc_reader *nc_reader_create(const struct nc_reader_events *events)
{
    struct nc_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return NULL;
    reader->reader = redisReaderCreateWithFunctions(&functions);
    if (!reader->reader) {
        free(reader);
        return NULL;
    }
    reader->reader->privdata = reader;
    reader->events = *events;
    return reader;
}

void nc_reader_destroy(struct nc_reader *reader)
{
    if (!reader)
        return;
    redisReaderFree(reader->reader);
    free(reader);
}

int nc_reader_feed(struct nc_reader *reader, const char *bytes, size_t count)
{
    void *object;
    if (redisReaderFeed(reader->reader, bytes, count) != REDIS_OK)
        return NEARCACHE_ENOMEM;
    if (reader->reader->len - reader->reader->pos > BULK_MOST + 64)
        return NEARCACHE_EPROTOCOL;
    for (;;) {
        object = NULL;
        if (redisReaderGetReply(reader->reader, &object) != REDIS_OK)
            return reader->reader->err == REDIS_ERR_OOM && !reader->hostile ? NEARCACHE_ENOMEM
                                                                            : NEARCACHE_EPROTOCOL;
        if (!object)
            return 0;
        reader->events.on_end(reader->events.arg);
    }
}
