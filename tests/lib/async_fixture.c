#include "lib/async_fixture.h"

#include "lib/loop_is_up.h"
#include "lib/wait_until.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct redis_server server;
struct nearcache *cache;
struct nearcache_tier *tier;

struct nearcache *open_cache(uint64_t deadline_us)
{
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    return open_cache_with(&config, deadline_us);
}

struct nearcache *open_cache_with(const struct nearcache_config *given, uint64_t deadline_us)
{
    static const struct nearcache_redis defaults = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = *given;
    struct nearcache_redis redis = given->redis ? *given->redis : defaults;
    struct nearcache *opened;
    redis.url = server.unix_url;
    config.redis = &redis;
    config.deadline_us = deadline_us;
    cr_assert_eq(nearcache_open(&opened, &config), 0);
    cr_assert_eq(nearcache_wait(opened, PATIENT_US), 0);
    return opened;
}

struct nearcache_tier *open_tier(struct nearcache *in)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_tier *opened;
    config.name = "t";
    config.prefix = "t:";
    config.redis_ttl_ms = 60000;
    cr_assert_eq(nearcache_tier_open(in, &config, &opened), 0);
    return opened;
}

void async_set_up(void)
{
    cr_assert(redis_server_start(&server, NULL));
    cache = open_cache(PATIENT_US);
    tier = open_tier(cache);
    wait_for_loop();
}

void async_tear_down(void)
{
    cr_assert_eq(nearcache_close(cache, 0), 0);
    redis_server_stop(&server);
}

void loop_until(const unsigned *count, unsigned wanted)
{
    struct pollfd readable = {nearcache_fd(cache), POLLIN, 0};
    cr_assert_geq(readable.fd, 0);
    while (*count < wanted) {
        cr_assert_gt(poll(&readable, 1, PATIENT_MS), 0, "nothing came, %u of %u", *count, wanted);
        cr_assert_geq(nearcache_dispatch(cache, 0), 0);
    }
}

void on_get(void *arg, int status, struct nearcache_result *result)
{
    struct got *got = arg;
    got->calls++;
    got->status = status;
    got->source = result->source;
    got->text[0] = '\0';
    if (status == 0) {
        snprintf(got->text, sizeof got->text, "%.*s", (int)result->bytes,
                 (const char *)result->data);
        nearcache_release(result);
    }
}

void on_end(void *arg, int status)
{
    struct got *got = arg;
    got->calls++;
    got->status = status;
}

int get(const char *name, struct got *got, nearcache_ticket *ticket)
{
    struct nearcache_result result;
    int outcome = nearcache_get_async(tier, name, strlen(name), NULL, on_get, got, &result, ticket);
    if (outcome == 0)
        nearcache_release(&result);
    return outcome;
}

void wait_for_loop(void)
{
    struct got got = {0};
    cr_assert_eq(get("first", &got, NULL), NEARCACHE_PENDING);
    loop_until(&got.calls, 1);
    cr_assert_eq(got.status, NEARCACHE_MISS);
    cr_assert(WAIT_UNTIL(loop_is_up(cache), PATIENT_MS));
}

long requests(const char *command)
{
    char field[32];
    snprintf(field, sizeof field, "cmdstat_%s:calls=", command);
    char *text = redis_server_ask(&server, "INFO commandstats");
    const char *at = text ? strstr(text, field) : NULL;
    long count = at ? strtol(at + strlen(field), NULL, 10) : 0;
    free(text);
    return count;
}

bool redis_says(const char *text, const char *command)
{
    char *answer = redis_server_ask(&server, command);
    bool so = answer && strcmp(answer, text) == 0;
    free(answer);
    return so;
}

unsigned threads(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/task");
    const struct dirent *entry;
    cr_assert_not_null(dir);
    while ((entry = readdir(dir)))
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}
