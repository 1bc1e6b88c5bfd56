/* Snapshots, JSON and Prometheus text of a local-only cache. */
#include "unit/api_fixture.h"

#include "lib/child.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(api_metrics, .init = api_open, .fini = api_close);

Test(api_metrics, every_call_is_counted_by_what_became_of_it)
{
    struct nearcache_result r;
    api_set("k", "v");
    api_get_is("k", "v");
    api_get_is("k", "v");
    api_get_is("no", "");
    nearcache_delete(api_tier, "k", 1, NULL);
    nearcache_set(api_vectors, "k", 1, "short", 5, NULL);
    nearcache_get(api_tier, "k", 0, NULL, &r);
    struct nearcache_metrics m = api_metrics(), t = NEARCACHE_METRICS_INIT;
    cr_expect_eq(m.writes, 1);
    cr_expect_eq(m.hits_local, 2);
    cr_expect_eq(m.misses, 1);
    cr_expect_eq(m.deletes, 1);
    cr_expect_eq(m.removed_invalidated, 1);
    cr_expect_eq(m.entries, 0);
    cr_expect_eq(m.heartbeat_age_ms, NEARCACHE_NONE);
    cr_expect_eq(m.link_state, NEARCACHE_LINK_NONE);
    cr_assert_eq(nearcache_metrics_tier(api_tier, &t), 0);
    cr_expect_eq(t.hits_local, 2);
    cr_expect_eq(t.bytes_budget, 0);
    cr_assert_eq(nearcache_metrics_tier(api_vectors, &t), 0);
    cr_expect_eq(t.hits_local, 0);
}

Test(api_metrics, gauges_follow_what_is_here)
{
    struct nearcache_result r;
    struct nearcache_metrics before = api_metrics();
    char value[5000] = {0};
    nearcache_set(api_tier, "k", 1, value, sizeof value, NULL);
    nearcache_get(api_tier, "k", 1, NULL, &r);
    struct nearcache_metrics m = api_metrics();
    cr_expect_eq(m.entries, 1);
    cr_expect_eq(m.pinned, 1);
    cr_expect_geq(m.bytes_entries, before.bytes_entries + sizeof value);
    cr_expect_leq(m.bytes_used, m.bytes_budget);
    nearcache_release(&r);
    cr_expect_eq(api_metrics().pinned, 0);
}

Test(api_metrics, arguments_are_checked)
{
    struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
    char text[4];
    size_t bytes;
    cr_expect_eq(nearcache_metrics(NULL, &m), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_metrics(api_cache, NULL), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_metrics_tier(NULL, &m), NEARCACHE_EINVAL);
    m.size = 0;
    cr_expect_eq(nearcache_metrics(api_cache, &m), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_metrics_prometheus(NULL, text, 4, &bytes), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_metrics_prometheus(api_cache, NULL, 4, &bytes), NEARCACHE_EINVAL);
    cr_expect_eq(nearcache_metrics_json(api_cache, text, 4, NULL), NEARCACHE_EINVAL);
}

Test(api_metrics, an_older_shorter_struct_gets_what_it_has_room_for)
{
    struct nearcache_metrics m = NEARCACHE_METRICS_INIT;
    api_get_is("no", "");
    memset(&m, 0x55, sizeof m);
    m.size = offsetof(struct nearcache_metrics, misses);
    cr_assert_eq(nearcache_metrics(api_cache, &m), 0);
    cr_expect_eq(m.size, offsetof(struct nearcache_metrics, misses));
    cr_expect_eq(m.hits_negative, 0);
    cr_expect_eq(m.misses, UINT64_C(0x5555555555555555), "nothing is written past its size");
}

Test(api_metrics, text_says_how_much_room_it_needs)
{
    size_t bytes = 0, again = 0;
    cr_expect_eq(nearcache_metrics_json(api_cache, NULL, 0, &bytes), NEARCACHE_ETOOBIG);
    cr_assert_gt(bytes, 100);
    char *text = malloc(bytes + 1);
    cr_expect_eq(nearcache_metrics_json(api_cache, text, bytes, &again), NEARCACHE_ETOOBIG);
    cr_expect_eq(nearcache_metrics_json(api_cache, text, bytes + 1, &again), 0);
    cr_expect_eq(again, strlen(text));
    free(text);
}

Test(api_metrics, a_tier_never_takes_more_than_8_kib)
{
    struct nearcache_tier_config config = NEARCACHE_TIER_INIT;
    struct nearcache_tier *tier;
    size_t before, after;
    nearcache_metrics_prometheus(api_cache, NULL, 0, &before);
    config.name = "a_name_of_the_longest_kind_31xx";
    cr_assert_eq(nearcache_tier_open(api_cache, &config, &tier), 0);
    nearcache_metrics_prometheus(api_cache, NULL, 0, &after);
    cr_expect_leq(after - before, 8192);
}

/* Debian's package prometheus has promtool; elsewhere this says nothing. */
Test(api_metrics, promtool_accepts_the_text)
{
    static char text[65536];
    const char *const argv[] = {"promtool", "check", "metrics", NULL};
    size_t bytes;
    if (!child_find("promtool"))
        cr_skip_test("promtool is not installed");
    api_set("k", "v");
    api_get_is("k", "v");
    cr_assert_eq(nearcache_metrics_prometheus(api_cache, text, sizeof text, &bytes), 0);
    FILE *file = tmpfile();
    cr_assert_eq(fwrite(text, 1, bytes, file), bytes);
    rewind(file);
    pid_t pid = child_start(argv, fileno(file), -1, -1);
    int status = child_wait(pid, 30000);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "promtool: status %x", status);
    fclose(file);
}
