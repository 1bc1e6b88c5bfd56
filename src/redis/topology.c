#include "redis/topology.h"

static void malformed(struct nc_topology *t)
{
    if (!t->why)
        t->why = "a node's list of slots makes no sense";
}

/* ---- CLUSTER INFO ---- */

static void read_info(struct nc_topology *t, const char *text, size_t bytes)
{
    static const char state[] = "cluster_state:ok", epoch[] = "cluster_current_epoch:";
    const char *end = text + bytes, *at = memmem(text, bytes, epoch, sizeof epoch - 1);
    t->well = memmem(text, bytes, state, sizeof state - 1) != NULL;
    t->epoch = 0;
    for (at = at ? at + sizeof epoch - 1 : end; at < end && *at >= '0' && *at <= '9'; at++)
        t->epoch = t->epoch * 10 + (uint64_t)(*at - '0');
}

/* ---- CLUSTER SLOTS ---- */

static uint16_t index_of(struct nc_topology *t)
{
    for (unsigned i = 0; i < t->count; i++)
        if (nc_primary_is(&t->node[i], &t->primary))
            return (uint16_t)i;
    if (t->count == NC_TOPOLOGY_NODES_MOST) {
        t->why = "a cluster with more than 256 primaries";
        return NC_TOPOLOGY_NOBODY;
    }
    t->node[t->count] = t->primary;
    return (uint16_t)t->count++;
}

static void end_range(struct nc_topology *t)
{
    /* A node whose name is not known to the others is `?`: nobody can go there. */
    uint16_t node = strcmp(t->primary.host, "?") == 0 ? NC_TOPOLOGY_NOBODY : index_of(t);
    if (t->first > t->last)
        malformed(t);
    for (uint32_t slot = t->first; !t->why && slot <= t->last; slot++) {
        if (t->owner[slot] != NC_TOPOLOGY_NOBODY)
            malformed(t);
        else
            t->owner[slot] = node;
    }
    t->ended = true;
}

static void read_bound(struct nc_topology *t, const struct nc_reply_part *part, uint32_t *bound)
{
    if (part->type != NC_REPLY_INTEGER || part->integer < 0 || part->integer >= (int64_t)NC_SLOTS)
        malformed(t);
    else
        *bound = (uint32_t)part->integer;
}

static void read_host(struct nc_topology *t, const struct nc_reply_part *part)
{
    if (part->type == NC_REPLY_NIL || (part->type == NC_REPLY_BULK && part->bytes == 0))
        memcpy(t->primary.host, t->asked.host, sizeof t->asked.host);
    else if (part->type != NC_REPLY_BULK ||
             !nc_primary_put_host(&t->primary, part->str, part->bytes))
        malformed(t);
}

static void read_port(struct nc_topology *t, const struct nc_reply_part *part)
{
    if (part->type != NC_REPLY_INTEGER || part->integer <= 0 || part->integer > 65535) {
        malformed(t);
        return;
    }
    t->primary.port = (uint32_t)part->integer;
    end_range(t);
}

static void begin_range(struct nc_topology *t, const struct nc_reply_part *part)
{
    if (part->type != NC_REPLY_ARRAY || part->elements < 3 || (t->begun && !t->ended))
        malformed(t);
    t->begun = true;
    t->ended = false;
}

/* [[first, last, [host, port, ...], replica...]...] */
static void read_slots(struct nc_topology *t, const struct nc_reply_part *part)
{
    if (part->depth == 0) {
        if (part->type == NC_REPLY_ERROR)
            t->why = "a node is in no cluster, or does not tell its slots";
        else if (part->type != NC_REPLY_ARRAY)
            malformed(t);
    } else if (part->depth == 1) {
        begin_range(t, part);
    } else if (part->depth == 2) {
        t->element = part->index < 3 ? (unsigned)part->index : 3;
        if (part->index < 2)
            read_bound(t, part, part->index == 0 ? &t->first : &t->last);
        else if (part->index == 2 && (part->type != NC_REPLY_ARRAY || part->elements < 2))
            malformed(t);
    } else if (part->depth == 3 && t->element == 2) {
        if (part->index == 0)
            read_host(t, part);
        else if (part->index == 1)
            read_port(t, part);
    }
}

static int on_part(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct nc_topology *t = (struct nc_topology *)sink;
    if (t->why)
        return 0;
    if (part->reply == 1)
        read_slots(t, part);
    else if (part->depth == 0 && part->type == NC_REPLY_BULK)
        read_info(t, part->str, part->bytes);
    return 0;
}

/* ---- all of it ---- */

void nc_topology_init(struct nc_topology *t, const struct nc_primary *asked)
{
    memset(t, 0, sizeof *t);
    t->sink.part = on_part;
    t->asked = *asked;
    for (uint32_t slot = 0; slot < NC_SLOTS; slot++)
        t->owner[slot] = NC_TOPOLOGY_NOBODY;
}

void nc_topology_ask(struct nc_command *command)
{
    static const char *const what[] = {"INFO", "SLOTS"};
    for (int i = 0; i < 2; i++) {
        nc_command_begin(command, 2);
        nc_command_arg(command, "CLUSTER", 7);
        nc_command_arg(command, what[i], strlen(what[i]));
    }
}

const char *nc_topology_check(const struct nc_topology *t)
{
    if (t->why)
        return t->why;
    if (!t->well)
        return "a node does not see the majority of its cluster";
    if (t->count == 0 || !t->ended)
        return "a node knows no slots";
    return NULL;
}
