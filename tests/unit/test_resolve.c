#include "base/clock.h"
#include "nearcache.h"
#include "redis/resolve.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static struct nc_addresses found;

static int resolve(const char *host)
{
    return nc_resolve(host, 6379, -1, nc_clock_deadline_ns(10000000), &found);
}

Test(resolve, an_address_of_four_bytes_needs_no_look_up)
{
    struct in_addr expected;
    cr_assert_eq(resolve("192.0.2.7"), 0);
    cr_assert_eq(found.count, 1);
    const struct sockaddr_in *in = (const struct sockaddr_in *)&found.address[0];
    inet_pton(AF_INET, "192.0.2.7", &expected);
    cr_expect_eq(in->sin_family, AF_INET);
    cr_expect_eq(in->sin_addr.s_addr, expected.s_addr);
    cr_expect_eq(ntohs(in->sin_port), 6379);
    cr_expect_eq(found.bytes[0], sizeof *in);
}

Test(resolve, an_address_of_sixteen_bytes_too)
{
    cr_assert_eq(resolve("2001:db8::1"), 0);
    cr_assert_eq(found.count, 1);
    const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)&found.address[0];
    cr_expect_eq(in->sin6_family, AF_INET6);
    cr_expect_eq(ntohs(in->sin6_port), 6379);
}

Test(resolve, a_name_is_looked_up)
{
    cr_assert_eq(resolve("localhost"), 0);
    cr_expect_geq(found.count, 1);
}

Test(resolve, a_name_that_cannot_be_is_no_host)
{
    cr_expect_eq(resolve("no such host"), NEARCACHE_EOFFLINK);
    cr_expect_eq(resolve(""), NEARCACHE_EOFFLINK);
}

Test(resolve, the_deadline_ends_it_and_the_thread_is_left_behind)
{
    for (int i = 0; i < 50; i++) {
        int outcome = nc_resolve("localhost", 1, -1, nc_clock_io_ns(), &found);
        cr_expect(outcome == NEARCACHE_ETIMEOUT || outcome == 0);
    }
}

Test(resolve, a_stop_ends_it)
{
    int stop = eventfd(1, EFD_CLOEXEC);
    int outcome = nc_resolve("localhost", 1, stop, nc_clock_deadline_ns(10000000), &found);
    cr_expect_eq(outcome, NEARCACHE_ECLOSED);
    close(stop);
}
