#include "sync/message.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parses a copy of exactly the right size, so that a sanitizer sees reading past the end. */
static bool parse(const char *text, size_t bytes, struct nc_message *message, unsigned *keys)
{
    char *copy = malloc(bytes ? bytes : 1);
    const char *key;
    size_t key_bytes;
    memcpy(copy, text, bytes);
    *keys = 0;
    bool fine = nc_message_open(message, copy, bytes);
    while (fine && nc_message_key(message, &key, &key_bytes)) {
        cr_assert(key >= copy && key + key_bytes <= copy + bytes);
        ++*keys;
    }
    fine = fine && message->keys == 0;
    free(copy);
    return fine;
}

Test(message, a_write_of_one_key_is_understood)
{
    static const char text[] = "1 W 41 42 ff 1 6 a b\0cd";
    struct nc_message m;
    const char *key;
    size_t bytes;
    cr_assert(nc_message_open(&m, text, sizeof text - 1));
    cr_expect_eq(m.kind, 'W');
    cr_expect_eq(m.prev, 41);
    cr_expect_eq(m.s, 42);
    cr_expect_eq(m.origin, 255);
    cr_expect_eq(m.keys, 1);
    cr_assert(nc_message_key(&m, &key, &bytes));
    cr_expect_eq(bytes, 6);
    cr_expect_eq(memcmp(key, "a b\0cd", 6), 0);
    cr_expect_not(nc_message_key(&m, &key, &bytes));
    cr_expect_eq(m.keys, 0);
}

Test(message, several_keys_follow_each_other)
{
    static const char text[] = "1 D 0 18446744073709551615 0123456789abcdef 3 1 a 0  2 bc";
    struct nc_message m;
    unsigned keys;
    cr_expect(parse(text, sizeof text - 1, &m, &keys));
    cr_expect_eq(keys, 3);
    cr_expect_eq(m.s, UINT64_MAX);
    cr_expect_eq(m.origin, UINT64_C(0x0123456789abcdef));
}

Test(message, malformed_texts_are_refused)
{
    static const char *const texts[] = {
        "",
        "1",
        "1 ",
        "1 W",
        "1 W ",
        "2 W 1 2 a 1 1 k", /* another version */
        "1 X 1 2 a 1 1 k", /* another kind */
        "1 WW 1 2 a 1 1 k",
        "1  W 1 2 a 1 1 k",
        " 1 W 1 2 a 1 1 k",
        "1 W 2 2 a 1 1 k", /* s must grow */
        "1 W 3 2 a 1 1 k",
        "1 W -1 2 a 1 1 k",
        "1 W 1 18446744073709551616 a 1 1 k", /* overflow */
        "1 W 1 2 A 1 1 k",
        "1 W 1 2 g 1 1 k",
        "1 W 1 2 0123456789abcdef0 1 1 k", /* 17 digits */
        "1 W 1 2  1 1 k",
        "1 W 1 2 a 0 ", /* no keys */
        "1 W 1 2 a 4294967296 1 k",
        "1 W 1 2 a 1",
        "1 W 1 2 a 1 ",
        "1 W 1 2 a 1 2 k", /* shorter than it says */
        "1 W 1 2 a 1 99999999999999999999 k",
        "1 W 1 2 a 2 1 k", /* one key is missing */
        "1 W 1 2 a 2 1 k ",
        "1 W 1 2 a 2 1 kx1 l", /* no blank between keys */
        "1 W 1 2 a 1 x k",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct nc_message m;
        unsigned keys;
        cr_expect_not(parse(texts[i], strlen(texts[i]), &m, &keys), "\"%s\"", texts[i]);
    }
}

Test(message, every_cut_of_a_message_is_refused)
{
    static const char text[] = "1 C 1000 1001 deadbeef 2 3 key 5 other";
    for (size_t bytes = 0; bytes < sizeof text - 1; bytes++) {
        struct nc_message m;
        unsigned keys;
        cr_expect_not(parse(text, bytes, &m, &keys), "%zu bytes", bytes);
    }
}

Test(message, random_bytes_are_never_read_past_their_end)
{
    static const char alphabet[] = "0123456789 WDCaf\0x-";
    uint64_t state = 88172645463325252u;
    for (int round = 0; round < 200000; round++) {
        char text[40] = "1 W 1 2 a ";
        struct nc_message m;
        unsigned keys;
        size_t from = round % 2 ? 10 : 0;
        for (size_t i = from; i < sizeof text; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text[i] = alphabet[state % (sizeof alphabet - 1)];
        }
        parse(text, state % (sizeof text + 1), &m, &keys);
    }
}

Test(message, a_number_ends_at_a_blank_or_at_the_end)
{
    const char *at = "12 34", *end = at + 5;
    uint64_t n;
    cr_assert(nc_message_number(&at, end, &n));
    cr_expect_eq(n, 12);
    cr_assert(nc_message_number(&at, end, &n));
    cr_expect_eq(n, 34);
    cr_expect_eq(at, end);
    cr_expect_not(nc_message_number(&at, end, &n));
    at = "7x";
    cr_expect_not(nc_message_number(&at, at + 2, &n));
}
