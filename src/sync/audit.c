#include "sync/audit.h"

#include "base/hash.h"
#include "cache/find.h"

#include <stdlib.h>
#include <string.h>

enum { IDLE, FILLING, OFFERED, ASKED };

#define CALL_NS (250 * NC_NS_PER_MS)

void nc_audit_deinit(struct nc_audit *audit)
{
    free(audit->name);
    audit->name = NULL;
}

static uint64_t hash_of(const struct nc_sync *sync, const void *value, size_t bytes)
{
    return nc_hash_key(sync->cache->hash_seed, 0, value, bytes);
}

void nc_audit_offer(struct nc_sync *any, struct nc_cache_thread *self, const struct nc_key *key,
                    const struct nearcache_result *result)
{
    struct nc_sync *sync = nc_sync_for(any, key);
    struct nc_audit *audit = &sync->audit;
    uint32_t idle = IDLE;
    if (nc_hash_step(&self->random) % 1000000 >= audit->per_million)
        return;
    /* Acquire pairs with the release of the link's thread: it is done with what stands there. */
    if (!atomic_compare_exchange_strong_explicit(&audit->state, &idle, FILLING,
                                                 memory_order_acquire, memory_order_relaxed))
        return;
    char *name = realloc(audit->name, key->name_bytes);
    if (name) {
        audit->name = memcpy(name, key->name, key->name_bytes);
        audit->key = *key;
        audit->key.name = name;
        audit->value_hash = hash_of(sync, result->data, result->bytes);
    }
    /* Release pairs with the acquire of the link's thread. */
    atomic_store_explicit(&audit->state, name ? OFFERED : IDLE, memory_order_release);
}

/* The answer of GET. */
struct value {
    struct nc_sink sink;
    const struct nc_sync *sync;
    bool known, absent;
    uint64_t hash;
};

static int on_value(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct value *value = (struct value *)sink;
    value->absent = part->type == NC_REPLY_NIL;
    value->known = value->absent || part->type == NC_REPLY_BULK;
    if (part->type == NC_REPLY_BULK)
        value->hash = hash_of(value->sync, part->str, part->bytes);
    return 0;
}

static void ask(struct nc_sync *sync, struct value *value)
{
    const struct nc_key *key = &sync->audit.key;
    struct nc_call *call = nc_call_create();
    if (!call)
        return;
    struct nc_command *command = nc_call_command(call);
    nc_command_begin(command, 2);
    nc_command_arg(command, "GET", 3);
    nc_sync_put_redis_key(sync, key, command);
    nc_sync_mark_slot(sync, key, call);
    nc_call_expect(call, &value->sink, NULL, NULL);
    if (nc_link_call(sync->link, call, NC_CALL_SINGLE, nc_clock_io_ns() + CALL_NS) != 0)
        value->known = false;
    nc_call_release(call);
}

/* Whether the copy that differed still stands and is called fresh. */
static bool still_stands(struct nc_sync *sync, struct nc_cache_thread *self)
{
    struct nearcache_result result = {0};
    bool same = nc_cache_find(self, &sync->audit.key, false, 0, &result) == NC_FOUND_FRESH &&
                hash_of(sync, result.data, result.bytes) == sync->audit.value_hash;
    nc_cache_release(&result);
    return same;
}

void nc_audit_tick(struct nc_sync *sync, struct nc_cache_thread *self)
{
    struct nc_audit *audit = &sync->audit;
    uint32_t state = atomic_load_explicit(&audit->state, memory_order_acquire);
    if (state == OFFERED) {
        struct value value = {{on_value}, sync, false, false, 0};
        ask(sync, &value);
        state = IDLE;
        if (value.known) {
            atomic_fetch_add_explicit(&audit->checked, 1, memory_order_relaxed);
            if (value.absent || value.hash != audit->value_hash)
                state = ASKED;
        }
        audit->asked_ns = nc_clock_io_ns();
        atomic_store_explicit(&audit->state, state, memory_order_release);
    } else if (state == ASKED && atomic_load_explicit(&sync->lane->proof_ns, memory_order_relaxed) >
                                     audit->asked_ns) {
        if (still_stands(sync, self)) {
            atomic_fetch_add_explicit(&audit->differences, 1, memory_order_relaxed);
            nc_log_write(sync->log, NEARCACHE_LOG_ERROR,
                         "self-audit: a copy of tier %s that is called fresh is not what Redis has",
                         audit->key.tier->name);
        }
        atomic_store_explicit(&audit->state, IDLE, memory_order_release);
    }
}
