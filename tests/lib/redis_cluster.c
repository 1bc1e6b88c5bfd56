#include "lib/redis_cluster.h"

#include "lib/wait_until.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WELL_MS = 30000, PROMOTE_MS = 30000 };

/* ---- asking ---- */

static bool says(const struct redis_server *node, const char *command, const char *text)
{
    char *answer = redis_server_ask(node, command);
    bool found = strstr(answer, text) != NULL;
    free(answer);
    return found;
}

/* What a node is told must be answered with OK. */
static bool expect_ok(const char *what, char *answer)
{
    bool ok = strcmp(answer, "OK") == 0;
    if (!ok)
        fprintf(stderr, "redis_cluster: %s: %s\n", what, answer);
    free(answer);
    return ok;
}

static bool lives(const struct redis_server *node) { return node->pid != 0; }

static int node_at(const struct redis_cluster *cluster, long long port)
{
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        if (cluster->node[i].port == port)
            return i;
    return -1;
}

/* Who owns each slot, and how many replicas are listed. */
struct map {
    int owner[REDIS_CLUSTER_SLOTS];
    int slots, replicas;
};

static bool read_map(const struct redis_cluster *cluster, int node, struct map *map)
{
    redisContext *redis = redis_server_connect(&cluster->node[node]);
    redisReply *reply = redis ? redisCommand(redis, "CLUSTER SLOTS") : NULL;
    map->slots = map->replicas = 0;
    for (int i = 0; i < REDIS_CLUSTER_SLOTS; i++)
        map->owner[i] = -1;
    for (size_t i = 0; reply && i < reply->elements; i++) {
        const redisReply *range = reply->element[i];
        int owner = node_at(cluster, range->element[2]->element[1]->integer);
        map->replicas += (int)range->elements - 3;
        for (long long s = range->element[0]->integer; s <= range->element[1]->integer; s++) {
            map->owner[s] = owner;
            map->slots++;
        }
    }
    bool read = reply != NULL;
    if (reply)
        freeReplyObject(reply);
    if (redis)
        redisFree(redis);
    return read;
}

static bool is_well(struct redis_cluster *cluster, bool replicas)
{
    static struct map map, first;
    int read = 0;
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++) {
        if (!lives(&cluster->node[i]))
            continue;
        if (!says(&cluster->node[i], "CLUSTER INFO", "cluster_state:ok") ||
            !read_map(cluster, i, &map) || map.slots != REDIS_CLUSTER_SLOTS ||
            (replicas && map.replicas < REDIS_CLUSTER_PRIMARIES))
            return false;
        if (replicas && says(&cluster->node[i], "INFO replication", "master_link_status:down"))
            return false;
        if (read++ == 0)
            first = map;
        else if (memcmp(first.owner, map.owner, sizeof map.owner) != 0)
            return false;
    }
    return read > 0;
}

bool redis_cluster_wait_well(struct redis_cluster *cluster, bool replicas)
{
    if (WAIT_UNTIL(is_well(cluster, replicas), WELL_MS))
        return true;
    fprintf(stderr, "redis_cluster: it does not get well\n");
    return false;
}

int redis_cluster_owner(struct redis_cluster *cluster, int slot)
{
    static struct map map;
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        if (lives(&cluster->node[i]) &&
            says(&cluster->node[i], "CLUSTER INFO", "cluster_state:ok") &&
            read_map(cluster, i, &map))
            return map.owner[slot];
    return -1;
}

/* ---- begin, end ---- */

/* Bound and never listening, so that nobody else gets the port; see lib/redis_server. */
static bool reserve_bus_port(struct redis_cluster *cluster, int node)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t bytes = sizeof address;
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cluster->bus[node].reserved = fd;
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) != 0) {
        perror("redis_cluster: a free port");
        return false;
    }
    snprintf(cluster->bus[node].port, sizeof cluster->bus[node].port, "%d",
             ntohs(address.sin_port));
    return true;
}

static bool prepare_node(struct redis_cluster *cluster, int node, const char *const *extra)
{
    const char *args[REDIS_SERVER_ARGS_MAX] = {
        "--cluster-enabled",
        "yes",
        "--cluster-config-file",
        "nodes.conf",
        "--cluster-node-timeout",
        "1000",
        "--cluster-replica-validity-factor",
        "0",
        "--repl-diskless-sync-delay",
        "0",
        "--cluster-port",
        cluster->bus[node].port,
        /* A replica is listed once something of its primary's has come to it. */
        "--repl-ping-replica-period",
        "1",
    };
    for (int i = 14; extra && *extra && i < REDIS_SERVER_ARGS_MAX - 1; i++)
        args[i] = *extra++;
    return redis_server_prepare(&cluster->node[node], args);
}

/* A node's id: 40 hexadecimal digits that no other node of any test has. */
static void name_node(struct redis_cluster *cluster, int node)
{
    snprintf(cluster->bus[node].id, sizeof cluster->bus[node].id, "%08x%08x%024d",
             (unsigned)getpid(), (unsigned)cluster->node[node].port, node);
}

/* What the node would remember of a cluster that it was part of, so that nobody has to meet
 * anybody: that takes some ten seconds, this the two that a primary waits before it serves. */
static bool write_memory(const struct redis_cluster *cluster, int myself)
{
    char path[96];
    snprintf(path, sizeof path, "%s/nodes.conf", cluster->node[myself].directory);
    FILE *to = fopen(path, "w");
    if (!to) {
        perror("redis_cluster: nodes.conf");
        return false;
    }
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++) {
        int third = REDIS_CLUSTER_SLOTS / REDIS_CLUSTER_PRIMARIES;
        int primary = i % REDIS_CLUSTER_PRIMARIES;
        int last = primary == REDIS_CLUSTER_PRIMARIES - 1 ? REDIS_CLUSTER_SLOTS - 1
                                                          : (primary + 1) * third - 1;
        fprintf(to, "%s 127.0.0.1:%d@%s %s%s %s 0 0 %d connected", cluster->bus[i].id,
                cluster->node[i].port, cluster->bus[i].port, i == myself ? "myself," : "",
                i == primary ? "master" : "slave", i == primary ? "-" : cluster->bus[primary].id,
                primary + 1);
        if (i == primary)
            fprintf(to, " %d-%d", primary * third, last);
        fputc('\n', to);
    }
    fprintf(to, "vars currentEpoch %d lastVoteEpoch 0\n", REDIS_CLUSTER_PRIMARIES);
    return fclose(to) == 0;
}

bool redis_cluster_start(struct redis_cluster *cluster, const char *const *extra)
{
    size_t used = 0;
    memset(cluster, 0, sizeof *cluster);
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++)
        cluster->node[i].reserved = cluster->bus[i].reserved = -1;
    bool good = true;
    for (int i = 0; good && i < REDIS_CLUSTER_NODES; i++) {
        good = reserve_bus_port(cluster, i) && prepare_node(cluster, i, extra);
        name_node(cluster, i);
        used += (size_t)snprintf(cluster->list + used, sizeof cluster->list - used,
                                 "%s127.0.0.1:%d", i ? "," : "", cluster->node[i].port);
    }
    for (int i = 0; good && i < REDIS_CLUSTER_NODES; i++)
        good = write_memory(cluster, i) && redis_server_restart(&cluster->node[i]);
    good = good && redis_cluster_wait_well(cluster, true);
    if (!good) {
        fprintf(stderr, "redis_cluster: it does not start\n");
        redis_cluster_stop(cluster);
    }
    return good;
}

void redis_cluster_stop(struct redis_cluster *cluster)
{
    for (int i = 0; i < REDIS_CLUSTER_NODES; i++) {
        redis_server_stop(&cluster->node[i]);
        if (cluster->bus[i].reserved >= 0)
            close(cluster->bus[i].reserved);
        cluster->bus[i].reserved = -1;
    }
}

/* ---- failover ---- */

static bool is_primary_with_slots(struct redis_cluster *cluster, int node)
{
    static struct map map;
    if (!lives(&cluster->node[node]) ||
        !says(&cluster->node[node], "CLUSTER INFO", "cluster_state:ok") ||
        !read_map(cluster, node, &map))
        return false;
    for (int i = 0; i < REDIS_CLUSTER_SLOTS; i++)
        if (map.owner[i] == node)
            return true;
    return false;
}

int redis_cluster_kill(struct redis_cluster *cluster, int primary)
{
    static struct map map;
    int slot = 0, owner = -1;
    if (read_map(cluster, primary, &map))
        while (slot < REDIS_CLUSTER_SLOTS - 1 && map.owner[slot] != primary)
            slot++;
    redis_server_kill(&cluster->node[primary]);
    if (WAIT_UNTIL((owner = redis_cluster_owner(cluster, slot)) >= 0 && owner != primary,
                   PROMOTE_MS))
        return owner;
    fprintf(stderr, "redis_cluster: nobody was promoted\n");
    return -1;
}

bool redis_cluster_promote(struct redis_cluster *cluster, int replica)
{
    return expect_ok("a failover", redis_server_ask(&cluster->node[replica], "CLUSTER FAILOVER")) &&
           WAIT_UNTIL(is_primary_with_slots(cluster, replica), PROMOTE_MS);
}

static bool knows_all_primaries(struct redis_cluster *cluster, int node)
{
    return says(&cluster->node[node], "CLUSTER INFO", "cluster_state:ok") &&
           says(&cluster->node[node], "CLUSTER INFO", "cluster_known_nodes:6");
}

/* It forgets the cluster and meets it again. */
bool redis_cluster_part(struct redis_cluster *cluster, int replica)
{
    struct redis_server *node = &cluster->node[replica];
    if (!expect_ok("parting", redis_server_ask(node, "CLUSTER RESET SOFT")) ||
        !expect_ok("meeting", redis_server_ask(&cluster->node[0], "CLUSTER MEET 127.0.0.1 %d %s",
                                               node->port, cluster->bus[replica].port)))
        return false;
    if (WAIT_UNTIL(knows_all_primaries(cluster, replica), WELL_MS))
        return true;
    fprintf(stderr, "redis_cluster: the node that parted does not come back\n");
    return false;
}

/* ---- a slot that moves ---- */

bool redis_cluster_begin_move(struct redis_cluster *cluster, int slot, int from, int to)
{
    return expect_ok("importing",
                     redis_server_ask(&cluster->node[to], "CLUSTER SETSLOT %d IMPORTING %s", slot,
                                      cluster->bus[from].id)) &&
           expect_ok("migrating",
                     redis_server_ask(&cluster->node[from], "CLUSTER SETSLOT %d MIGRATING %s", slot,
                                      cluster->bus[to].id));
}

static redisReply *migrate(redisContext *redis, const struct redis_server *to,
                           const redisReply *key)
{
    const char *user = redis_server_argument(to, "--masteruser");

    if (!user)
        return redisCommand(redis, "MIGRATE 127.0.0.1 %d %b 0 5000", to->port, key->str, key->len);
    return redisCommand(redis, "MIGRATE 127.0.0.1 %d %b 0 5000 AUTH2 %s %s", to->port, key->str,
                        key->len, user, redis_server_argument(to, "--masterauth"));
}

int redis_cluster_move_keys(struct redis_cluster *cluster, int slot, int from, int to, int most)
{
    redisContext *redis = redis_server_connect(&cluster->node[from]);
    redisReply *keys =
        redis ? redisCommand(redis, "CLUSTER GETKEYSINSLOT %d %d", slot, most) : NULL;
    int moved = keys && keys->type == REDIS_REPLY_ARRAY ? 0 : -1;
    for (size_t i = 0; moved >= 0 && i < keys->elements; i++) {
        redisReply *reply = migrate(redis, &cluster->node[to], keys->element[i]);
        /* NOKEY: it expired or was deleted meanwhile. */
        moved = reply && reply->type == REDIS_REPLY_STATUS ? moved + 1 : -1;
        if (moved < 0)
            fprintf(stderr, "redis_cluster: MIGRATE: %s\n", reply ? reply->str : "no answer");
        if (reply)
            freeReplyObject(reply);
    }
    if (keys)
        freeReplyObject(keys);
    if (redis)
        redisFree(redis);
    return moved;
}

bool redis_cluster_end_move(struct redis_cluster *cluster, int slot, int from, int to)
{
    /* The new owner first: what the old one then sends away is taken. */
    const int order[2] = {to, from};
    for (int i = 0; i < 2; i++)
        if (!expect_ok("the new owner",
                       redis_server_ask(&cluster->node[order[i]], "CLUSTER SETSLOT %d NODE %s",
                                        slot, cluster->bus[to].id)))
            return false;
    return true;
}

bool redis_cluster_move_slot(struct redis_cluster *cluster, int slot, int from, int to)
{
    int moved;
    if (!redis_cluster_begin_move(cluster, slot, from, to))
        return false;
    while ((moved = redis_cluster_move_keys(cluster, slot, from, to, 100)) > 0)
        ;
    return moved == 0 && redis_cluster_end_move(cluster, slot, from, to);
}
