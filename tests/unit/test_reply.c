#include "nearcache.h"
#include "redis/reply.h"

#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parts and ends as text: what a reader said, in order. */
static char said[1 << 16];
static size_t said_bytes;
static struct nc_reader *reader;

static void on_part(void *arg, const struct nc_reply_part *part)
{
    static const char kind[] = {'+', '-', ':', '_', '$', '*'};
    char *at = said + said_bytes;
    size_t room = sizeof said - said_bytes;
    (void)arg;
    if (room < 200)
        return;
    int n = snprintf(at, room, "%u.%" PRIu64 "%c", part->depth, part->index, kind[part->type]);
    if (part->type == NC_REPLY_ARRAY)
        n += snprintf(at + n, room - (size_t)n, "%" PRIu64, part->elements);
    else if (part->type == NC_REPLY_INTEGER)
        n += snprintf(at + n, room - (size_t)n, "%" PRId64, part->integer);
    else if (part->str)
        n += snprintf(at + n, room - (size_t)n, "%.*s",
                      (int)(part->bytes < 100 ? part->bytes : 100), part->str);
    said_bytes += (size_t)n;
    said[said_bytes++] = ' ';
    said[said_bytes] = 0;
}

static void on_end(void *arg)
{
    (void)arg;
    said[said_bytes++] = '|';
    said[said_bytes] = 0;
}

static const struct nc_reader_events events = {on_part, on_end, NULL};

static void setup(void)
{
    reader = nc_reader_create(&events);
    cr_assert(reader);
    said_bytes = 0;
    said[0] = 0;
}

static void teardown(void) { nc_reader_destroy(reader); }

static void again(void)
{
    teardown();
    setup();
}

TestSuite(reply, .init = setup, .fini = teardown);

static int feed(const char *text) { return nc_reader_feed(reader, text, strlen(text)); }

Test(reply, every_type_is_told_as_it_is)
{
    cr_expect_eq(feed("+OK\r\n-ERR no\r\n:-42\r\n$5\r\nhello\r\n$-1\r\n$0\r\n\r\n*0\r\n*-1\r\n"),
                 0);
    cr_expect_str_eq(said, "0.0+OK |0.0-ERR no |0.0:-42 |0.0$hello |0.0_ |0.0$ |0.0*0 |0.0_ |");
}

Test(reply, elements_know_their_place_and_depth)
{
    cr_expect_eq(feed("*3\r\n$1\r\na\r\n*2\r\n:1\r\n*1\r\n+x\r\n$-1\r\n"), 0);
    cr_expect_str_eq(said, "0.0*3 1.0$a 1.1*2 2.0:1 2.1*1 3.0+x 1.2_ |");
}

Test(reply, cut_anywhere_it_says_the_same)
{
    static const char stream[] =
        "*3\r\n$5\r\nab\r\nc\r\n:12345\r\n*2\r\n$-1\r\n-ERR x\r\n+PONG\r\n";
    char whole[512];
    cr_assert_eq(feed(stream), 0);
    strcpy(whole, said);
    for (size_t first = 1; first < strlen(stream); first++)
        for (size_t second = first; second < strlen(stream); second++) {
            again();
            cr_assert_eq(nc_reader_feed(reader, stream, first), 0);
            cr_assert_eq(nc_reader_feed(reader, stream + first, second - first), 0);
            cr_assert_eq(nc_reader_feed(reader, stream + second, strlen(stream) - second), 0);
            cr_assert_str_eq(said, whole);
        }
}

Test(reply, a_large_bulk_in_small_pieces_is_told_once)
{
    static char chunk[1000];
    memset(chunk, 'v', sizeof chunk);
    cr_assert_eq(feed("$5000000\r\n"), 0);
    for (int i = 0; i < 5000; i++)
        cr_assert_eq(nc_reader_feed(reader, chunk, sizeof chunk), 0);
    cr_expect_eq(said_bytes, 0);
    cr_assert_eq(feed("\r\n"), 0);
    cr_expect_eq(said_bytes, 3 + 1 + 100 + 2);
}

Test(reply, what_is_not_the_protocol_loses_the_stream)
{
    static const char *const bad[] = {
        "hello\r\n",
        "\r\n",
        "\0\0\0\0",
        "$abc\r\n",
        "$-2\r\n",
        "$99999999999999999999\r\n",
        "$536870913\r\n",
        "$9223372036854775807\r\n",
        "*99999999999\r\n",
        "*16777217\r\n",
        "*2147483647\r\n",
        "*-2\r\n",
        "*x\r\n",
        ":12x\r\n",
        ":\r\n",
        ":007\r\n",
        ":+7\r\n",
        ":9223372036854775808\r\n",
        "+a\n",
        "$1\r\nab\r\n",
        "$1\r\na\n\n",
        "HTTP/1.1 400 Bad Request\r\n",
        "%1\r\n+a\r\n+b\r\n",
        ("*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*"
         "1\r\n*1\r\n*1\r\n"),
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        again();
        size_t bytes = bad[i][0] ? strlen(bad[i]) : 4;
        cr_expect_eq(nc_reader_feed(reader, bad[i], bytes), NEARCACHE_EPROTOCOL, "%s", bad[i]);
        cr_expect_neq(feed("+OK\r\n"), 0, "lost is lost: %s", bad[i]);
    }
}

Test(reply, integers_go_to_their_ends)
{
    cr_expect_eq(feed(":9223372036854775807\r\n:-9223372036854775808\r\n"), 0);
    cr_expect_str_eq(said, "0.0:9223372036854775807 |0.0:-9223372036854775808 |");
}

Test(reply, a_line_without_an_end_is_not_kept_for_ever)
{
    static char chunk[64 * 1024];
    int outcome = feed("+");
    memset(chunk, 'a', sizeof chunk);
    size_t fed = 0;
    while (outcome == 0 && fed < ((size_t)64 << 20)) {
        outcome = nc_reader_feed(reader, chunk, sizeof chunk);
        fed += sizeof chunk;
    }
    cr_expect_eq(outcome, NEARCACHE_EPROTOCOL, "after %zu bytes", fed);
}

/* Scanning for the end of a line again with each piece would make this quadratic. */
Test(reply, an_array_of_a_million_is_one_reply)
{
    size_t room = 4 * 1000000 + 32, n;
    char *stream = malloc(room);
    n = (size_t)sprintf(stream, "*1000000\r\n");
    for (int i = 0; i < 1000000; i++)
        n += (size_t)sprintf(stream + n, ":1\r\n");
    cr_expect_eq(nc_reader_feed(reader, stream, n), 0);
    cr_expect_eq(said[said_bytes - 1], '|');
    free(stream);
}
