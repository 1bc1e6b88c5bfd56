/* Which slot of a cluster a key is in: the vectors are those of the CRC's and Redis' own documents.
 */
#include "redis/slot.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static uint32_t slot(const char *key) { return nc_slot_of(key, strlen(key)); }

Test(slot, the_check_value_of_the_crc_comes_out)
{
    cr_expect_eq(slot("123456789"), 0x31c3u);
    cr_expect_eq(slot(""), 0u);
}

Test(slot, keys_are_where_redis_puts_them)
{
    /* As CLUSTER KEYSLOT of 7.0 answers. */
    cr_expect_eq(slot("foo"), 12182u);
    cr_expect_eq(slot("bar"), 5061u);
    cr_expect_eq(slot("hello"), 866u);
    cr_expect_eq(slot("somekey"), 11058u);
}

Test(slot, a_hash_tag_alone_decides)
{
    cr_expect_eq(slot("{user1000}.following"), slot("user1000"));
    cr_expect_eq(slot("{user1000}.followers"), slot("user1000"));
    cr_expect_eq(slot("before{user1000}"), slot("user1000"));
    cr_expect_eq(slot("foo{bar}{zap}"), slot("bar"));
    cr_expect_eq(slot("foo{{bar}}zap"), slot("{bar"));
}

Test(slot, an_empty_or_unended_tag_is_none)
{
    cr_expect_neq(slot("foo{}{bar}"), slot("bar"));
    cr_expect_neq(slot("foo{bar"), slot("bar"));
    cr_expect_neq(slot("foo}bar{"), slot("bar"));
    cr_expect_neq(slot("{}"), 0u);
    cr_expect_lt(slot("{"), NC_SLOTS);
}

Test(slot, zero_bytes_are_bytes)
{
    cr_expect_neq(nc_slot_of("a\0b", 3), nc_slot_of("a\0c", 3));
    cr_expect_eq(nc_slot_of("x\0{bar}", 7), slot("bar"));
}

Test(slot, a_key_in_two_parts_is_where_the_whole_is)
{
    static const char letters[] = "{}ab";
    char whole[9];
    for (uint32_t number = 0; number < 1u << 16; number++)
        for (size_t cut = 0; cut <= 8; cut += 2) {
            for (int i = 0; i < 8; i++)
                whole[i] = letters[number >> (2 * i) & 3];
            cr_assert_eq(nc_slot_of_both(whole, cut, whole + cut, 8 - cut), nc_slot_of(whole, 8),
                         "%.8s cut at %zu", whole, cut);
        }
}

Test(slot, every_slot_has_a_tag)
{
    char text[16];
    for (uint32_t i = 0; i < NC_SLOTS; i += 101) {
        snprintf(text, sizeof text, "x{%u}y", nc_slot_tag(i));
        cr_assert_eq(slot(text), i, "%s", text);
    }
    snprintf(text, sizeof text, "{%u}", nc_slot_tag(NC_SLOTS - 1));
    cr_assert_eq(slot(text), NC_SLOTS - 1);
}
