/* The journal of an outage: bounds, the newest intent of a key, who may remove what. */
#include "lib/alloc_fail.h"
#include "lib/local_cache.h"

#include "cache/key.h"
#include "sync/journal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct local_cache local;
static struct nc_journal journal;
static _Atomic uint64_t seen_here;

static void set_up(void)
{
    local_cache_open(&local, &(struct local_cache_config){.tiers = 2});
    seen_here = 0;
    nc_journal_init(&journal, &local.cache.store, &seen_here, 1 << 20, 100);
}

static void tear_down(void)
{
    nc_journal_deinit(&journal);
    cr_assert_eq(nc_journal_entries(&journal), 0);
    cr_assert_eq(journal.bytes, 0);
    local_cache_close(&local);
}

TestSuite(journal, .init = set_up, .fini = tear_down, .timeout = 60);

static struct nc_key key_of(uint32_t tier, const char *name)
{
    struct nc_key key;
    cr_assert_eq(nc_cache_key(local.tiers[tier], name, strlen(name), &key), 0);
    return key;
}

static int put_at(const char *name, const char *value, uint64_t taken_ns, uint64_t not_before_ns)
{
    struct nc_key key = key_of(0, name);
    return nc_journal_put(&journal, &key, NC_INTENT_SET, value, strlen(value), taken_ns,
                          NEARCACHE_NONE, not_before_ns, NULL);
}

static int put(const char *name, const char *value, uint64_t not_before_ns)
{
    return put_at(name, value, 1, not_before_ns);
}

static int put_delete(const char *name)
{
    struct nc_key key = key_of(0, name);
    return nc_journal_put(&journal, &key, NC_INTENT_DELETE, NULL, 0, 1, NEARCACHE_NONE, 0, NULL);
}

/* Referenced. */
static struct nc_intent *find(uint32_t tier, const char *name)
{
    struct nc_key key = key_of(tier, name);
    return nc_journal_find(&journal, &key);
}

static bool holds(const char *name, const char *value)
{
    struct nc_intent *intent = find(0, name);
    bool same = intent && intent->op == NC_INTENT_SET && intent->value_bytes == strlen(value) &&
                memcmp(intent->value, value, intent->value_bytes) == 0;
    if (intent)
        nc_journal_release(&journal, intent);
    return same;
}

/* ---- bounds ---- */

Test(journal, more_entries_than_allowed_are_refused_and_the_others_stay)
{
    char name[16];
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%d", i);
        cr_assert_eq(put(name, "value", 0), 0);
    }
    cr_expect_eq(put("one more", "value", 0), NEARCACHE_EFULL);
    cr_expect_eq(nc_journal_entries(&journal), 100);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "%d", i);
        cr_assert(holds(name, "value"), "%s", name);
    }
    cr_expect_null(find(0, "one more"));
}

Test(journal, a_full_journal_takes_a_newer_write_of_a_key_that_it_holds)
{
    journal.entries_most = 1;
    cr_assert_eq(put("a", "old", 0), 0);
    cr_expect_eq(put("a", "new", 0), 0);
    cr_expect(holds("a", "new"));
    cr_expect_eq(put("b", "1", 0), NEARCACHE_EFULL);
}

Test(journal, bytes_are_bounded_and_a_value_that_grows_too_much_leaves_the_older_one)
{
    static char large[4096];
    memset(large, 'x', sizeof large - 1);
    cr_assert_eq(put("a", "small", 0), 0);
    journal.bytes_most = journal.bytes + 1000;
    cr_expect_eq(put("a", large, 0), NEARCACHE_EFULL);
    cr_expect_eq(put("b", large, 0), NEARCACHE_EFULL);
    cr_expect(holds("a", "small"));
    cr_expect_leq(journal.bytes, journal.bytes_most);
}

Test(journal, its_bytes_are_charged_to_the_budget_and_given_back)
{
    uint64_t before = atomic_load(&local.cache.store.other_bytes[NC_BYTES_JOURNAL]);
    cr_assert_eq(put("a", "one", 0), 0);
    cr_assert_eq(put("b", "two", 0), 0);
    cr_assert_eq(put("a", "three", 0), 0);
    cr_expect_eq(atomic_load(&local.cache.store.other_bytes[NC_BYTES_JOURNAL]) - before,
                 journal.bytes);
    struct nc_key a = key_of(0, "a"), b = key_of(0, "b");
    cr_expect_not(nc_journal_forget(&journal, &a, 1, 0, NULL, 0));
    cr_expect_not(nc_journal_forget(&journal, &b, 1, 0, NULL, 0));
    cr_expect_eq(journal.bytes, 0);
    cr_expect_eq(atomic_load(&local.cache.store.other_bytes[NC_BYTES_JOURNAL]), before);
}

/* ---- the newest intent of a key ---- */

Test(journal, a_delete_takes_the_place_of_a_set_and_the_other_way_round)
{
    cr_assert_eq(put("a", "1", 0), 0);
    cr_assert_eq(put_delete("a"), 0);
    struct nc_intent *intent = find(0, "a");
    cr_assert_not_null(intent);
    cr_expect_eq(intent->op, NC_INTENT_DELETE);
    nc_journal_release(&journal, intent);
    cr_assert_eq(put("a", "2", 0), 0);
    cr_expect(holds("a", "2"));
    cr_expect_eq(nc_journal_entries(&journal), 1);
}

Test(journal, the_same_name_in_another_tier_is_another_key)
{
    struct nc_key other = key_of(1, "a");
    cr_assert_eq(put("a", "1", 0), 0);
    cr_expect_null(find(1, "a"));
    cr_assert_eq(
        nc_journal_put(&journal, &other, NC_INTENT_SET, "2", 1, 1, NEARCACHE_NONE, 0, NULL), 0);
    cr_expect_eq(nc_journal_entries(&journal), 2);
    nc_journal_forget_prefix(&journal, local.tiers[1], "", 0, 1, 0);
    cr_expect(holds("a", "1"));
    cr_expect_eq(nc_journal_entries(&journal), 1);
}

Test(journal, an_intent_waits_for_what_the_older_one_left_in_doubt)
{
    uint64_t due_ns;
    cr_assert_eq(put("a", "1", 500), 0);
    cr_assert_eq(put("a", "2", 0), 0);
    cr_expect_null(nc_journal_ready(&journal, 499, &due_ns));
    cr_expect_eq(due_ns, 500);
    struct nc_intent *ready = nc_journal_ready(&journal, 500, &due_ns);
    cr_assert_not_null(ready);
    nc_journal_release(&journal, ready);
}

Test(journal, the_oldest_that_may_go_goes_first)
{
    uint64_t due_ns;
    cr_assert_eq(put("doubtful", "1", 900), 0);
    cr_assert_eq(put("first", "1", 0), 0);
    cr_assert_eq(put("second", "1", 0), 0);
    struct nc_intent *ready = nc_journal_ready(&journal, 100, &due_ns);
    cr_assert_not_null(ready);
    cr_expect_eq(memcmp(nc_intent_name(ready), "first", 5), 0);
    cr_expect(nc_journal_settle(&journal, ready));
    nc_journal_release(&journal, ready);
    ready = nc_journal_ready(&journal, 100, &due_ns);
    cr_assert_not_null(ready);
    cr_expect_eq(memcmp(nc_intent_name(ready), "second", 6), 0);
    nc_journal_release(&journal, ready);
}

Test(journal, an_intent_that_was_replaced_while_it_was_sent_removes_nothing)
{
    cr_assert_eq(put("a", "1", 0), 0);
    struct nc_intent *sent = find(0, "a");
    cr_assert_eq(put("a", "2", 0), 0);
    cr_expect_not(nc_journal_settle(&journal, sent));
    cr_expect_eq(memcmp(sent->value, "1", 1), 0, "what is referenced stays as it was");
    nc_journal_release(&journal, sent);
    cr_expect(holds("a", "2"));
}

Test(journal, what_a_clear_covers_is_forgotten_and_nothing_else)
{
    cr_assert_eq(put("user:1", "1", 0), 0);
    cr_assert_eq(put("user:2", "1", 0), 0);
    cr_assert_eq(put("use", "1", 0), 0);
    nc_journal_forget_prefix(&journal, local.tiers[0], "user:", 5, 1, 0);
    cr_expect_eq(nc_journal_entries(&journal), 1);
    cr_expect(holds("use", "1"));
}

/* ---- writes that end in another order than they were asked for ---- */

/* What a replay of the key's intent may replace. */
static struct nc_replaceable replaceable(const char *name)
{
    struct nc_replaceable found = {0};
    struct nc_intent *intent = find(0, name);
    cr_assert_not_null(intent);
    nc_journal_depart(&journal, intent, 0, &found);
    nc_journal_release(&journal, intent);
    return found;
}

static bool may_replace(const char *name, const char *value)
{
    struct nc_digest digest;
    struct nc_replaceable found = replaceable(name);
    nc_digest_of(&digest, value, value ? strlen(value) : 0);
    for (unsigned i = 0; i < found.digest_count && i < NC_DIGESTS; i++)
        if (memcmp(&found.digests[i], &digest, sizeof digest) == 0)
            return true;
    return false;
}

Test(journal, an_acknowledged_write_removes_what_was_asked_for_before_it_only)
{
    struct nc_key key = key_of(0, "a");
    cr_assert_eq(put_at("a", "newer", 20, 0), 0);
    cr_expect(nc_journal_forget(&journal, &key, 10, 700, "older", 5));
    cr_expect(holds("a", "newer"));
    cr_expect_eq(replaceable("a").seen, 700, "the older one's version is no reason to refuse it");
    cr_expect(nc_journal_forget(&journal, &key, 19, 0, NULL, 0));
    cr_expect_eq(replaceable("a").seen, 700);
    cr_expect_not(nc_journal_forget(&journal, &key, 20, 800, "later in its batch", 18));
    cr_expect_eq(nc_journal_entries(&journal), 0);
}

Test(journal, an_older_write_that_comes_later_does_not_take_the_place)
{
    uint64_t due_ns;
    cr_assert_eq(put_at("a", "newer", 20, 0), 0);
    cr_expect_eq(put_at("a", "older", 10, 500), 0);
    cr_expect(holds("a", "newer"));
    cr_expect_eq(nc_journal_entries(&journal), 1);
    cr_expect_null(nc_journal_ready(&journal, 499, &due_ns), "the older one may still land");
    cr_expect_eq(due_ns, 500);
    cr_assert_eq(put_at("a", "of the same batch", 20, 0), 0);
    cr_expect(holds("a", "of the same batch"));
}

Test(journal, an_intent_follows_the_older_one_whose_replay_it_overtook)
{
    cr_assert_eq(put_at("a", "older", 10, 0), 0);
    struct nc_intent *sent = find(0, "a");
    cr_assert_eq(put_at("a", "newer", 20, 0), 0);
    cr_expect_not(nc_journal_settle(&journal, sent));
    nc_journal_follow(&journal, sent, 700);
    cr_expect_eq(replaceable("a").seen, 700);
    cr_expect(holds("a", "newer"));
    struct nc_intent *newer = find(0, "a");
    cr_expect(nc_journal_settle(&journal, newer));
    nc_journal_release(&journal, newer);
    nc_journal_follow(&journal, sent, 800);
    nc_journal_release(&journal, sent);
}

Test(journal, an_intent_knows_what_older_writes_may_have_left_and_until_when)
{
    struct nc_key key = key_of(0, "a");
    cr_assert_eq(put_at("a", "newer", 20, 0), 0);
    cr_expect_eq(replaceable("a").digest_count, 0);
    cr_expect_eq(put_at("a", "refused", 9, 0), 0);
    cr_expect_eq(replaceable("a").digest_count, 0, "that was applied in no case");
    cr_expect_eq(put_at("a", "doubtful", 10, 500), 0);
    cr_expect(may_replace("a", "doubtful"));
    cr_expect_eq(replaceable("a").doubt_until_ns, 500);
    nc_journal_doubt(&journal, &key, 11, 700, "loaded", 6);
    nc_journal_doubt(&journal, &key, 20, 900, "not older", 9);
    cr_expect(may_replace("a", "loaded"));
    cr_expect_not(may_replace("a", "not older"));
    cr_expect_eq(replaceable("a").doubt_until_ns, 700);
    /* One that was acknowledged came behind all of them. */
    cr_expect(nc_journal_forget(&journal, &key, 12, 600, "older", 5));
    cr_expect_eq(replaceable("a").digest_count, 0);
    cr_expect_eq(replaceable("a").doubt_until_ns, 0);
}

Test(journal, a_replay_that_has_left_is_in_doubt_for_what_takes_its_place)
{
    struct nc_replaceable found;
    cr_assert_eq(put_at("a", "older", 10, 0), 0);
    struct nc_intent *sent = find(0, "a");
    nc_journal_depart(&journal, sent, 800, &found);
    nc_journal_release(&journal, sent);
    cr_assert_eq(put_at("a", "newer", 20, 0), 0);
    cr_expect(may_replace("a", "older"));
    cr_expect_eq(replaceable("a").doubt_until_ns, 800);
}

Test(journal, what_was_asked_for_after_a_clear_outlives_it)
{
    cr_assert_eq(put_at("user:1", "before", 10, 0), 0);
    cr_assert_eq(put_at("user:2", "after", 20, 0), 0);
    cr_assert_eq(put_at("use", "beside", 20, 0), 0);
    nc_journal_forget_prefix(&journal, local.tiers[0], "user:", 5, 15, 700);
    cr_expect_null(find(0, "user:1"));
    cr_expect(holds("user:2", "after"));
    cr_expect_eq(replaceable("user:2").seen, 700);
    cr_expect_eq(replaceable("use").seen, 0);
}

/* ---- where values decide ---- */

Test(journal, in_a_tracked_tier_an_intent_knows_all_values_that_it_may_replace)
{
    struct nc_key key = key_of(0, "a");
    struct nc_digest seen;
    local.tiers[0]->coherence = NEARCACHE_COHERENCE_TRACKING;
    nc_digest_of(&seen, "seen", 4);
    cr_assert_eq(nc_journal_put(&journal, &key, NC_INTENT_SET, "0", 1, 1, NEARCACHE_NONE, 7, &seen),
                 0);
    struct nc_intent *intent = find(0, "a");
    cr_expect_eq(intent->digest_count, 1);
    nc_journal_release(&journal, intent);
    /* Each is in doubt, so each may be what is found; more than four are too many to know. */
    for (unsigned i = 1; i < 6; i++) {
        char value[2] = {(char)('0' + i), 0};
        cr_assert_eq(put("a", value, 7), 0);
        intent = find(0, "a");
        if (i < NC_DIGESTS)
            cr_expect_eq(intent->digest_count, i + 1);
        else
            cr_expect_gt(intent->digest_count, NC_DIGESTS);
        nc_journal_release(&journal, intent);
    }
    local.tiers[0]->coherence = NEARCACHE_COHERENCE_PUBSUB;
}

Test(journal, in_a_tracked_tier_an_intent_may_replace_what_older_writes_left)
{
    struct nc_key key = key_of(0, "a");
    struct nc_digest seen;
    local.tiers[0]->coherence = NEARCACHE_COHERENCE_TRACKING;
    nc_digest_of(&seen, "seen", 4);
    cr_assert_eq(put_at("a", "newer", 20, 0), 0);
    /* One that came too late, one in doubt. */
    cr_assert_eq(
        nc_journal_put(&journal, &key, NC_INTENT_SET, "late", 4, 10, NEARCACHE_NONE, 0, &seen), 0);
    cr_expect(may_replace("a", "seen"));
    cr_expect_not(may_replace("a", "late"));
    cr_assert_eq(put_at("a", "doubtful", 11, 7), 0);
    cr_expect(may_replace("a", "seen"));
    cr_expect(may_replace("a", "doubtful"));
    /* One that was acknowledged: nothing that stood before it does. */
    cr_expect(nc_journal_forget(&journal, &key, 12, 0, "older", 5));
    cr_expect(may_replace("a", "older"));
    cr_expect_not(may_replace("a", "seen"));
    cr_expect(nc_journal_forget(&journal, &key, 13, 0, NULL, 0));
    cr_expect(may_replace("a", NULL));
    cr_expect_not(may_replace("a", "older"));
    /* What a replay has left with may have arrived. */
    cr_assert_eq(put_at("a", "newest", 30, 0), 0);
    cr_expect(may_replace("a", "newer"));
    local.tiers[0]->coherence = NEARCACHE_COHERENCE_PUBSUB;
}

/* The second one began to end before the older write was acknowledged, and takes the place of the
 * first one after that. */
Test(journal, the_version_of_an_older_write_holds_for_what_takes_the_place_of_a_newer_one)
{
    struct nc_key key = key_of(0, "a");
    struct nc_replaceable replaceable;
    cr_assert_eq(put_at("a", "newer", 20, 0), 0);
    seen_here = 1000;
    cr_expect(nc_journal_forget(&journal, &key, 10, 1000, "older", 5));
    cr_assert_eq(put_at("a", "newest", 30, 0), 0);
    struct nc_intent *intent = find(0, "a");
    nc_journal_depart(&journal, intent, 0, &replaceable);
    cr_expect_eq(replaceable.seen, 1000);
    nc_journal_release(&journal, intent);
}

/* ---- no memory ---- */

Test(journal, without_memory_the_older_intent_stays_the_only_one)
{
    /* Longer than what fits on a stack. */
    static char name[1000];
    memset(name, 'n', sizeof name - 1);
    cr_assert_eq(put(name, "old", 0), 0);
    for (unsigned long n = 0;; n++) {
        uint64_t bytes = journal.bytes;
        alloc_fail_at(n, ALLOC_FAIL_ONCE);
        int outcome = put(name, "new", 0);
        if (!alloc_fail_end()) {
            cr_assert_eq(outcome, 0);
            break;
        }
        cr_assert_eq(outcome, NEARCACHE_ENOMEM);
        cr_assert_eq(nc_journal_entries(&journal), 1);
        cr_assert_eq(journal.bytes, bytes);
        cr_assert(holds(name, "old"));
    }
    cr_expect_eq(nc_journal_entries(&journal), 1);
    cr_expect(holds(name, "new"));
}

Test(journal, without_memory_for_the_table_the_first_intent_is_not_taken)
{
    for (unsigned long n = 0;; n++) {
        alloc_fail_at(n, ALLOC_FAIL_ONCE);
        int outcome = put("a", "1", 0);
        if (!alloc_fail_end())
            break;
        cr_assert_eq(outcome, NEARCACHE_ENOMEM);
        cr_assert_eq(nc_journal_entries(&journal), 0);
        cr_assert_eq(journal.bytes, 0);
    }
    cr_expect(holds("a", "1"));
}
