/*
 * cli/raw: a plain hiredis connection, for what the commands compare the cache with and for
 * questions that the cache's interface has no words for. Blocking, with a timeout.
 */
#ifndef NC_CLI_RAW_H
#define NC_CLI_RAW_H

#include "cli/target.h"

#include <hiredis/hiredis.h>

#define CLI_RAW_TIMEOUT_S 5
#define CLI_RAW_PROBLEM_BYTES 256

enum cli_raw_result {
    CLI_RAW_FINE,
    CLI_RAW_UNREACHABLE, /* no connection, or it answers nothing */
    CLI_RAW_REFUSED,     /* it answers, and wants other credentials or has no such database */
    CLI_RAW_TLS          /* the target wants TLS, which this plain connection has not */
};

/*
 * Connects, authenticates, selects. On success *context is the caller's to redisFree; else
 * `problem` says what is wrong, without secrets.
 */
enum cli_raw_result cli_raw_open(const struct cli_target *target, redisContext **context,
                                 char problem[CLI_RAW_PROBLEM_BYTES]);

/* redisCommand whose reply is always there to look at until the next call: an error if need be. */
struct cli_reply {
    redisReply *reply;
    const char *error; /* NULL: no error */
};
struct cli_reply cli_raw_ask(redisContext *context, const char *format, ...);
void cli_reply_free(struct cli_reply *reply);

/* The value after "name:" in the text of INFO, into value[capacity]. */
bool cli_raw_info(const char *info, const char *name, char *value, size_t capacity);

#endif
