#include "redis/command.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>

static struct nc_command command;

static void setup(void) { nc_command_init(&command); }
static void teardown(void) { nc_command_deinit(&command); }

TestSuite(command, .init = setup, .fini = teardown);

static void expect_bytes(const char *bytes, size_t count)
{
    cr_assert_eq(command.used, count, "%zu bytes, not %zu", command.used, count);
    cr_expect_arr_eq(command.bytes, bytes, count);
}

Test(command, words_are_length_prefixed)
{
    nc_command_begin(&command, 3);
    nc_command_arg(&command, "SET", 3);
    nc_command_arg(&command, "key", 3);
    nc_command_arg(&command, "a value of 17 byt", 17);
    expect_bytes("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$17\r\na value of 17 byt\r\n", 46);
    cr_expect_eq(command.replies, 1);
}

Test(command, two_pieces_are_one_word)
{
    nc_command_begin(&command, 1);
    nc_command_arg2(&command, "product:", 8, "42", 2);
    nc_command_arg2(&command, NULL, 0, "x", 1);
    nc_command_arg2(&command, "y", 1, NULL, 0);
    expect_bytes("*1\r\n$10\r\nproduct:42\r\n$1\r\nx\r\n$1\r\ny\r\n", 35);
}

Test(command, zero_bytes_line_ends_and_nothing_at_all_are_data)
{
    nc_command_begin(&command, 2);
    nc_command_arg(&command, "\0\r\n$5", 5);
    nc_command_arg(&command, NULL, 0);
    expect_bytes("*2\r\n$5\r\n\0\r\n$5\r\n$0\r\n\r\n", 21);
}

Test(command, as_many_replies_are_due_as_commands_were_begun)
{
    for (int i = 0; i < 5; i++) {
        nc_command_begin(&command, 1);
        nc_command_arg(&command, "PING", 4);
    }
    cr_expect_eq(command.replies, 5);
    cr_expect_eq(command.used, 5 * 14);
}

Test(command, it_grows_and_keeps_what_it_has)
{
    char large[5000], expected[32];
    memset(large, 'z', sizeof large);
    nc_command_begin(&command, 101);
    nc_command_arg(&command, "MSET", 4);
    for (int i = 0; i < 100; i++)
        nc_command_arg(&command, large, sizeof large);
    cr_assert_not(command.failed);
    size_t header = (size_t)snprintf(expected, sizeof expected, "*101\r\n$4\r\nMSET\r\n");
    cr_expect_arr_eq(command.bytes, expected, header);
    cr_expect_eq(command.used, header + 100 * (7 + sizeof large + 2));
    for (size_t i = 0; i < 100; i++)
        cr_expect_arr_eq(command.bytes + header + i * 5009 + 7, large, sizeof large);
}

/* hiredis' own formatting is the oracle. */
Test(command, random_commands_equal_those_of_hiredis)
{
    srand(12);
    for (int round = 0; round < 300; round++) {
        const char *words[20];
        size_t bytes[20];
        static char data[20][1500];
        int count = 1 + rand() % 20;
        char *theirs;
        nc_command_deinit(&command);
        nc_command_init(&command);
        nc_command_begin(&command, (size_t)count);
        for (int i = 0; i < count; i++) {
            bytes[i] = (size_t)(rand() % (round % 3 ? 12 : 1500));
            for (size_t at = 0; at < bytes[i]; at++)
                data[i][at] = (char)rand();
            words[i] = data[i];
            size_t half = bytes[i] / 2;
            nc_command_arg2(&command, data[i], half, data[i] + half, bytes[i] - half);
        }
        long long length = redisFormatCommandArgv(&theirs, count, words, bytes);
        expect_bytes(theirs, (size_t)length);
        redisFreeCommand(theirs);
    }
}
