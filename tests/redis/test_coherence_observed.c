/* What a cache says about its coherence: log lines, counters, the callback of the link. */
#include "coherence.h"

#include <pthread.h>

REDIS_SERVER_REQUIRED;

static struct redis_server server;

static void set_up(void) { cr_assert(redis_server_start(&server, NULL)); }
static void tear_down(void) { redis_server_stop(&server); }

TestSuite(coherence_observed, .init = set_up, .fini = tear_down, .timeout = 60);

/* ---- what was logged and called back ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    unsigned warnings, lost, back, connect_failures;
    unsigned states[8];
} told;

static void on_log(void *arg, enum nearcache_log_level level, const char *line)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    told.warnings += level <= NEARCACHE_LOG_WARNING;
    told.lost += strstr(line, "is lost") != NULL;
    told.back += strstr(line, "live again after") != NULL;
    told.connect_failures += strstr(line, "cannot connect") && level <= NEARCACHE_LOG_WARNING;
    pthread_mutex_unlock(&lock);
}

static void on_link(void *arg, enum nearcache_link state)
{
    (void)arg;
    pthread_mutex_lock(&lock);
    told.states[state]++;
    pthread_mutex_unlock(&lock);
}

static unsigned locked(const unsigned *number)
{
    pthread_mutex_lock(&lock);
    unsigned value = *number;
    pthread_mutex_unlock(&lock);
    return value;
}

Test(coherence_observed, an_outage_is_told_once_and_its_end_once)
{
    struct nearcache_config config = coherence_config();
    config.log = on_log;
    config.log_level = NEARCACHE_LOG_DEBUG;
    config.on_link = on_link;
    struct nearcache *cache = coherence_open(&server, config);
    coherence_tier(cache, coherence_tier_config());
    cr_expect_eq(locked(&told.warnings), 0);
    redis_server_kill(&server);
    cr_assert(WAIT_UNTIL(locked(&told.states[NEARCACHE_LINK_CONNECTING]) >= 5, 20000));
    cr_expect_eq(locked(&told.lost), 1);
    cr_expect_eq(locked(&told.connect_failures), 1, "each reason once");
    cr_expect_leq(locked(&told.warnings), 3);
    cr_assert(redis_server_restart(&server));
    cr_assert_eq(nearcache_wait(cache, 20000000), 0);
    cr_assert(WAIT_UNTIL(locked(&told.back) == 1, 5000));
    cr_expect_eq(locked(&told.states[NEARCACHE_LINK_LIVE]), 2);
    cr_expect_geq(locked(&told.states[NEARCACHE_LINK_SYNCING]), 2);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

Test(coherence_observed, stale_answers_start_no_flights)
{
    struct nearcache_tier_config config = coherence_tier_config();
    config.off_link = NEARCACHE_OFF_LINK_STALE;
    struct nearcache *cache = coherence_open(&server, coherence_config());
    struct nearcache_tier *tier = coherence_tier(cache, config);
    enum nearcache_source source;
    cr_assert_eq(coherence_set(tier, "a", "1"), 0);
    cr_assert_eq(coherence_get(tier, "a", "1", &source), 0);
    redis_server_kill(&server);
    cr_assert(WAIT_UNTIL(nearcache_link_state(cache) != NEARCACHE_LINK_LIVE, 10000));
    uint64_t flights = coherence_metrics(cache).flights;
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(coherence_get(tier, "a", "1", &source), 0);
        cr_assert_eq(source, NEARCACHE_SOURCE_STALE);
    }
    struct nearcache_metrics metrics = coherence_metrics(cache);
    cr_expect_eq(metrics.flights, flights);
    cr_expect_eq(metrics.hits_stale, 100);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

Test(coherence_observed, staleness_of_foreign_writes_is_a_histogram)
{
    struct nearcache *ours = coherence_open(&server, coherence_config());
    struct nearcache *theirs = coherence_open(&server, coherence_config());
    struct nearcache_tier *here = coherence_tier(ours, coherence_tier_config());
    struct nearcache_tier *there = coherence_tier(theirs, coherence_tier_config());
    for (int i = 0; i < 10; i++) {
        char value[16];
        snprintf(value, sizeof value, "%d", i);
        cr_assert_eq(coherence_set(there, "a", value), 0);
        cr_assert_eq(nearcache_sync(ours, 5000000), 0);
        cr_assert_eq(coherence_get(here, "a", value, NULL), 0);
    }
    struct nearcache_metrics metrics = coherence_metrics(ours);
    cr_expect_geq(metrics.staleness_count, 10);
    cr_expect_geq(metrics.staleness_count, metrics.staleness_le_1s);
    cr_expect_geq(metrics.staleness_le_1s, metrics.staleness_le_1ms);
    cr_expect_geq(metrics.staleness_sum_us, metrics.staleness_max_us);
    cr_expect_eq(coherence_metrics(theirs).staleness_count, 0, "own messages do not count");
    static char text[1 << 20];
    size_t bytes;
    cr_assert_eq(nearcache_metrics_prometheus(ours, text, sizeof text, &bytes), 0);
    cr_expect_not_null(strstr(text, "# TYPE nearcache_staleness_seconds histogram\n"));
    cr_expect_not_null(strstr(text, "nearcache_staleness_seconds_bucket{le=\"+Inf\"} "));
    cr_assert_eq(nearcache_close(ours, 0), 0);
    cr_assert_eq(nearcache_close(theirs, 0), 0);
}

static int load_value(void *arg, const void *name, size_t name_bytes,
                      struct nearcache_loaded *loaded)
{
    (void)name;
    (void)name_bytes;
    loaded->data = arg;
    loaded->bytes = strlen(arg);
    return 0;
}

Test(coherence_observed, an_absence_that_an_own_load_replaces_is_no_invalidation)
{
    struct nearcache *cache = coherence_open(&server, coherence_config());
    struct nearcache_tier *tier = coherence_tier(cache, coherence_tier_config());
    struct nearcache_result result;
    char made[] = "made";
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        cr_assert_eq(coherence_get(tier, name, NULL, NULL), NEARCACHE_MISS);
        cr_assert_eq(
            nearcache_get_or_load(tier, name, strlen(name), NULL, load_value, made, &result), 0);
        nearcache_release(&result);
    }
    cr_assert_eq(nearcache_sync(cache, 5000000), 0);
    cr_expect_eq(coherence_metrics(cache).removed_invalidated, 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

/* ---- loaders and newer writes ---- */

enum { DIMENSION = 4 };

/* While it runs, the other process writes the row of "1". */
static int load_rows(void *arg, const struct nearcache_name *names, size_t count, void *rows,
                     size_t row_stride_bytes, int *statuses)
{
    float newer[DIMENSION] = {7, 7, 7, 7};
    for (size_t i = 0; i < count; i++) {
        float *row = (float *)((char *)rows + i * row_stride_bytes);
        for (int d = 0; d < DIMENSION; d++)
            row[d] = 1;
        statuses[i] = 0;
        if (names[i].bytes == 1 && *(const char *)names[i].data == '1')
            cr_assert_eq(nearcache_set(arg, "1", 1, newer, sizeof newer, NULL), 0);
    }
    return 0;
}

Test(coherence_observed, rows_that_a_loader_made_do_not_bury_a_newer_write)
{
    struct nearcache_tier_config config = coherence_tier_config();
    config.kind = NEARCACHE_VECTOR_F32;
    config.dimension = DIMENSION;
    struct nearcache *ours = coherence_open(&server, coherence_config());
    struct nearcache *theirs = coherence_open(&server, coherence_config());
    struct nearcache_tier *here = coherence_tier(ours, config);
    struct nearcache_tier *there = coherence_tier(theirs, config);
    struct nearcache_name names[3] = {{"0", 1}, {"1", 1}, {"2", 1}};
    enum nearcache_source sources[3];
    float matrix[3][DIMENSION];
    int statuses[3];
    cr_assert_eq(
        nearcache_get_vectors(here, names, 3, NULL, matrix, 0, load_rows, there, statuses, sources),
        0);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(matrix[i][0], i == 1 ? 7 : 1, "row %d is %g", i, (double)matrix[i][0]);
    cr_expect_eq(sources[0], NEARCACHE_SOURCE_LOADED);
    cr_expect_eq(sources[1], NEARCACHE_SOURCE_REMOTE);
    cr_assert_eq(nearcache_sync(theirs, 5000000), 0);
    cr_assert_eq(
        nearcache_get_vectors(there, names, 3, NULL, matrix, 0, NULL, NULL, statuses, NULL), 0);
    cr_expect_eq(matrix[1][0], 7);
    cr_expect_eq(matrix[2][0], 1);
    cr_assert_eq(
        nearcache_get_vectors(here, names, 3, NULL, matrix, 0, NULL, NULL, statuses, sources), 0);
    cr_expect_eq(sources[0], NEARCACHE_SOURCE_LOCAL, "loaded rows stay cached");
    cr_expect_eq(matrix[1][0], 7);
    cr_assert_eq(nearcache_close(ours, 0), 0);
    cr_assert_eq(nearcache_close(theirs, 0), 0);
}

/* ---- self-audit ---- */

Test(coherence_observed, an_audit_of_an_empty_value_finds_it_the_same)
{
    struct nearcache_config config = coherence_config();
    config.audit_per_million = 1000000;
    struct nearcache *cache = coherence_open(&server, config);
    struct nearcache_tier *tier = coherence_tier(cache, coherence_tier_config());
    cr_assert_eq(coherence_set(tier, "a", ""), 0);
    cr_assert(WAIT_UNTIL(
        coherence_get(tier, "a", "", NULL) == 0 && coherence_metrics(cache).audits >= 4, 10000));
    cr_expect_eq(coherence_metrics(cache).audit_differences, 0);
    cr_assert_eq(nearcache_close(cache, 0), 0);
}

Test(coherence_observed, an_audit_finds_a_copy_that_was_never_invalidated)
{
    struct nearcache_config config = coherence_config();
    config.audit_per_million = 1000000;
    struct nearcache *cache = coherence_open(&server, config);
    struct nearcache_tier *tier = coherence_tier(cache, coherence_tier_config());
    cr_assert_eq(coherence_set(tier, "a", "1"), 0);
    cr_assert(WAIT_UNTIL(
        coherence_get(tier, "a", "1", NULL) == 0 && coherence_metrics(cache).audits >= 2, 10000));
    cr_expect_eq(coherence_metrics(cache).audit_differences, 0);
    /* A write that leaves no version and no message: what tracking mode is there for. */
    cr_assert(coherence_asks(&server, "SET thing:a 2", "OK"));
    cr_assert(WAIT_UNTIL(coherence_get(tier, "a", "1", NULL) == 0 &&
                             coherence_metrics(cache).audit_differences >= 1,
                         10000));
    cr_assert_eq(nearcache_close(cache, 0), 0);
}
