/* A cluster of three primaries with their replicas, and what of src/redis belongs to it. */
#include "lib/redis_cluster.h"
#include "lib/wait_until.h"
#include "redis/slot.h"

#include <criterion/criterion.h>
#include <string.h>

REDIS_SERVER_REQUIRED;

static struct redis_cluster cluster;

static void setup(void) { cr_assert(redis_cluster_start(&cluster, NULL)); }

static void teardown(void) { redis_cluster_stop(&cluster); }

TestSuite(cluster, .init = setup, .fini = teardown, .timeout = 120);

/* ---- the fixture itself ---- */

static void expect_at(int node, const char *key, const char *value)
{
    char *there = redis_server_ask(&cluster.node[node], "GET %s", key);
    cr_expect_str_eq(there, value);
    free(there);
}

Test(cluster, the_fixture_fails_over_and_moves_slots)
{
    int slot = (int)nc_slot_of("foo", 3), owner = redis_cluster_owner(&cluster, slot);
    cr_assert_eq(owner, 2);
    free(redis_server_ask(&cluster.node[owner], "SET foo 1"));
    cr_assert(redis_cluster_move_slot(&cluster, slot, owner, 0));
    cr_expect(WAIT_UNTIL(redis_cluster_owner(&cluster, slot) == 0, 10000));
    expect_at(0, "foo", "1");
    cr_assert(redis_cluster_wait_well(&cluster, true));
    cr_expect_eq(redis_cluster_kill(&cluster, 0), 3);
    expect_at(3, "foo", "1");
    cr_assert(redis_cluster_promote(&cluster, 4));
    cr_assert(redis_cluster_wait_well(&cluster, false));
}
