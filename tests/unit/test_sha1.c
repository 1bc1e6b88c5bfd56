#include "base/sha1.h"

#include <criterion/criterion.h>
#include <string.h>

static void expect_sha1(const void *data, size_t bytes, const char *hex)
{
    struct nc_sha1_part part = {data, bytes};
    char mine[41];
    nc_sha1_hex(&part, 1, mine);
    cr_expect_str_eq(mine, hex);
}

/* RFC 3174, section 7.3. */
Test(sha1, the_vectors_of_the_standard_come_out)
{
    static char million_a[1000000];
    memset(million_a, 'a', sizeof million_a);
    expect_sha1("abc", 3, "a9993e364706816aba3e25717850c26c9cd0d89d");
    expect_sha1("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    expect_sha1(million_a, sizeof million_a, "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
    expect_sha1("", 0, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

Test(sha1, parts_hash_as_their_bytes_in_a_row)
{
    struct nc_sha1_part parts[] = {{"a", 1}, {NULL, 0}, {"b", 1}, {"c", 1}};
    char hex[41];
    nc_sha1_hex(parts, 4, hex);
    cr_expect_str_eq(hex, "a9993e364706816aba3e25717850c26c9cd0d89d");
    nc_sha1_hex(NULL, 0, hex);
    cr_expect_str_eq(hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
}

/* The digest of all digests, made once with Python's hashlib. */
Test(sha1, every_length_and_cut_agrees_with_another_implementation)
{
    static char all[201 * 40 + 1];
    unsigned char data[200];
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 37 + 11);
    for (size_t bytes = 0; bytes <= sizeof data; bytes++) {
        struct nc_sha1_part parts[2] = {{data, bytes / 3}, {data + bytes / 3, bytes - bytes / 3}};
        nc_sha1_hex(parts, 2, all + 40 * bytes);
    }
    expect_sha1(all, sizeof all - 1, "150e05b9c914b9f88d1ab786ea37727aa3a368b0");
}
