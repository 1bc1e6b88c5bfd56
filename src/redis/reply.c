#include "redis/reply.h"

#include "nearcache.h"

#include <stdlib.h>
#include <string.h>

/* The protocol's own limit; a header that claims more is a lie. */
#define BULK_MOST ((int64_t)512 << 20)
#define ARRAY_MOST ((int64_t)1 << 24)
#define DEPTH_MOST 16
/* Of a status, an error or a header: Redis' own are below a kilobyte. */
#define LINE_MOST ((size_t)64 * 1024)
/* What a long value has grown is given back. */
#define KEEP_BYTES ((size_t)256 * 1024)

/*
 * Bytes are parsed where they lie. Only what ends in the middle of a line or of a bulk is kept for
 * the next piece, so most bulks are never copied here:
 *
 *     piece   |...$5\r\nhello\r\n$9\r\nnear|      piece   |cache\r\n...|
 *                                      kept: `near`, 7 of 11 bytes due
 */
struct nc_reader {
    struct nc_reader_events events;
    char *kept; /* the beginning of what has not ended */
    size_t used, room;
    size_t due; /* of a bulk and its line end; 0: a line is being read */
    bool lost;
    unsigned depth; /* arrays that have not ended, the innermost last */
    struct {
        uint64_t index, elements;
    } arrays[DEPTH_MOST];
};

struct nc_reader *nc_reader_create(const struct nc_reader_events *events)
{
    struct nc_reader *reader = calloc(1, sizeof *reader);
    if (reader)
        reader->events = *events;
    return reader;
}

void nc_reader_destroy(struct nc_reader *reader)
{
    if (!reader)
        return;
    free(reader->kept);
    free(reader);
}

/* ---- parts ---- */

/* An element is complete: so may be the arrays that it is the last of. */
static void complete(struct nc_reader *reader)
{
    while (reader->depth > 0) {
        unsigned inner = reader->depth - 1;
        if (++reader->arrays[inner].index < reader->arrays[inner].elements)
            return;
        reader->depth--;
    }
    reader->events.on_end(reader->events.arg);
}

static void deliver(struct nc_reader *reader, struct nc_reply_part *part)
{
    part->depth = reader->depth;
    part->index = reader->depth > 0 ? reader->arrays[reader->depth - 1].index : 0;
    reader->events.on_part(reader->events.arg, part);
}

static void deliver_text(struct nc_reader *reader, enum nc_reply_type type, const char *text,
                         size_t bytes)
{
    struct nc_reply_part part = {.type = type, .str = text, .bytes = bytes};
    deliver(reader, &part);
    complete(reader);
}

static void deliver_nil(struct nc_reader *reader)
{
    struct nc_reply_part part = {.type = NC_REPLY_NIL};
    deliver(reader, &part);
    complete(reader);
}

static bool begin_array(struct nc_reader *reader, uint64_t elements)
{
    struct nc_reply_part part = {.type = NC_REPLY_ARRAY, .elements = elements};
    if (reader->depth == DEPTH_MOST)
        return false;
    deliver(reader, &part);
    if (elements == 0) {
        complete(reader);
        return true;
    }
    reader->arrays[reader->depth].index = 0;
    reader->arrays[reader->depth++].elements = elements;
    return true;
}

/* ---- lines ---- */

/* As Redis writes numbers: no blanks, no plus, no leading zeros. */
static bool parse_number(const char *text, size_t bytes, int64_t *number)
{
    bool negative = bytes > 0 && text[0] == '-';
    uint64_t n = 0;
    text += negative;
    bytes -= negative;
    if (bytes == 0 || bytes > 19 || (text[0] == '0' && (bytes > 1 || negative)))
        return false;
    for (size_t i = 0; i < bytes; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9)
            return false;
        n = n * 10 + digit;
    }
    if (n > (uint64_t)INT64_MAX + negative)
        return false;
    *number = (int64_t)(negative ? 0 - n : n);
    return true;
}

/* A line without its end. False: it is not the protocol. */
static bool take_line(struct nc_reader *reader, const char *line, size_t bytes)
{
    struct nc_reply_part part = {.type = NC_REPLY_INTEGER};
    int64_t number;
    if (bytes == 0)
        return false;
    switch (line[0]) {
    case '+':
        deliver_text(reader, NC_REPLY_STATUS, line + 1, bytes - 1);
        return true;
    case '-':
        deliver_text(reader, NC_REPLY_ERROR, line + 1, bytes - 1);
        return true;
    case ':':
        if (!parse_number(line + 1, bytes - 1, &part.integer))
            return false;
        deliver(reader, &part);
        complete(reader);
        return true;
    case '$':
        if (!parse_number(line + 1, bytes - 1, &number) || number < -1 || number > BULK_MOST)
            return false;
        if (number < 0)
            deliver_nil(reader);
        else
            reader->due = (size_t)number + 2;
        return true;
    case '*':
        if (!parse_number(line + 1, bytes - 1, &number) || number < -1 || number > ARRAY_MOST)
            return false;
        if (number < 0)
            deliver_nil(reader);
        else
            return begin_array(reader, (uint64_t)number);
        return true;
    default:
        return false;
    }
}

/* A bulk and its line end. */
static bool take_bulk(struct nc_reader *reader, const char *bulk)
{
    size_t bytes = reader->due - 2;
    reader->due = 0;
    if (bulk[bytes] != '\r' || bulk[bytes + 1] != '\n')
        return false;
    deliver_text(reader, NC_REPLY_BULK, bulk, bytes);
    return true;
}

/* ---- pieces ---- */

/* Room is made as bytes come, never for what a header only claims. */
static bool keep(struct nc_reader *reader, const char *bytes, size_t count)
{
    if (reader->room - reader->used < count) {
        size_t room = 2 * (reader->used + count);
        if (reader->due > 0 && room > reader->due)
            room = reader->due;
        char *grown = realloc(reader->kept, room);
        if (!grown)
            return false;
        reader->kept = grown;
        reader->room = room;
    }
    memcpy(reader->kept + reader->used, bytes, count);
    reader->used += count;
    return true;
}

static void forget(struct nc_reader *reader)
{
    reader->used = 0;
    if (reader->room <= KEEP_BYTES)
        return;
    free(reader->kept);
    reader->kept = NULL;
    reader->room = 0;
}

/* How many of the bytes belonged to the bulk being read; a negative outcome. */
static int64_t feed_bulk(struct nc_reader *reader, const char *bytes, size_t count)
{
    size_t taken = reader->due - reader->used;
    bool whole = taken <= count, good = true;
    taken = whole ? taken : count;
    if (whole && reader->used == 0)
        return take_bulk(reader, bytes) ? (int64_t)taken : NEARCACHE_EPROTOCOL;
    if (!keep(reader, bytes, taken))
        return NEARCACHE_ENOMEM;
    if (whole) {
        good = take_bulk(reader, reader->kept);
        forget(reader);
    }
    return good ? (int64_t)taken : NEARCACHE_EPROTOCOL;
}

static int64_t feed_line(struct nc_reader *reader, const char *bytes, size_t count)
{
    const char *end = memchr(bytes, '\n', count);
    size_t taken = end ? (size_t)(end - bytes) + 1 : count, length = reader->used + taken;
    const char *line = bytes;
    if (length > LINE_MOST)
        return NEARCACHE_EPROTOCOL;
    /* Nonsense is known by its first byte and need not be waited for. */
    if (reader->used == 0 && !memchr("+-:$*", bytes[0], 5))
        return NEARCACHE_EPROTOCOL;
    if (!end || reader->used > 0) {
        if (!keep(reader, bytes, taken))
            return NEARCACHE_ENOMEM;
        line = reader->kept;
    }
    if (!end)
        return (int64_t)taken;
    bool good = length >= 2 && line[length - 2] == '\r' && take_line(reader, line, length - 2);
    forget(reader);
    return good ? (int64_t)taken : NEARCACHE_EPROTOCOL;
}

int nc_reader_feed(struct nc_reader *reader, const char *bytes, size_t count)
{
    if (reader->lost)
        return NEARCACHE_EPROTOCOL;
    while (count > 0) {
        int64_t taken =
            reader->due > 0 ? feed_bulk(reader, bytes, count) : feed_line(reader, bytes, count);
        if (taken < 0) {
            reader->lost = true;
            return (int)taken;
        }
        bytes += taken;
        count -= (size_t)taken;
    }
    return 0;
}
