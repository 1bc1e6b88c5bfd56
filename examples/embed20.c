/* The smallest program that embeds the cache. With REDIS_URL or REDIS_HOST set it uses Redis. */
#include <nearcache.h>
#include <stdio.h>

int main(void)
{
    struct nearcache_redis redis = NEARCACHE_REDIS_INIT;
    struct nearcache_config config = NEARCACHE_CONFIG_INIT;
    struct nearcache *cache;
    struct nearcache_tier *products;
    struct nearcache_result hit;

    int from_env = nearcache_redis_from_env(&redis);
    config.redis = from_env == 0 ? &redis : NULL; /* NULL: local-only */
    if (from_env < 0 || nearcache_open(&cache, &config) != 0)
        return 1;
    nearcache_tier_open_preset(cache, NEARCACHE_PRODUCTS, &products);
    nearcache_set(products, "42", 2, "{\"title\":\"shoe\"}", 16, NULL);
    if (nearcache_get(products, "42", 2, NULL, &hit) == 0) {
        printf("%.*s\n", (int)hit.bytes, (const char *)hit.data); /* zero copy, until the release */
        nearcache_release(&hit);
    }
    return nearcache_close(cache, 0);
}
