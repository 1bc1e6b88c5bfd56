#include "base/hash.h"

#include "nearcache.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

Test(hash, a_key_hashes_the_same_every_time)
{
    cr_expect_eq(nc_hash_key(7, 3, "shoe", 4), nc_hash_key(7, 3, "shoe", 4));
}

Test(hash, seed_tier_length_and_bytes_all_matter)
{
    uint64_t h = nc_hash_key(7, 3, "shoe", 4);
    cr_expect_neq(h, nc_hash_key(8, 3, "shoe", 4));
    cr_expect_neq(h, nc_hash_key(7, 4, "shoe", 4));
    cr_expect_neq(h, nc_hash_key(7, 3, "shoe", 3));
    cr_expect_neq(h, nc_hash_key(7, 3, "shoo", 4));
    cr_expect_neq(nc_hash_key(7, 3, "a\0b", 3), nc_hash_key(7, 3, "a\0c", 3));
}

/* One page that may be read, between two that may not. */
static char *lone_page(size_t *page_bytes)
{
    *page_bytes = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, *page_bytes * 3, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    cr_assert_neq(pages, MAP_FAILED);
    cr_assert_eq(mprotect(pages + *page_bytes, *page_bytes, PROT_READ | PROT_WRITE), 0);
    return pages + *page_bytes;
}

Test(hash, nothing_is_read_before_a_name_or_behind_it)
{
    size_t page_bytes;
    char *page = lone_page(&page_bytes);
    for (size_t bytes = 1; bytes <= 300; bytes++)
        cr_assert_eq(nc_hash_key(7, 3, page, bytes),
                     nc_hash_key(7, 3, page + page_bytes - bytes, bytes));
}

/* Values are hashed too, and those may be empty. */
Test(hash, of_no_bytes_nothing_is_read)
{
    size_t page_bytes;
    char *page = lone_page(&page_bytes);
    memset(page, 'x', page_bytes);
    uint64_t hash = nc_hash_key(7, 3, page, 0);
    cr_expect_eq(nc_hash_key(7, 3, page + page_bytes, 0), hash);
    cr_expect_eq(nc_hash_key(7, 3, NULL, 0), hash);
    cr_expect_neq(nc_hash_key(8, 3, page, 0), hash);
    cr_expect_neq(nc_hash_key(7, 3, "", 1), hash);
}

/* Pieces of a name overlap: of these each length reads the same words as others. */
Test(hash, names_of_one_byte_over_and_over_differ_by_their_length)
{
    char name[64];
    uint64_t seen[64];
    memset(name, 'a', sizeof name);
    for (size_t bytes = 1; bytes < 64; bytes++) {
        seen[bytes] = nc_hash_key(1, 0, name, bytes);
        for (size_t i = 1; i < bytes; i++)
            cr_assert_neq(seen[i], seen[bytes]);
    }
}

/* Numbers at any place of names of any length: as even as by chance in all three uses. */
Test(hash, counted_names_spread_evenly_at_every_length)
{
    for (size_t bytes = 3; bytes <= 40; bytes++)
        for (size_t at = 0; at + 3 <= bytes; at += 3) {
            unsigned shards[16] = {0}, buckets[16] = {0}, tags[16] = {0};
            unsigned char name[40] = {0};
            for (uint32_t i = 0; i < 4000; i++) {
                memcpy(name + at, &i, 3);
                uint64_t hash = nc_hash_key(at + 1, 2, name, bytes);
                shards[nc_hash_shard(hash, nc_hash_shards(4))]++;
                buckets[(uint32_t)hash >> 28]++;
                tags[nc_hash_tag(hash) >> 1 & 15]++;
            }
            /* 250 each; 6 standard deviations are 92. */
            for (int i = 0; i < 16; i++) {
                cr_assert(shards[i] > 158 && shards[i] < 342);
                cr_assert(buckets[i] > 158 && buckets[i] < 342);
                cr_assert(tags[i] > 158 && tags[i] < 342);
            }
        }
}

/* What programs agree on by hash may never change: xxhsum -H3 prints these. */
Test(hash, the_common_hash_is_xxh3)
{
    cr_expect_eq(nc_hash_common("", 0), UINT64_C(0x2d06800538d394c2));
    cr_expect_eq(nc_hash_common("abc", 3), UINT64_C(0x78af5f94892f3950));
}

Test(hash, tiers_do_not_undo_seeds)
{
    /* A seed that differs by a tier's number must not map one tier onto the other. */
    for (uint32_t tier = 0; tier < 256; tier++)
        for (uint64_t seed = 0; seed < 256; seed++)
            if (seed != 0 || tier != 0)
                cr_assert_neq(nc_hash_key(0, 0, "k", 1), nc_hash_key(seed, tier, "k", 1));
}

Test(hash, seeds_are_random)
{
    uint64_t seen[64];
    for (int i = 0; i < 64; i++) {
        seen[i] = nc_hash_random();
        for (int j = 0; j < i; j++)
            cr_assert_neq(seen[i], seen[j]);
    }
}

Test(hash, shards_take_the_top_bits_and_tags_the_low_ones)
{
    cr_expect_eq(nc_hash_shard(UINT64_MAX, nc_hash_shards(0)), 0);
    cr_expect_eq(nc_hash_shard(UINT64_MAX, nc_hash_shards(4)), 15);
    cr_expect_eq(nc_hash_shard(UINT64_C(1) << 63, nc_hash_shards(1)), 1);
    cr_expect_eq(nc_hash_shard(UINT64_MAX >> 1, nc_hash_shards(1)), 0);
    cr_expect_eq(nc_hash_tag(UINT64_C(0xabcdef0123454321)), 0x4321);
}

Test(hash, a_tag_is_never_zero)
{
    cr_expect_eq(nc_hash_tag(0), 1);
    cr_expect_eq(nc_hash_tag(UINT64_C(0xffffffffffff0000)), 1);
}

Test(hash, keys_spread_evenly_over_shards)
{
    unsigned count[16] = {0};
    for (uint32_t i = 0; i < 16000; i++)
        count[nc_hash_shard(nc_hash_key(42, 0, &i, sizeof i), nc_hash_shards(4))]++;
    /* 1000 each; 6 standard deviations are 184. */
    for (int i = 0; i < 16; i++) {
        cr_expect_gt(count[i], 800);
        cr_expect_lt(count[i], 1200);
    }
}

Test(hash, random_steps_do_not_repeat_soon)
{
    uint64_t state = 1, first = nc_hash_step(&state);
    for (int i = 0; i < 100000; i++)
        cr_assert_neq(nc_hash_step(&state), first);
}

/* The values that xxhsum -H2 prints: names must be the same everywhere and for ever. */
Test(hash, a_query_name_is_xxh3_128_in_hexadecimal)
{
    char name[NEARCACHE_QUERY_NAME_BYTES + 1];
    nearcache_query_name("", 0, name);
    cr_expect_str_eq(name, "99aa06d3014798d86001c324468d497f");
    nearcache_query_name("abc", 3, name);
    cr_expect_str_eq(name, "06b05ab6733a618578af5f94892f3950");
}

Test(hash, a_long_query_gets_a_short_name_and_near_misses_another)
{
    static char query[100000];
    char a[NEARCACHE_QUERY_NAME_BYTES + 1], b[NEARCACHE_QUERY_NAME_BYTES + 1];
    memset(query, 'q', sizeof query);
    nearcache_query_name(query, sizeof query, a);
    cr_expect_eq(strlen(a), NEARCACHE_QUERY_NAME_BYTES);
    cr_expect_eq(strspn(a, "0123456789abcdef"), NEARCACHE_QUERY_NAME_BYTES);
    query[sizeof query - 1] = 'r';
    nearcache_query_name(query, sizeof query, b);
    cr_expect_str_neq(a, b);
}
