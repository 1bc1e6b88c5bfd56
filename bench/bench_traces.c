/*
 * Miss ratio by capacity, trace and policy: `nearcache replay --json` over the open traces in the
 * folder of TRACES, next to exact LRU (simulated here; the ids of the traces are dense, so an
 * array of links is enough). One shard, one unit per object. Counts, not times: no noise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/output.h"

#define NONE UINT32_MAX

static const struct trace {
    const char *name;
    bool quick; /* small enough for a look */
    unsigned capacities[4];
} traces[] = {
    {"orm-busy", false, {76, 763, 7635, 19087}},
    {"weblog424", true, {34, 340, 3404, 8509}},
    {"cp-w106", false, {275, 2749, 27495, 68737}},
    {"arc-OLTP", true, {187, 1869, 18688, 46720}},
};
static const char *const shares[] = {"0.1", "1", "10", "25"}; /* percent of the unique keys */

/* What a whole trace asks for. */
struct requests {
    uint64_t *ids;
    uint64_t count;
    uint64_t unique;
};

static void load(struct requests *requests, const char *path)
{
    gzFile file = gzopen(path, "rb");
    uint64_t room = 1u << 20;
    int got;

    memset(requests, 0, sizeof *requests);
    requests->ids = malloc(room * 8u);
    if (!file || !requests->ids)
        bench_die("cannot read %s", path);
    while ((got = gzread(file, requests->ids + requests->count,
                         (unsigned)((room - requests->count) * 8u))) > 0) {
        requests->count += (uint64_t)got / 8u;
        if (requests->count < room)
            continue;
        room *= 2u;
        requests->ids = realloc(requests->ids, room * 8u);
        if (!requests->ids)
            bench_die("out of memory");
    }
    gzclose(file);
    for (uint64_t i = 0; i < requests->count; i++)
        if (requests->ids[i] >= requests->unique)
            requests->unique = requests->ids[i] + 1u;
}

/* A doubly linked list over the ids; newest at the head. One thread. */
struct lru {
    uint32_t *newer, *older;
    bool *here;
    uint32_t newest, oldest;
};

static void lru_unlink(struct lru *lru, uint32_t id)
{
    if (lru->newer[id] == NONE)
        lru->newest = lru->older[id];
    else
        lru->older[lru->newer[id]] = lru->older[id];
    if (lru->older[id] == NONE)
        lru->oldest = lru->newer[id];
    else
        lru->newer[lru->older[id]] = lru->newer[id];
}

static void lru_push(struct lru *lru, uint32_t id)
{
    lru->newer[id] = NONE;
    lru->older[id] = lru->newest;
    if (lru->newest != NONE)
        lru->newer[lru->newest] = id;
    else
        lru->oldest = id;
    lru->newest = id;
}

static double exact_lru(const struct requests *requests, unsigned capacity)
{
    struct lru lru = {malloc(requests->unique * 4u), malloc(requests->unique * 4u),
                      calloc(requests->unique, 1), NONE, NONE};
    uint64_t misses = 0, entries = 0;

    if (!lru.newer || !lru.older || !lru.here)
        bench_die("out of memory");
    for (uint64_t i = 0; i < requests->count; i++) {
        uint32_t id = (uint32_t)requests->ids[i];

        if (lru.here[id]) {
            lru_unlink(&lru, id);
        } else {
            misses++;
            if (entries == capacity) {
                lru.here[lru.oldest] = false;
                lru_unlink(&lru, lru.oldest);
            } else {
                entries++;
            }
            lru.here[id] = true;
        }
        lru_push(&lru, id);
    }
    free(lru.newer);
    free(lru.older);
    free(lru.here);
    return (double)misses / (double)requests->count;
}

/* The number behind "name": in one JSON text. */
static bool json_number(const char *json, const char *name, double *value)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    at = strstr(json, quoted);
    return at && sscanf(at + strlen(quoted), "%lf", value) == 1;
}

static bool replay(const char *command, const char *path, const char *policy, unsigned capacity,
                   double *miss_ratio)
{
    char line[1024], json[16384];
    size_t bytes;
    FILE *pipe;

    snprintf(line, sizeof line,
             "'%s' replay --json --shards 1 --threads 1 --policy %s --capacity-entries %u '%s'",
             command, policy, capacity, path);
    pipe = popen(line, "r");
    if (!pipe)
        return false;
    bytes = fread(json, 1, sizeof json - 1, pipe);
    json[bytes] = '\0';
    return pclose(pipe) == 0 && json_number(json, "miss_ratio", miss_ratio);
}

/* Over all points: how much smaller than exact LRU's the misses are, in percent; worst and mean. */
struct totals {
    int points;
    double reduction_sum;
    double worst;     /* as3 / exact LRU */
    double lru_worst; /* lru / exact LRU */
};

static void goal_once(const char *name, double value)
{
    struct bench_rounds once = {1, {value}};
    struct bench_summary summary = bench_summarise(&once);

    bench_goal(name, &summary);
}

static void run_point(const struct trace *trace, const struct requests *requests, const char *path,
                      const char *command, int which, struct totals *totals)
{
    static const char *const names[] = {"as3", "lru", "exact LRU"};
    unsigned capacity = trace->capacities[which];
    struct bench_plot plot = {trace->name, "", "capacity, entries", "hit ratio, %", true, false};
    char group[96], title[96], goal[96];
    double ratios[3];

    snprintf(goal, sizeof goal, "trace_%s_%s", trace->name, shares[which]);
    snprintf(group, sizeof group, "%s, %u entries (%s %%)", trace->name, capacity, shares[which]);
    snprintf(title, sizeof title, "Hit ratio by capacity: %s", trace->name);
    plot.title = title;
    bench_progress("%s", group);
    ratios[2] = exact_lru(requests, capacity);
    for (int i = 0; i < 2; i++) {
        if (replay(command, path, names[i], capacity, &ratios[i]))
            continue;
        bench_goal_skip(goal, "nearcache replay failed");
        return;
    }
    bench_table(group, "miss ratio");
    for (int i = 0; i < 3; i++) {
        struct bench_rounds once = {1, {ratios[i]}};
        double hits = 100.0 * (1.0 - ratios[i]);

        bench_row(group, names[i], "miss ratio", &once);
        bench_point(&plot, names[i], capacity, hits, hits, hits);
    }
    goal_once(goal, ratios[0]);
    totals->points++;
    totals->reduction_sum += 100.0 * (1.0 - ratios[0] / ratios[2]);
    if (ratios[0] / ratios[2] > totals->worst)
        totals->worst = ratios[0] / ratios[2];
    if (ratios[1] / ratios[2] > totals->lru_worst)
        totals->lru_worst = ratios[1] / ratios[2];
}

int main(int argc, char **argv)
{
    struct bench_options options =
        bench_begin(argc, argv, "traces", "miss ratio by capacity, trace and policy");
    const char *folder = getenv("TRACES"), *command = getenv("NEARCACHE");
    struct totals totals = {0, 0, 0, 0};

    if (!command)
        command = "nearcache";
    for (unsigned i = 0; i < sizeof traces / sizeof *traces; i++) {
        struct requests requests;
        char path[512];

        snprintf(path, sizeof path, "%s/%s.u64.gz", folder ? folder : "", traces[i].name);
        if (!folder || access(path, R_OK) || (options.quick && !traces[i].quick) ||
            !bench_wants(&options, traces[i].name)) {
            for (int which = 0; which < 4; which++) {
                char goal[96];

                snprintf(goal, sizeof goal, "trace_%s_%s", traces[i].name, shares[which]);
                bench_goal_skip(goal, folder ? "left out, or not in the folder of TRACES"
                                             : "no traces (make bench-goals TRACES=DIR)");
            }
            continue;
        }
        load(&requests, path);
        for (int which = 0; which < 4; which++)
            run_point(&traces[i], &requests, path, command, which, &totals);
        free(requests.ids);
    }
    if (totals.points == 16) {
        goal_once("traces_mean_vs_lru", totals.reduction_sum / totals.points);
        goal_once("traces_worst_vs_lru", totals.worst);
        goal_once("traces_lru_vs_exact", totals.lru_worst);
    } else {
        bench_goal_skip("traces_mean_vs_lru", "needs all four traces (TRACES=DIR)");
        bench_goal_skip("traces_worst_vs_lru", "needs all four traces (TRACES=DIR)");
        bench_goal_skip("traces_lru_vs_exact", "needs all four traces (TRACES=DIR)");
    }
    bench_end();
    return 0;
}
