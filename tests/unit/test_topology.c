/* What a node says of its cluster, well meant and not. */
#include "redis/topology.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct nc_topology topology;
static uint32_t replies;

static void on_part(void *arg, const struct nc_reply_part *part)
{
    struct nc_reply_part mine = *part;
    (void)arg;
    mine.reply = replies;
    topology.sink.part(&topology.sink, &mine);
}

static void on_end(void *arg)
{
    (void)arg;
    replies++;
}

/* The verdict on INFO's and SLOTS' replies. */
static const char *read_replies(const char *info, const char *slots)
{
    const struct nc_reader_events events = {on_part, on_end, NULL};
    struct nc_reader *reader = nc_reader_create(&events);
    struct nc_primary asked = {"asked", 7000};
    char bulk[512];
    int bytes = snprintf(bulk, sizeof bulk, "$%zu\r\n%s\r\n", strlen(info), info);
    replies = 0;
    nc_topology_init(&topology, &asked);
    cr_assert_eq(nc_reader_feed(reader, bulk, (size_t)bytes), 0);
    cr_assert_eq(nc_reader_feed(reader, slots, strlen(slots)), 0, "%s", slots);
    cr_assert_eq(replies, 2, "%s", slots);
    nc_reader_destroy(reader);
    return nc_topology_check(&topology);
}

#define INFO "cluster_state:ok\r\ncluster_current_epoch:42\r\ncluster_my_epoch:3\r\n"

static const char *read_slots(const char *slots) { return read_replies(INFO, slots); }

#define HOST(text, bytes) "$" #bytes "\r\n" text "\r\n"
#define NODE(host, port) "*4\r\n" host ":" #port "\r\n" HOST("id", 2) "*0\r\n"
#define RANGE(first, last, node) "*3\r\n:" #first "\r\n:" #last "\r\n" node

Test(topology, ranges_have_primaries_and_replicas_are_left_aside)
{
    const char *slots = "*3\r\n" RANGE(
        0, 99, NODE(HOST("one", 3), 1)) "*4\r\n:100\r\n:16000\r\n" NODE(HOST("two", 3), 2)
        NODE(HOST("replica", 7), 9) RANGE(16383, 16383, NODE(HOST("one", 3), 1));
    cr_assert_null(read_slots(slots));
    cr_expect_eq(topology.epoch, 42);
    cr_assert_eq(topology.count, 2);
    cr_expect_str_eq(topology.node[0].host, "one");
    cr_expect_str_eq(topology.node[1].host, "two");
    cr_expect_eq(topology.node[1].port, 2);
    cr_expect_eq(topology.owner[0], 0);
    cr_expect_eq(topology.owner[99], 0);
    cr_expect_eq(topology.owner[100], 1);
    cr_expect_eq(topology.owner[16000], 1);
    cr_expect_eq(topology.owner[16001], NC_TOPOLOGY_NOBODY);
    cr_expect_eq(topology.owner[16383], 0);
}

Test(topology, a_host_that_is_not_said_is_the_one_asked)
{
    cr_assert_null(read_slots("*1\r\n" RANGE(0, 16383, NODE(HOST("", 0), 5))));
    cr_expect_str_eq(topology.node[0].host, "asked");
    cr_expect_eq(topology.node[0].port, 5);
    cr_assert_null(read_slots("*1\r\n" RANGE(0, 16383, NODE("$-1\r\n", 5))));
    cr_expect_str_eq(topology.node[0].host, "asked");
}

Test(topology, nobody_can_go_to_a_host_without_a_name)
{
    const char *slots =
        "*2\r\n" RANGE(0, 9, NODE(HOST("?", 1), 5)) RANGE(10, 19, NODE(HOST("one", 3), 5));
    cr_assert_null(read_slots(slots));
    cr_expect_eq(topology.owner[5], NC_TOPOLOGY_NOBODY);
    cr_expect_eq(topology.owner[15], 0);
}

Test(topology, a_node_that_does_not_see_the_majority_is_not_believed)
{
    const char *good = "*1\r\n" RANGE(0, 16383, NODE(HOST("one", 3), 5));
    cr_expect_not_null(read_replies("cluster_state:fail\r\ncluster_current_epoch:42\r\n", good));
    cr_expect_not_null(read_replies("", good));
    cr_expect_null(read_replies(INFO, good));
}

Test(topology, nonsense_is_worth_nothing)
{
    static const char *const nonsense[] = {
        "-ERR This instance has cluster support disabled\r\n",
        "+OK\r\n",
        "$-1\r\n",
        "*-1\r\n",
        "*0\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*0\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n:2\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*0\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$3\r\none\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*-1\r\n",
        "*1\r\n*3\r\n$1\r\n0\r\n:1\r\n" NODE(HOST("one", 3), 5),
        "*1\r\n" RANGE(-1, 5, NODE(HOST("one", 3), 5)),
        "*1\r\n" RANGE(0, 16384, NODE(HOST("one", 3), 5)),
        "*1\r\n" RANGE(0, 9223372036854775807, NODE(HOST("one", 3), 5)),
        "*1\r\n" RANGE(5, 4, NODE(HOST("one", 3), 5)),
        "*1\r\n" RANGE(0, 5, NODE(HOST("one", 3), 0)),
        "*1\r\n" RANGE(0, 5, NODE(HOST("one", 3), 65536)),
        "*1\r\n" RANGE(0, 5, NODE(":1\r\n", 5)),
        "*1\r\n" RANGE(0, 5, NODE("*0\r\n", 5)),
        "*1\r\n" RANGE(0, 5, "*2\r\n$3\r\none\r\n$1\r\n5\r\n"),
        "*2\r\n" RANGE(0, 5, NODE(HOST("one", 3), 5)) RANGE(5, 9, NODE(HOST("two", 3), 5)),
        "*2\r\n" RANGE(0, 5, NODE(HOST("one", 3), 5)) ":1\r\n",
        "*2\r\n*3\r\n:0\r\n:1\r\n*0\r\n" RANGE(5, 9, NODE(HOST("two", 3), 5)),
    };
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++)
        cr_expect_not_null(read_slots(nonsense[i]), "%s", nonsense[i]);
}

Test(topology, hosts_that_are_too_long_or_hold_zeros_are_nonsense)
{
    static char slots[1024], host[400];
    memset(host, 'x', 300);
    snprintf(slots, sizeof slots, "*1\r\n*3\r\n:0\r\n:5\r\n*2\r\n$300\r\n%s\r\n:5\r\n", host);
    cr_expect_not_null(read_slots(slots));
}

Test(topology, more_primaries_than_fit_are_refused)
{
    static char slots[64 * 1024];
    size_t used = (size_t)sprintf(slots, "*257\r\n");
    for (int i = 0; i < 257; i++)
        used += (size_t)sprintf(slots + used, "*3\r\n:%d\r\n:%d\r\n*2\r\n$3\r\none\r\n:%d\r\n", i,
                                i, i + 1);
    cr_expect_not_null(read_slots(slots));
}
