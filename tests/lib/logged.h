/*
 * What a cache or a link has logged, for one test program: on_log is its log callback, `logged` all
 * lines so far (printed when an assertion fails), was_logged whether they contain a text.
 */
#ifndef LIB_LOGGED_H
#define LIB_LOGGED_H

#include <nearcache.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

static char logged[1 << 16];
static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void on_log(void *arg, enum nearcache_log_level level, const char *line)
{
    (void)arg;
    (void)level;
    pthread_mutex_lock(&log_lock);
    strncat(logged, line, sizeof logged - strlen(logged) - 2);
    strcat(logged, "\n");
    pthread_mutex_unlock(&log_lock);
}

static inline bool was_logged(const char *text)
{
    pthread_mutex_lock(&log_lock);
    bool found = strstr(logged, text) != NULL;
    pthread_mutex_unlock(&log_lock);
    return found;
}

#endif
