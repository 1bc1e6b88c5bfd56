/*
 * cli/check: the inside of `nearcache check`: each check asks one question and reports one line,
 * with what to do when the answer is not fine.
 */
#ifndef NC_CLI_CHECK_H
#define NC_CLI_CHECK_H

#include "cli/json.h"
#include "cli/raw.h"
#include "cli/settings.h"

#include <pthread.h>

enum cli_verdict { CLI_CHECK_OK, CLI_CHECK_WARN, CLI_CHECK_FAIL, CLI_CHECK_SKIP, CLI_VERDICTS };

/* One thread. */
struct cli_check {
    const struct cli_command *command;
    struct cli_settings *settings;
    struct cli_target target;
    const char *prefix;     /* of all keys that are touched, the cache's own apart */
    const char *name_space; /* of the cache's own keys and channels */
    char name[64];          /* of this run's keys, after the prefix */
    redisContext *raw;      /* NULL: none could be or had to be made */
    /* Two caches in one process, as two processes would be; NULL until opened. */
    struct nearcache *first, *second;
    struct nearcache_tier *first_tier, *second_tier;
    struct nearcache_tier *tracking_tier; /* of the second one */
    int tracking_outcome;                 /* of opening it */
    pthread_mutex_t log_lock;
    char log_line[256]; /* guarded by log_lock: the last one that says why a link is down */
    bool may_track;     /* the user may; known after the check of rights */
    bool unreachable;
    bool text; /* the report is a table */
    struct cli_json json;
    unsigned counts[CLI_VERDICTS];
};

/* Reports a check. `advice` is NULL, or what to do about it. */
void cli_check_report(struct cli_check *check, const char *name, enum cli_verdict verdict,
                      const char *advice, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* A key of this run: prefix, name and what. Into key[512]. */
#define CLI_CHECK_KEY_BYTES 512
void cli_check_key(const struct cli_check *check, const char *what, char *key);
/* The same without the prefix. */
void cli_check_name(const struct cli_check *check, const char *what, char *name);

/* About the server, over a plain connection. */
void cli_check_connection(struct cli_check *check);
void cli_check_version(struct cli_check *check);
void cli_check_role(struct cli_check *check);
void cli_check_memory(struct cli_check *check);
void cli_check_rights(struct cli_check *check);
void cli_check_ping(struct cli_check *check);

/* About the cache on this server. */
void cli_check_link(struct cli_check *check);
void cli_check_set_get(struct cli_check *check);
void cli_check_ttl(struct cli_check *check);
void cli_check_json(struct cli_check *check);
void cli_check_pipeline(struct cli_check *check);
void cli_check_pubsub(struct cli_check *check);
void cli_check_tracking(struct cli_check *check);
void cli_check_latency(struct cli_check *check);

#endif
