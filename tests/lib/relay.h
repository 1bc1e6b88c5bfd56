/*
 * A relay before a server: a test decides what passes, when and in which parts. One thread runs it,
 * and every hook; what a hook shares with the test is atomic.
 */
#ifndef LIB_RELAY_H
#define LIB_RELAY_H

#include "lib/redis_server.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

enum { RELAY_PAIRS = 32, RELAY_TICK_MS = 2 };

struct relay_pair {
    int client, server; /* -1: over */
    bool is_special;    /* for the test to say */
};

struct relay {
    /* Set before the start; NULL: all is passed on. There is something to be read; false: nothing
     * will come any more. */
    bool (*on_request)(struct relay_pair *pair);
    bool (*on_reply)(struct relay_pair *pair);
    /* Whether replies are to be left where they are. */
    bool (*is_mute)(const struct relay_pair *pair);
    void (*on_tick)(void); /* at least every RELAY_TICK_MS */

    char url[128]; /* to be connected to */
    /* Its own. */
    const char *server_path;
    char path[108];
    int listener;
    pthread_t thread;
    _Atomic bool stop;
    struct relay_pair pairs[RELAY_PAIRS];
    unsigned count;
};

/* Asserts what it needs. The server is to stay. */
void relay_start(struct relay *relay, const struct redis_server *server);
void relay_stop(struct relay *relay);

/* For hooks. Up to `most` bytes of what is there. */
bool relay_pass(int from, int to, size_t most);
bool relay_put(int to, const char *bytes, size_t count);

#endif
