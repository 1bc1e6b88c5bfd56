/*
 * redis/reply: replies (RESP2) as a flat stream of parts: no reply objects are built, and bulk data
 * is handed over where it was received, to be copied once, by whoever wants it, to where it
 * belongs.
 *
 * A parser of our own and not hiredis': that one of Debian 12 ends the process when memory runs
 * out, searches an endless line from its beginning with every piece, and copies every byte once
 * more. hiredis is the oracle in tests/fuzz and the peer in bench/bench_redis_parse.
 *
 * Replies are untrusted: what is malformed, too large or nested too deep ends the connection, and
 * memory is taken for bytes that have come, not for what a header claims.
 */
#ifndef NC_REDIS_REPLY_H
#define NC_REDIS_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum nc_reply_type {
    NC_REPLY_STATUS,
    NC_REPLY_ERROR,
    NC_REPLY_INTEGER,
    NC_REPLY_NIL,
    NC_REPLY_BULK,
    NC_REPLY_ARRAY /* its elements follow, one deeper */
};

struct nc_reply_part {
    uint32_t reply;    /* of this request: 0, 1, ... */
    uint32_t depth;    /* 0: the reply itself */
    uint64_t index;    /* among the elements of the array that it stands in */
    uint64_t elements; /* of an array */
    enum nc_reply_type type;
    const char *str; /* of a status, an error, a bulk; valid during the call */
    size_t bytes;
    int64_t integer;
};

/* Receives parts in order. Never blocks, never calls back into the client. */
struct nc_sink {
    int (*part)(struct nc_sink *sink, const struct nc_reply_part *part);
};

/* One connection's parser. One thread at a time. */
struct nc_reader;

/* `on_part` gets every part; `on_end` is told when a whole reply is complete. */
struct nc_reader_events {
    void (*on_part)(void *arg, const struct nc_reply_part *part);
    void (*on_end)(void *arg);
    void *arg;
};

struct nc_reader *nc_reader_create(const struct nc_reader_events *events);
void nc_reader_destroy(struct nc_reader *reader);
/* Parses what arrived. 0; NEARCACHE_EPROTOCOL or NEARCACHE_ENOMEM: the stream is lost. */
int nc_reader_feed(struct nc_reader *reader, const char *bytes, size_t count);

#endif
