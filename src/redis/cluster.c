#include "redis/cluster.h"

#include "base/clock.h"
#include "redis/conn.h"
#include "redis/guests.h"
#include "redis/topology.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* A node that does not answer is left for the next. */
#define ANSWER_NS (250 * NC_NS_PER_MS)
/* The map is learned anew: always; while a link is down; with a hint, however many there are. */
#define EVERY_NS (1 * NC_NS_PER_S)
#define DOWN_EVERY_NS (100 * NC_NS_PER_MS)
#define HINT_EVERY_NS (20 * NC_NS_PER_MS)
#define NO_LANE UINT16_MAX

/* One lane: who owns it, and where its link is. Guarded by the cluster's lock. */
struct place {
    struct nc_link *link;
    bool has_owner, has_at, up;
    struct nc_primary owner, at;
    unsigned users; /* threads that hand calls over to the link */
};

/* Thread-safe: the map is atomic, places are guarded by the lock, the rest is the thread's. */
struct nc_cluster {
    struct nc_cluster_config config;
    struct nc_redis_settings *settings;
    uint32_t *partition_slots;
    _Atomic uint16_t lane_of[NC_SLOTS]; /* written by the thread */
    _Atomic unsigned lanes;             /* written by the thread */
    _Atomic uint64_t generation;        /* written by the thread */
    _Atomic bool hinted;
    pthread_mutex_t lock;
    pthread_cond_t unused; /* a place has no users any more */
    const char *why;       /* the map could not be learned; static text; under the lock */
    bool refused_auth;     /* under the lock */
    unsigned places;
    struct place *place;
    struct nc_guests guests; /* places behind those of lanes */
    /* The thread's. */
    pthread_t thread;
    bool started;
    int stop_fd, wake_fd;
    struct nc_link_stats unused_stats;
    struct nc_conn conn;
    struct nc_primary asked; /* whom conn is with */
    unsigned next;           /* of the nodes and seeds to ask */
    uint64_t epoch;
    const char *told;
    unsigned known_count; /* primaries of the map */
    struct nc_primary known[NC_TOPOLOGY_NODES_MOST];
    struct nc_topology topology;
};

/* ---- open, close ---- */

static int make_parts(struct nc_cluster *cluster, const struct nc_cluster_config *config)
{
    cluster->places = config->partitions ? config->partitions : NC_CLUSTER_LANES_MOST;
    cluster->place = calloc(cluster->places, sizeof *cluster->place);
    cluster->partition_slots = calloc(cluster->places, sizeof *cluster->partition_slots);
    if (!cluster->place || !cluster->partition_slots)
        return NEARCACHE_ENOMEM;
    if (config->partitions)
        memcpy(cluster->partition_slots, config->partition_slots,
               config->partitions * sizeof *cluster->partition_slots);
    int outcome = nc_redis_settings_copy(&cluster->settings, config->settings);
    if (outcome != 0)
        return outcome;
    cluster->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    cluster->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return cluster->stop_fd >= 0 && cluster->wake_fd >= 0 ? 0 : NEARCACHE_EIO;
}

static void destroy(struct nc_cluster *cluster)
{
    if (cluster->stop_fd >= 0)
        close(cluster->stop_fd);
    if (cluster->wake_fd >= 0)
        close(cluster->wake_fd);
    nc_guests_deinit(&cluster->guests);
    nc_redis_settings_destroy(cluster->settings);
    pthread_cond_destroy(&cluster->unused);
    pthread_mutex_destroy(&cluster->lock);
    free(cluster->partition_slots);
    free(cluster->place);
    free(cluster);
}

int nc_cluster_open(struct nc_cluster **out, const struct nc_cluster_config *config)
{
    struct nc_cluster *cluster = calloc(1, sizeof *cluster);
    if (!cluster)
        return NEARCACHE_ENOMEM;
    cluster->stop_fd = cluster->wake_fd = -1;
    cluster->config = *config;
    cluster->why = "the nodes of the cluster have not been asked yet";
    pthread_mutex_init(&cluster->lock, NULL);
    pthread_cond_init(&cluster->unused, NULL);
    nc_conn_init(&cluster->conn, &cluster->unused_stats);
    for (unsigned slot = 0; slot < NC_SLOTS; slot++)
        atomic_init(&cluster->lane_of[slot], NO_LANE);
    int outcome = make_parts(cluster, config);
    nc_guests_init(&cluster->guests, cluster->settings, config->log,
                   config->guest_idle_ns ? config->guest_idle_ns : NC_GUESTS_IDLE_NS);
    if (outcome != 0) {
        destroy(cluster);
        return outcome;
    }
    atomic_init(&cluster->lanes, config->partitions);
    *out = cluster;
    return 0;
}

static void signal_fd(int fd)
{
    uint64_t one = 1;
    while (write(fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
}

void nc_cluster_stop(struct nc_cluster *cluster)
{
    signal_fd(cluster->stop_fd);
    if (cluster->started)
        pthread_join(cluster->thread, NULL);
    cluster->started = false;
    nc_guests_dismiss(&cluster->guests, true);
    nc_conn_close(&cluster->conn);
}

void nc_cluster_close(struct nc_cluster *cluster)
{
    nc_cluster_stop(cluster);
    destroy(cluster);
}

/* ---- a new map ---- */

struct change {
    bool owners; /* a lane has another primary */
    bool moved[NC_CLUSTER_LANES_MOST];
    unsigned lanes_before, lanes;
    uint16_t lane_of_node[NC_TOPOLOGY_NODES_MOST];
};

static void take_place(struct nc_cluster *cluster, struct change *change, unsigned node,
                       unsigned lane, bool taken[NC_CLUSTER_LANES_MOST])
{
    change->lane_of_node[node] = (uint16_t)lane;
    taken[lane] = true;
    if (!cluster->place[lane].has_owner ||
        !nc_primary_is(&cluster->place[lane].owner, &cluster->topology.node[node]))
        change->owners = true;
    cluster->place[lane].owner = cluster->topology.node[node];
    cluster->place[lane].has_owner = true;
}

/* The lane that had most of what the node has now: its primary failed over to the node. */
static unsigned lane_succeeded(const struct nc_cluster *cluster, unsigned node,
                               const bool taken[NC_CLUSTER_LANES_MOST])
{
    unsigned had[NC_CLUSTER_LANES_MOST] = {0}, best = NC_CLUSTER_LANES_MOST;
    for (unsigned slot = 0; slot < NC_SLOTS; slot++) {
        uint16_t lane = atomic_load_explicit(&cluster->lane_of[slot], memory_order_relaxed);
        if (lane != NO_LANE && cluster->topology.owner[slot] == node && !taken[lane])
            had[lane]++;
    }
    for (unsigned lane = 0; lane < NC_CLUSTER_LANES_MOST; lane++)
        if (had[lane] > (best < NC_CLUSTER_LANES_MOST ? had[best] : 0))
            best = lane;
    return best;
}

/* Gives every primary a lane: its own, that of whom it succeeds, an idle or a new one. */
static void assign_lanes(struct nc_cluster *cluster, struct change *change)
{
    const struct nc_topology *t = &cluster->topology;
    bool taken[NC_CLUSTER_LANES_MOST] = {false};
    for (unsigned node = 0; node < t->count; node++) {
        change->lane_of_node[node] = NO_LANE;
        for (unsigned lane = 0; lane < change->lanes; lane++)
            if (nc_primary_is(&cluster->place[lane].owner, &t->node[node]))
                take_place(cluster, change, node, lane, taken);
    }
    for (unsigned node = 0; node < t->count; node++) {
        unsigned lane = NC_CLUSTER_LANES_MOST;
        if (change->lane_of_node[node] == NO_LANE)
            lane = lane_succeeded(cluster, node, taken);
        if (lane < NC_CLUSTER_LANES_MOST)
            take_place(cluster, change, node, lane, taken);
    }
    for (unsigned node = 0; node < t->count; node++) {
        unsigned lane = 0;
        while (lane < change->lanes && taken[lane])
            lane++;
        if (change->lane_of_node[node] != NO_LANE || lane == NC_CLUSTER_LANES_MOST)
            continue;
        if (lane == change->lanes)
            change->lanes++;
        take_place(cluster, change, node, lane, taken);
    }
    for (unsigned lane = 0; lane < change->lanes; lane++)
        cluster->place[lane].has_owner = taken[lane];
}

static uint16_t new_lane(const struct nc_cluster *cluster, const struct change *change,
                         unsigned slot)
{
    uint16_t node = cluster->topology.owner[slot];
    return node == NC_TOPOLOGY_NOBODY ? NO_LANE : change->lane_of_node[node];
}

/* Without partitions: lanes follow primaries. Whether anything changed. */
static bool apply_primaries(struct nc_cluster *cluster)
{
    struct change change = {.lanes = atomic_load(&cluster->lanes)};
    const struct nc_cluster_config *config = &cluster->config;
    bool changed = false;
    change.lanes_before = change.lanes;
    pthread_mutex_lock(&cluster->lock);
    assign_lanes(cluster, &change);
    pthread_mutex_unlock(&cluster->lock);
    for (unsigned slot = 0; slot < NC_SLOTS; slot++) {
        uint16_t lane = new_lane(cluster, &change, slot);
        uint16_t before = atomic_load_explicit(&cluster->lane_of[slot], memory_order_relaxed);
        if (lane == before)
            continue;
        changed = true;
        if (before != NO_LANE)
            change.moved[before] = true;
        if (lane != NO_LANE)
            change.moved[lane] = true;
    }
    for (unsigned lane = change.lanes_before; lane < change.lanes; lane++)
        if (config->on_lane)
            config->on_lane(config->arg, lane);
    for (unsigned lane = 0; lane < change.lanes_before; lane++)
        if (change.moved[lane] && config->on_moved)
            config->on_moved(config->arg, lane);
    atomic_store(&cluster->lanes, change.lanes);
    /* Release pairs with nc_cluster_lane: who sees a slot's lane sees what on_lane made for it and
     * what on_moved said. */
    for (unsigned slot = 0; changed && slot < NC_SLOTS; slot++)
        atomic_store_explicit(&cluster->lane_of[slot], new_lane(cluster, &change, slot),
                              memory_order_release);
    return changed || change.owners;
}

static bool apply_partitions(struct nc_cluster *cluster)
{
    const struct nc_topology *t = &cluster->topology;
    bool changed = false;
    pthread_mutex_lock(&cluster->lock);
    for (unsigned p = 0; p < cluster->places; p++) {
        struct place *place = &cluster->place[p];
        uint16_t node = t->owner[cluster->partition_slots[p]];
        bool has_owner = node != NC_TOPOLOGY_NOBODY;
        if (has_owner == place->has_owner &&
            (!has_owner || nc_primary_is(&place->owner, &t->node[node])))
            continue;
        changed = true;
        place->has_owner = has_owner;
        if (has_owner)
            place->owner = t->node[node];
    }
    pthread_mutex_unlock(&cluster->lock);
    return changed;
}

/* ---- links ---- */

void nc_cluster_attach(struct nc_cluster *cluster, unsigned lane, struct nc_link *link)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->place[lane].link = link;
    pthread_mutex_unlock(&cluster->lock);
}

void nc_cluster_detach(struct nc_cluster *cluster, unsigned lane)
{
    struct place *place = &cluster->place[lane];
    pthread_mutex_lock(&cluster->lock);
    place->link = NULL;
    place->up = place->has_at = false;
    while (place->users > 0)
        pthread_cond_wait(&cluster->unused, &cluster->lock);
    pthread_mutex_unlock(&cluster->lock);
}

int nc_cluster_locate(struct nc_cluster *cluster, unsigned lane, struct nc_primary *primary,
                      const char **why)
{
    struct place *place = &cluster->place[lane];
    int outcome = 0;
    pthread_mutex_lock(&cluster->lock);
    place->has_at = place->has_owner;
    if (place->has_owner) {
        *primary = place->at = place->owner;
    } else {
        *why = cluster->why ? cluster->why : "nobody in the cluster owns the slot";
        outcome = cluster->refused_auth ? NEARCACHE_EAUTH : NEARCACHE_EOFFLINK;
    }
    pthread_mutex_unlock(&cluster->lock);
    return outcome;
}

void nc_cluster_where(struct nc_cluster *cluster, unsigned lane, struct nc_primary *primary)
{
    pthread_mutex_lock(&cluster->lock);
    if (cluster->place[lane].has_at)
        *primary = cluster->place[lane].at;
    pthread_mutex_unlock(&cluster->lock);
}

void nc_cluster_set_up(struct nc_cluster *cluster, unsigned lane, bool up)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->place[lane].up = up;
    pthread_mutex_unlock(&cluster->lock);
}

/* ---- who uses a link ---- */

static struct nc_link *use_locked(struct place *place)
{
    place->users++;
    return place->link;
}

struct nc_link *nc_cluster_use(struct nc_cluster *cluster, unsigned lane, uint32_t slot,
                               unsigned *place)
{
    struct nc_link *link = NULL;
    uint32_t by_map = cluster->config.partitions ? lane : nc_cluster_lane(cluster, slot);
    if (by_map == NC_CLUSTER_NO_LANE)
        return NULL;
    *place = by_map;
    pthread_mutex_lock(&cluster->lock);
    if (cluster->place[by_map].link && cluster->place[by_map].up)
        link = use_locked(&cluster->place[by_map]);
    pthread_mutex_unlock(&cluster->lock);
    return link;
}

static bool is_at(const struct place *place, const struct nc_primary *server)
{
    return place->link && place->up && nc_primary_is(&place->at, server);
}

void nc_cluster_invite(struct nc_cluster *cluster, const struct nc_primary *server)
{
    bool known = false;
    pthread_mutex_lock(&cluster->lock);
    for (unsigned lane = 0; lane < cluster->places; lane++)
        known = known || (cluster->place[lane].link && cluster->place[lane].has_at &&
                          nc_primary_is(&cluster->place[lane].at, server));
    pthread_mutex_unlock(&cluster->lock);
    if (!known)
        nc_guests_invite(&cluster->guests, server);
}

/* ---- a link for a call ---- */

struct nc_link *nc_cluster_use_at(struct nc_cluster *cluster, const struct nc_primary *server,
                                  unsigned lane, unsigned *place)
{
    struct nc_link *link = NULL;
    pthread_mutex_lock(&cluster->lock);
    for (unsigned i = 0; !link && i < cluster->places; i++) {
        *place = (lane + i) % cluster->places;
        if (is_at(&cluster->place[*place], server))
            link = use_locked(&cluster->place[*place]);
    }
    pthread_mutex_unlock(&cluster->lock);
    if (link)
        return link;
    link = nc_guests_use(&cluster->guests, server, place);
    if (link)
        *place += cluster->places;
    return link;
}

void nc_cluster_end_use(struct nc_cluster *cluster, unsigned place)
{
    if (place >= cluster->places) {
        nc_guests_end_use(&cluster->guests, place - cluster->places);
        return;
    }
    pthread_mutex_lock(&cluster->lock);
    if (--cluster->place[place].users == 0)
        pthread_cond_broadcast(&cluster->unused);
    pthread_mutex_unlock(&cluster->lock);
}

/* Links that are elsewhere, or nowhere because nobody knew, are sent to the owner. */
static void restart_links(struct nc_cluster *cluster)
{
    for (unsigned lane = 0; lane < cluster->places; lane++) {
        struct place *place = &cluster->place[lane];
        struct nc_link *link = NULL;
        pthread_mutex_lock(&cluster->lock);
        if (place->link && place->has_owner &&
            (!place->has_at || !nc_primary_is(&place->at, &place->owner)))
            link = use_locked(place);
        pthread_mutex_unlock(&cluster->lock);
        if (!link)
            continue;
        nc_link_restart(link, "the slots of the link have another owner");
        nc_cluster_end_use(cluster, lane);
    }
}

static bool all_up(struct nc_cluster *cluster)
{
    bool up = true;
    pthread_mutex_lock(&cluster->lock);
    for (unsigned lane = 0; lane < cluster->places; lane++)
        up = up && (!cluster->place[lane].link || !cluster->place[lane].has_owner ||
                    cluster->place[lane].up);
    pthread_mutex_unlock(&cluster->lock);
    return up;
}

/* ---- learning ---- */

static void apply(struct nc_cluster *cluster)
{
    const struct nc_topology *t = &cluster->topology;
    bool first = atomic_load(&cluster->generation) == 0;
    if (t->epoch > cluster->epoch)
        cluster->epoch = t->epoch;
    cluster->known_count = t->count;
    memcpy(cluster->known, t->node, t->count * sizeof *t->node);
    pthread_mutex_lock(&cluster->lock);
    cluster->why = NULL;
    cluster->refused_auth = false;
    pthread_mutex_unlock(&cluster->lock);
    bool changed =
        cluster->config.partitions ? apply_partitions(cluster) : apply_primaries(cluster);
    if (!first && !changed)
        return;
    atomic_fetch_add(&cluster->generation, 1);
    nc_log_write(cluster->config.log, NEARCACHE_LOG_INFO,
                 "the cluster has %u primaries, epoch %llu", t->count,
                 (unsigned long long)t->epoch);
    if (!cluster->config.partitions && t->count > NC_CLUSTER_LANES_MOST)
        nc_log_write(cluster->config.log, NEARCACHE_LOG_ERROR,
                     "more than 64 primaries: keys of the others are not reached");
    restart_links(cluster);
}

static int ask(struct nc_cluster *cluster, const struct nc_primary *node)
{
    struct nc_command command;
    uint64_t deadline_ns = nc_clock_io_ns() + ANSWER_NS;
    int outcome = 0;
    if (cluster->conn.fd >= 0 && !nc_primary_is(&cluster->asked, node))
        nc_conn_close(&cluster->conn);
    if (cluster->conn.fd < 0)
        outcome =
            nc_conn_open_at(&cluster->conn, cluster->settings, node, cluster->stop_fd, deadline_ns);
    if (outcome != 0)
        return outcome;
    cluster->asked = *node;
    nc_topology_init(&cluster->topology, node);
    nc_command_init(&command);
    nc_topology_ask(&command);
    outcome = nc_conn_round_trip(&cluster->conn, &command, &cluster->topology.sink,
                                 cluster->stop_fd, deadline_ns);
    nc_command_deinit(&command);
    if (outcome != 0)
        nc_conn_close(&cluster->conn);
    return outcome;
}

/* Those of the map, then those of the settings. False: there is no such. */
static bool candidate(const struct nc_cluster *cluster, unsigned which, struct nc_primary *node)
{
    const struct nc_redis_settings *s = cluster->settings;
    unsigned count = cluster->known_count + s->seed_count;
    if (which >= count)
        return false;
    which = (which + cluster->next) % count;
    if (which < cluster->known_count) {
        *node = cluster->known[which];
        return true;
    }
    const struct nc_host *seed = &s->seeds[which - cluster->known_count];
    node->port = seed->port;
    /* A name that is too long for us is none. */
    return nc_primary_put_host(node, seed->host, strlen(seed->host)) ||
           nc_primary_put_host(node, "?", 1);
}

static void tell(struct nc_cluster *cluster, const char *why, bool auth)
{
    pthread_mutex_lock(&cluster->lock);
    cluster->why = why;
    cluster->refused_auth = auth;
    pthread_mutex_unlock(&cluster->lock);
    nc_log_write(cluster->config.log,
                 why == cluster->told ? NEARCACHE_LOG_DEBUG : NEARCACHE_LOG_WARNING,
                 "cannot learn the slots of the cluster: %s", why);
    cluster->told = why;
}

/*
 * Asks until one node's answer is to be believed. What has not heard of the newest epoch may tell
 * of the past: only when nobody knows better is it taken (the cluster was made anew).
 */
static void learn(struct nc_cluster *cluster, bool hinted)
{
    const char *why = "no node answers";
    bool old = false, auth = true;
    cluster->next += hinted;
    for (int pass = 0; pass == 0 || (pass == 1 && old); pass++) {
        struct nc_primary node;
        for (unsigned i = 0; candidate(cluster, i, &node); i++) {
            int outcome = ask(cluster, &node);
            if (outcome == NEARCACHE_ECLOSED)
                return;
            auth = auth && outcome == NEARCACHE_EAUTH;
            const char *wrong = outcome == 0 ? nc_topology_check(&cluster->topology) : NULL;
            if (outcome == 0 && !wrong && pass == 0 && cluster->topology.epoch < cluster->epoch)
                old = true;
            else if (outcome == 0 && !wrong) {
                cluster->told = NULL;
                cluster->next += i;
                apply(cluster);
                return;
            }
            why = wrong ? wrong : cluster->conn.why ? cluster->conn.why : why;
        }
    }
    tell(cluster, auth ? "all nodes refuse the credentials" : why, auth);
}

/* ---- the thread ---- */

static int timeout_ms(uint64_t due_ns)
{
    uint64_t now = nc_clock_io_ns();
    return due_ns <= now ? 0 : (int)((due_ns - now + NC_NS_PER_MS - 1) / NC_NS_PER_MS);
}

static void *run(void *arg)
{
    struct nc_cluster *cluster = arg;
    struct pollfd fds[2] = {{cluster->stop_fd, POLLIN, 0}, {cluster->wake_fd, POLLIN, 0}};
    uint64_t count;
    for (bool hinted = false; !fds[0].revents;) {
        learn(cluster, hinted);
        nc_guests_dismiss(&cluster->guests, false);
        uint64_t now = nc_clock_io_ns(), soonest_ns = now + HINT_EVERY_NS;
        uint64_t due_ns = now + (all_up(cluster) ? EVERY_NS : DOWN_EVERY_NS);
        while (!fds[0].revents && nc_clock_io_ns() < due_ns) {
            poll(fds, 2, timeout_ms(due_ns));
            if (fds[1].revents)
                while (read(cluster->wake_fd, &count, sizeof count) > 0)
                    ;
            if (atomic_load(&cluster->hinted) && soonest_ns < due_ns)
                due_ns = soonest_ns;
        }
        hinted = atomic_exchange(&cluster->hinted, false);
    }
    return NULL;
}

int nc_cluster_start(struct nc_cluster *cluster)
{
    int rc = pthread_create(&cluster->thread, NULL, run, cluster);
    if (rc != 0)
        return rc == EAGAIN ? NEARCACHE_EIO : NEARCACHE_ENOMEM;
    cluster->started = true;
    return 0;
}

/* ---- anybody ---- */

uint32_t nc_cluster_lane(const struct nc_cluster *cluster, uint32_t slot)
{
    uint16_t lane = atomic_load_explicit(&((struct nc_cluster *)cluster)->lane_of[slot % NC_SLOTS],
                                         memory_order_acquire);
    return lane == NO_LANE ? NC_CLUSTER_NO_LANE : lane;
}

bool nc_cluster_has_partitions(const struct nc_cluster *cluster)
{
    return cluster->config.partitions > 0;
}

uint32_t nc_cluster_slot(const struct nc_cluster *cluster, unsigned lane)
{
    if (cluster->config.partitions)
        return cluster->partition_slots[lane];
    uint32_t slot = 0;
    while (slot < NC_SLOTS && nc_cluster_lane(cluster, slot) != lane)
        slot++;
    return slot;
}

unsigned nc_cluster_lanes(const struct nc_cluster *cluster)
{
    return atomic_load(&((struct nc_cluster *)cluster)->lanes);
}

bool nc_cluster_lane_serves(struct nc_cluster *cluster, unsigned lane)
{
    pthread_mutex_lock(&cluster->lock);
    bool serves = cluster->place[lane].has_owner;
    pthread_mutex_unlock(&cluster->lock);
    return serves;
}

uint64_t nc_cluster_generation(const struct nc_cluster *cluster)
{
    return atomic_load(&((struct nc_cluster *)cluster)->generation);
}

bool nc_cluster_refused_auth(struct nc_cluster *cluster)
{
    pthread_mutex_lock(&cluster->lock);
    bool refused = cluster->refused_auth;
    pthread_mutex_unlock(&cluster->lock);
    return refused;
}

void nc_cluster_doubt(struct nc_cluster *cluster)
{
    if (!atomic_exchange(&cluster->hinted, true))
        signal_fd(cluster->wake_fd);
}
