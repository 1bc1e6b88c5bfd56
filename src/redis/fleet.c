#include "redis/fleet.h"

#include "redis/redirect.h"

#include <assert.h>
#include <stdlib.h>

static_assert(NC_CLUSTER_PARTITIONS_MOST <= NC_CLUSTER_LANES_MOST, "a partition is a lane");

struct lane {
    struct nc_fleet *fleet;
    unsigned number;
};

/* Constant once open. */
struct nc_fleet {
    struct nc_cluster *cluster;
    struct nc_redirects *redirects;
    struct lane lane[NC_CLUSTER_LANES_MOST];
};

/* ---- what a link asks and tells ---- */

static int locate(void *arg, struct nc_primary *primary, const char **why)
{
    const struct lane *lane = arg;
    return nc_cluster_locate(lane->fleet->cluster, lane->number, primary, why);
}

static void on_ready(void *arg, bool ready)
{
    const struct lane *lane = arg;
    nc_cluster_set_up(lane->fleet->cluster, lane->number, ready);
}

static void on_doubt(void *arg)
{
    const struct lane *lane = arg;
    nc_cluster_doubt(lane->fleet->cluster);
}

static struct nc_detour *on_refusal(void *arg, struct nc_call *call, const char *text, size_t bytes)
{
    const struct lane *lane = arg;
    return nc_redirect_begin(lane->fleet->redirects, lane->number, call, text, bytes);
}

static void on_held(void *arg, struct nc_call *call)
{
    const struct lane *lane = arg;
    nc_redirect_hold(lane->fleet->redirects, lane->number, call);
}

/* ---- its links ---- */

int nc_fleet_open_link(struct nc_fleet *fleet, unsigned number, struct nc_link **link,
                       const struct nc_link_config *config)
{
    struct nc_link_config guided = *config;
    guided.guide = (struct nc_link_guide){
        .locate = locate,
        .on_ready = on_ready,
        .on_doubt = on_doubt,
        .on_refusal = on_refusal,
        .on_held = on_held,
        .sharded = nc_cluster_has_partitions(fleet->cluster),
        .arg = &fleet->lane[number],
    };
    int outcome = nc_link_open(link, &guided);
    if (outcome == 0)
        nc_cluster_attach(fleet->cluster, number, *link);
    return outcome;
}

void nc_fleet_close_link(struct nc_fleet *fleet, unsigned number, struct nc_link *link,
                         uint64_t deadline_ns)
{
    nc_cluster_detach(fleet->cluster, number);
    nc_link_close(link, deadline_ns);
}

/* ---- open, close ---- */

int nc_fleet_open(struct nc_fleet **out, const struct nc_cluster_config *config)
{
    struct nc_fleet *fleet = calloc(1, sizeof *fleet);
    if (!fleet)
        return NEARCACHE_ENOMEM;
    for (unsigned i = 0; i < NC_CLUSTER_LANES_MOST; i++)
        fleet->lane[i] = (struct lane){fleet, i};
    int outcome = nc_cluster_open(&fleet->cluster, config);
    if (outcome != 0) {
        free(fleet);
        return outcome;
    }
    fleet->redirects = nc_redirects_create(fleet->cluster);
    if (!fleet->redirects) {
        nc_cluster_close(fleet->cluster);
        free(fleet);
        return NEARCACHE_ENOMEM;
    }
    *out = fleet;
    return 0;
}

int nc_fleet_start(struct nc_fleet *fleet)
{
    int outcome = nc_redirects_start(fleet->redirects);
    return outcome != 0 ? outcome : nc_cluster_start(fleet->cluster);
}

void nc_fleet_stop(struct nc_fleet *fleet)
{
    nc_redirects_stop(fleet->redirects);
    nc_cluster_stop(fleet->cluster);
}

void nc_fleet_close(struct nc_fleet *fleet)
{
    nc_fleet_stop(fleet);
    nc_cluster_close(fleet->cluster);
    nc_redirects_destroy(fleet->redirects);
    free(fleet);
}

struct nc_cluster *nc_fleet_cluster(struct nc_fleet *fleet) { return fleet->cluster; }
