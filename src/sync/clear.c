#include "sync/clear.h"

#include "cache/drop.h"
#include "cache/removals.h"
#include "sync/write.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One SCAN: the cursor and the keys it found, in one growing block. */
struct scan {
    struct nc_sink sink;
    char cursor[24];
    char *bytes;
    size_t used, room;
    unsigned keys;
    int outcome;
};

#define SCAN_COUNT "512"

static int add_key(struct scan *scan, const char *key, size_t bytes)
{
    size_t need = sizeof bytes + bytes;
    if (scan->used + need > scan->room) {
        size_t room = 2 * (scan->used + need);
        char *grown = realloc(scan->bytes, room);
        if (!grown)
            return NEARCACHE_ENOMEM;
        scan->bytes = grown;
        scan->room = room;
    }
    memcpy(scan->bytes + scan->used, &bytes, sizeof bytes);
    memcpy(scan->bytes + scan->used + sizeof bytes, key, bytes);
    scan->used += need;
    scan->keys++;
    return 0;
}

static int on_scan(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct scan *scan = (struct scan *)sink;
    if (part->type == NC_REPLY_ERROR) {
        scan->outcome = nc_refusal_of(part->str, part->bytes) == NC_REFUSAL_UNAVAILABLE
                            ? NEARCACHE_EOFFLINK
                            : NEARCACHE_EREMOTE;
    } else if (part->depth == 1 && part->index == 0 && part->type == NC_REPLY_BULK &&
               part->bytes < sizeof scan->cursor) {
        memcpy(scan->cursor, part->str, part->bytes);
        scan->cursor[part->bytes] = 0;
        scan->outcome = 0;
    } else if (part->depth == 2 && part->type == NC_REPLY_BULK) {
        int outcome = add_key(scan, part->str, part->bytes);
        if (outcome != 0)
            scan->outcome = outcome;
    }
    return 0;
}

static int scan_once(struct nc_sync *sync, struct scan *scan, const char *pattern,
                     size_t pattern_bytes, uint64_t deadline_ns)
{
    struct nc_call *call = nc_call_create();
    if (!call)
        return NEARCACHE_ENOMEM;
    struct nc_command *command = nc_call_command(call);
    scan->used = 0;
    scan->keys = 0;
    scan->outcome = NEARCACHE_EPROTOCOL;
    nc_command_begin(command, 6);
    nc_command_arg(command, "SCAN", 4);
    nc_command_arg(command, scan->cursor, strlen(scan->cursor));
    nc_command_arg(command, "MATCH", 5);
    nc_command_arg(command, pattern, pattern_bytes);
    nc_command_arg(command, "COUNT", 5);
    nc_command_arg(command, SCAN_COUNT, strlen(SCAN_COUNT));
    nc_call_expect(call, &scan->sink, NULL, NULL);
    int outcome = nc_link_call(sync->link, call, NC_CALL_SINGLE, deadline_ns);
    nc_call_release(call);
    return outcome != 0 ? outcome : scan->outcome;
}

/* The prefix as a glob pattern: what is special is escaped, then a star. */
static char *make_pattern(const char *prefix, size_t prefix_bytes, size_t *bytes)
{
    char *pattern = malloc(2 * prefix_bytes + 1), *at = pattern;
    if (!pattern)
        return NULL;
    for (size_t i = 0; i < prefix_bytes; i++) {
        char c = prefix[i];
        if (c == '*' || c == '?' || c == '[' || c == ']' || c == '\\' || c == '^')
            *at++ = '\\';
        *at++ = c;
    }
    *at++ = '*';
    *bytes = (size_t)(at - pattern);
    return pattern;
}

/* The own bookkeeping of the cache may lie below an empty prefix. */
static bool is_own_key(const struct nc_sync *sync, const char *key, size_t bytes)
{
    size_t own = strlen(sync->own);
    if (sync->one_slot) /* `space` is the link thread's */
        return bytes > own && memcmp(key, sync->own, own) == 0;
    return (strlen(sync->key_s) == bytes && memcmp(sync->key_s, key, bytes) == 0) ||
           (strlen(sync->key_w) == bytes && memcmp(sync->key_w, key, bytes) == 0);
}

/* At most one call's worth of the keys found, from *at on. */
static unsigned take_keys(const struct nc_sync *sync, const struct scan *scan, size_t *at,
                          struct nc_slice keys[NC_COMMIT_KEYS])
{
    unsigned count = 0;
    while (*at < scan->used && count < (sync->one_slot ? 1 : NC_COMMIT_KEYS)) {
        size_t bytes;
        memcpy(&bytes, scan->bytes + *at, sizeof bytes);
        const char *key = scan->bytes + *at + sizeof bytes;
        *at += sizeof bytes + bytes;
        if (!is_own_key(sync, key, bytes))
            keys[count++] = (struct nc_slice){key, bytes};
    }
    return count;
}

/* What a CLEAR covers. */
struct cleared {
    const struct nc_key *prefix; /* of the names */
    const char *whole, *pattern; /* the prefix of the keys in Redis */
    size_t whole_bytes, pattern_bytes;
    bool versioned;
    uint64_t version; /* of the CLEAR */
};

/* Deletes what was not written since the version of the CLEAR. NC_OUTCOME_AGAIN: with that version
 * it cannot be told any more. */
static int sweep_versioned(struct nc_sync *sync, const struct nc_slice *found, unsigned count,
                           const struct cleared *cleared, uint64_t deadline_ns,
                           struct nc_answer *answer, uint64_t *deleted)
{
    char number[24];
    struct nc_slice keys[NC_COMMIT_KEYS + 2] = {{sync->key_s, strlen(sync->key_s)},
                                                {sync->key_w, strlen(sync->key_w)}};
    int number_bytes = snprintf(number, sizeof number, "%" PRIu64, cleared->version);
    struct nc_slice args[] = {{sync->channel_inv, strlen(sync->channel_inv)},
                              {sync->origin_hex, 16},
                              {cleared->whole, cleared->whole_bytes},
                              {number, (size_t)number_bytes}};
    memcpy(keys + 2, found, count * sizeof found[0]);
    int outcome = nc_script_call(&sync->scripts, NC_SCRIPT_SWEEP, keys, count + 2, args, 4,
                                 deadline_ns, answer, NULL, NULL);
    if (outcome == 0 && (answer->count != 3 || answer->number[0] < -1 || answer->number[2] < 0))
        outcome = NEARCACHE_EPROTOCOL;
    if (outcome == 0 && answer->number[0] < 0)
        outcome = NC_OUTCOME_AGAIN;
    if (outcome == 0) {
        *deleted += (uint64_t)answer->number[0];
        nc_sync_saw(sync, (uint64_t)answer->number[2]);
    }
    return outcome;
}

static int sweep_plain(struct nc_sync *sync, const struct nc_slice *found, unsigned count,
                       uint64_t deadline_ns, struct nc_answer *answer, uint64_t *deleted)
{
    struct nc_commit_item items[NC_COMMIT_KEYS];
    for (unsigned i = 0; i < count; i++)
        items[i] = (struct nc_commit_item){.redis_key = found[i].data,
                                           .redis_key_bytes = found[i].bytes,
                                           .op = NC_COMMIT_DELETE,
                                           .deadline_ns = deadline_ns};
    int outcome = nc_commit(sync, NC_SCRIPT_PLAIN, items, count, NULL, NULL, answer);
    for (unsigned i = 0; outcome == 0 && i < count; i++) {
        if (answer->number[i + 2] == 0)
            return NEARCACHE_ETIMEOUT;
        ++*deleted;
    }
    return outcome;
}

static int sweep(struct nc_sync *sync, const struct scan *scan, const struct cleared *cleared,
                 uint64_t deadline_ns, uint64_t *deleted)
{
    struct nc_slice found[NC_COMMIT_KEYS];
    struct nc_answer answer;
    for (size_t at = 0; at < scan->used;) {
        unsigned count = take_keys(sync, scan, &at, found);
        if (count == 0)
            continue;
        int outcome =
            cleared->versioned
                ? sweep_versioned(sync, found, count, cleared, deadline_ns, &answer, deleted)
                : sweep_plain(sync, found, count, deadline_ns, &answer, deleted);
        if (outcome == NEARCACHE_EREMOTE && answer.refusal == NC_REFUSAL_UNAVAILABLE)
            return NEARCACHE_EOFFLINK;
        if (outcome != 0)
            return outcome;
    }
    return 0;
}

/* Takes the version of the CLEAR; everybody's copies are forgotten by its message. */
static int take_version(struct nc_sync *sync, struct cleared *cleared, uint64_t deadline_ns)
{
    char not_after[24];
    struct nc_answer answer;
    int not_after_bytes = snprintf(not_after, sizeof not_after, "%" PRIu64,
                                   nc_offset_not_after_us(&sync->offset, deadline_ns));
    struct nc_slice keys[] = {{sync->key_s, strlen(sync->key_s)},
                              {sync->key_w, strlen(sync->key_w)}};
    struct nc_slice args[] = {{sync->channel_inv, strlen(sync->channel_inv)},
                              {sync->origin_hex, 16},
                              {cleared->whole, cleared->whole_bytes},
                              {not_after, (size_t)not_after_bytes}};
    int outcome = nc_script_call(&sync->scripts, NC_SCRIPT_CLEAR, keys, 2, args, 4, deadline_ns,
                                 &answer, NULL, NULL);
    if (outcome == NEARCACHE_EREMOTE && answer.refusal == NC_REFUSAL_UNAVAILABLE)
        return NEARCACHE_EOFFLINK;
    if (outcome != 0)
        return outcome;
    if (answer.count != 3 || answer.number[1] < 0)
        return NEARCACHE_EPROTOCOL;
    if (answer.number[0] != 1)
        return NEARCACHE_ETIMEOUT;
    cleared->version = (uint64_t)answer.number[1];
    nc_sync_saw(sync, cleared->version);
    return 0;
}

/* NC_OUTCOME_AGAIN: so much is written meanwhile that the index has forgotten what is newer than
 * the CLEAR. It needs another version. */
static int clear_once(struct nc_sync *sync, struct scan *scan, struct cleared *cleared,
                      uint64_t taken_ns, uint64_t deadline_ns, uint64_t *deleted)
{
    const struct nc_key *prefix = cleared->prefix;
    int outcome = cleared->versioned ? take_version(sync, cleared, deadline_ns) : 0;
    if (outcome != 0)
        return outcome;
    nc_cache_tier_lane_epoch(prefix->tier, sync->number);
    nc_journal_forget_prefix(&sync->journal, prefix->tier, prefix->name, prefix->name_bytes,
                             taken_ns, cleared->version);
    strcpy(scan->cursor, "0");
    struct nc_cache_thread *self = nc_cache_self(sync->cache);
    do {
        nc_removals_hold(self); /* while this thread may read for others */
        outcome = scan_once(sync, scan, cleared->pattern, cleared->pattern_bytes, deadline_ns);
        if (outcome == 0)
            outcome = sweep(sync, scan, cleared, deadline_ns, deleted);
        nc_removals_tell(sync->cache, self);
    } while (outcome == 0 && strcmp(scan->cursor, "0") != 0);
    /* What was read before its key was swept: the others are told, and so is this process, but the
     * caller must not see it even before that. */
    nc_cache_tier_lane_epoch(prefix->tier, sync->number);
    return outcome;
}

static int clear_lane(struct nc_sync *sync, struct nearcache_tier *tier, const void *prefix,
                      size_t prefix_bytes, uint64_t taken_ns, uint64_t deadline_ns,
                      uint64_t *deleted)
{
    struct scan scan = {.sink = {on_scan}};
    struct nc_key key = {tier, prefix_bytes ? prefix : "", prefix_bytes, 0, sync->number};
    struct cleared cleared = {.prefix = &key,
                              .whole_bytes = nc_sync_redis_key_bytes(sync, &key),
                              .versioned = tier->coherence == NEARCACHE_COHERENCE_PUBSUB};
    char *whole = malloc(cleared.whole_bytes + 1), *pattern = NULL;
    int outcome = NEARCACHE_ENOMEM;
    if (whole) {
        nc_sync_write_redis_key(sync, &key, whole);
        pattern = make_pattern(whole, cleared.whole_bytes, &cleared.pattern_bytes);
    }
    cleared.whole = whole;
    cleared.pattern = pattern;
    if (pattern)
        outcome = nc_write_learn_clock(sync, deadline_ns);
    if (outcome == 0)
        do
            outcome = clear_once(sync, &scan, &cleared, taken_ns, deadline_ns, deleted);
        while (outcome == NC_OUTCOME_AGAIN);
    free(scan.bytes);
    free(pattern);
    free(whole);
    return outcome;
}

int nc_clear(struct nc_sync *any, struct nearcache_tier *tier, const void *prefix,
             size_t prefix_bytes, uint64_t deadline_ns, uint64_t *deleted)
{
    int outcome = 0;
    uint64_t taken_ns = nc_clock_io_ns();
    *deleted = 0;
    uint64_t here;
    nc_cache_drop_prefix(tier, prefix, prefix_bytes, UINT64_MAX, &here);
    NC_EACH_LANE(any, sync)
    {
        int one = clear_lane(sync, tier, prefix, prefix_bytes, taken_ns, deadline_ns, deleted);
        outcome = outcome != 0 ? outcome : one;
    }
    return outcome;
}
