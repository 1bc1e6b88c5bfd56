/*
 * An event loop of epoll's own kind with a cache in it: asks for keys and prints what comes.
 *
 *     REDIS_URL=redis://127.0.0.1:6379/0 examples/epoll_loop 1 2 3
 */
#include <nearcache/async.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

static int pending;

static void print(const char *name, int status, const struct nearcache_result *result)
{
    if (status == 0)
        printf("%s: %.*s\n", name, (int)result->bytes, (const char *)result->data);
    else
        printf("%s: %s\n", name, status == NEARCACHE_MISS ? "none" : nearcache_strerror(status));
}

static void on_product(void *name, int status, struct nearcache_result *result)
{
    print(name, status, result);
    nearcache_release(result);
    pending--;
}

static void ask(struct nearcache_tier *products, char *name)
{
    struct nearcache_result result;
    int outcome =
        nearcache_get_async(products, name, strlen(name), NULL, on_product, name, &result, NULL);
    if (outcome == NEARCACHE_PENDING) {
        pending++;
        return;
    }
    print(name, outcome, &result); /* it was here: no callback */
    nearcache_release(&result);
}

int main(int argc, char **argv)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct epoll_event event = {.events = EPOLLIN};
    struct nearcache *cache;
    struct nearcache_tier *products;
    int loop = epoll_create1(EPOLL_CLOEXEC);

    int from_env = nearcache_redis_from_env(&redis);
    config.redis = from_env == 0 ? &redis : NULL; /* NULL: local-only */
    if (loop < 0 || from_env < 0 || nearcache_open(&cache, &config) != 0)
        return 1;
    if (nearcache_tier_open_preset(cache, NEARCACHE_PRODUCTS, &products) != 0 ||
        nearcache_wait(cache, 1000000) < 0)
        fprintf(stderr, "Redis is away; going on without\n");
    if (epoll_ctl(loop, EPOLL_CTL_ADD, nearcache_fd(cache), &event) != 0)
        return 1;
    for (int i = 1; i < argc; i++)
        ask(products, argv[i]);
    while (pending > 0 && epoll_wait(loop, &event, 1, -1) >= 0)
        nearcache_dispatch(cache, 0);
    close(loop);
    return nearcache_close(cache, 0);
}
