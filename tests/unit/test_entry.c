/* memory/entry: the layout of an entry and what it is charged. */
#include "memory/entry.h"

#include <criterion/criterion.h>

static struct nc_arena arena;

static void begin(void) { cr_assert_eq(nc_arena_init(&arena, (uint64_t)8 << 20), 0); }

static void end(void)
{
    cr_assert_eq(nc_arena_used(&arena), 0);
    nc_arena_deinit(&arena);
}

TestSuite(entry, .init = begin, .fini = end);

Test(entry, a_name_of_24_bytes_shares_the_line_of_the_header)
{
    struct nc_entry *entry =
        nc_entry_create(&arena, 0, 7, 3, "012345678901234567890123", 24, 64, 0);
    cr_assert_eq((uintptr_t)entry % 64, 0);
    cr_assert_eq((char *)nc_entry_value(entry) - (char *)entry, 64);
    cr_assert_eq(nc_entry_charge(entry), 128);
    nc_entry_destroy(&arena, entry);
}

Test(entry, values_from_64_bytes_on_and_vectors_begin_on_a_line_others_on_8_bytes)
{
    static char name[300];
    for (size_t name_bytes = 1; name_bytes < 300; name_bytes += 13)
        for (size_t value_bytes = 0; value_bytes < 200; value_bytes++)
            for (int aligned = 0; aligned < 2; aligned++) {
                struct nc_entry *entry = nc_entry_create(
                    &arena, 0, 1, 0, name, name_bytes, value_bytes, aligned ? NC_ENTRY_ALIGNED : 0);
                uintptr_t line = aligned || value_bytes >= 64 ? 64 : 8;
                cr_assert_eq((uintptr_t)nc_entry_value(entry) % line, 0);
                cr_assert_geq((char *)nc_entry_value(entry), (char *)entry->name + name_bytes);
                cr_assert_eq(nc_entry_charge(entry), nc_arena_used(&arena));
                nc_entry_destroy(&arena, entry);
            }
}

Test(entry, version_and_flags_do_not_disturb_each_other)
{
    uint64_t version = UINT64_C(1) << 55 | 12345;
    struct nc_entry *entry = nc_entry_create(&arena, 0, 1, 255, "k", 1, 0, NC_ENTRY_NEGATIVE);
    nc_entry_set_version(entry, version);
    nc_entry_set(entry, NC_ENTRY_EXPIRES);
    cr_assert_eq(nc_entry_version(entry), version);
    nc_entry_clear(entry, NC_ENTRY_NEGATIVE);
    cr_assert(nc_entry_is(entry, NC_ENTRY_EXPIRES));
    cr_assert_not(nc_entry_is(entry, NC_ENTRY_NEGATIVE));
    cr_assert_eq(nc_entry_version(entry), version);
    cr_assert_eq(nc_entry_tier(entry), 255);
    nc_entry_destroy(&arena, entry);
}

Test(entry, names_are_told_apart_in_every_byte)
{
    unsigned char a[70], b[70];
    for (size_t bytes = 1; bytes <= 70; bytes++)
        for (size_t at = 0; at < bytes; at++) {
            memset(a, 1, sizeof a);
            memset(b, 1, sizeof b);
            cr_assert(nc_entry_names_equal(a, b, bytes));
            b[at] = 2;
            cr_assert_not(nc_entry_names_equal(a, b, bytes), "%zu of %zu", at, bytes);
        }
}

Test(entry, links_lead_to_the_neighbour_and_back)
{
    struct nc_entry *a = nc_entry_create(&arena, 0, 1, 0, "a", 1, 0, 0);
    struct nc_entry *b = nc_entry_create(&arena, 0, 2, 0, "b", 1, 3 << 20, 0);
    nc_entry_set_newer(a, b);
    nc_entry_set_older(b, a);
    cr_assert_eq(nc_entry_newer(a), b);
    cr_assert_eq(nc_entry_older(b), a);
    cr_assert_null(nc_entry_older(a));
    nc_entry_destroy(&arena, a);
    nc_entry_destroy(&arena, b);
}
