#include "sync/commit.h"

#include "base/futex.h"
#include "base/mutant.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls of one script that are under way at a time: with more, groups would be smaller. */
#define FLYING_MOST 1

/*
 *     GATHERING --(a call landed)--> LEAD --(a member takes it)--> FLYING --> LANDED
 */
enum { GATHERING, LEAD, FLYING, LANDED };

struct member {
    const struct nc_commit_item *item;
    unsigned index; /* guarded by the commits' lock until FLYING, then constant */
};

/* On the heap until the last member has left and the reply, if any, was read. */
struct nc_group {
    struct nc_commits *commits;
    _Atomic uint32_t references;
    _Atomic uint32_t state; /* futex; written under the lock, but for LANDED */
    /* Guarded by the lock until FLYING; the members' memory is not touched after that. */
    unsigned count;
    size_t bytes;
    struct member *members[NC_COMMIT_KEYS];
    /* Final once LANDED. */
    struct nc_script_run run;
    struct nc_answer answer;
    int outcome;
};

void nc_commits_init(struct nc_commits *commits)
{
    pthread_mutex_init(&commits->lock, NULL);
    commits->gathering = NULL;
    commits->flying = 0;
}

void nc_commits_deinit(struct nc_commits *commits) { pthread_mutex_destroy(&commits->lock); }

/* ---- the arguments of a call ---- */

/* Built for one call; refers to the items' bytes. */
struct arguments {
    struct nc_slice keys[NC_COMMIT_KEYS + 2];
    struct nc_slice args[2 * NC_COMMIT_KEYS + 5];
    unsigned key_count, arg_count;
    uint64_t deadline_ns; /* the last one */
    char op[NC_COMMIT_KEYS][24];
    char limits[NC_COMMIT_KEYS * 21 + 1], smallest[24];
    char small[2048], *rest; /* of the message */
};

static void put_arg(struct arguments *a, const void *data, size_t bytes)
{
    a->args[a->arg_count++] = (struct nc_slice){data, bytes};
}

static void put_key(struct arguments *a, const void *data, size_t bytes)
{
    a->keys[a->key_count++] = (struct nc_slice){data, bytes};
}

/* Plain digits; snprintf would cost a batch more than its names do. `at` has room for 20. */
static size_t put_number(char *at, uint64_t number)
{
    char digits[20];
    size_t used = sizeof digits;
    do
        digits[--used] = (char)('0' + number % 10);
    while (number /= 10);
    memcpy(at, digits + used, sizeof digits - used);
    return sizeof digits - used;
}

/* ` <origin> <n>`, and ` <len> <key>` for each key. Returns its length, 0: out of memory. */
static size_t write_rest(struct arguments *a, const struct nc_sync *sync,
                         const struct nc_commit_item *const *items, unsigned count)
{
    size_t room = 64, used;
    for (unsigned i = 0; i < count; i++)
        room += items[i]->redis_key_bytes + 24;
    a->rest = room <= sizeof a->small ? a->small : malloc(room);
    if (!a->rest)
        return 0;
    used = (size_t)snprintf(a->rest, room, " %s %u", sync->origin_hex, count);
    for (unsigned i = 0; i < count; i++) {
        a->rest[used++] = ' ';
        used += put_number(a->rest + used, items[i]->redis_key_bytes);
        a->rest[used++] = ' ';
        memcpy(a->rest + used, items[i]->redis_key, items[i]->redis_key_bytes);
        used += items[i]->redis_key_bytes;
    }
    return used;
}

static uint64_t limit_of(const struct nc_sync *sync, uint64_t deadline_ns)
{
    return NC_MUTANT(no_not_after) ? UINT64_C(1) << 53
                                   : nc_offset_not_after_us(&sync->offset, deadline_ns);
}

/* What is the same for all keys is said once: the script looks at each only when it must. */
static void put_limits(struct arguments *a, const struct nc_sync *sync,
                       const struct nc_commit_item *const *items, unsigned count)
{
    uint64_t smallest_ns = UINT64_MAX;
    size_t used = 0;
    bool differ = false;
    for (unsigned i = 0; i < count; i++) {
        differ = differ || items[i]->deadline_ns != items[0]->deadline_ns;
        if (items[i]->deadline_ns < smallest_ns)
            smallest_ns = items[i]->deadline_ns;
        if (items[i]->deadline_ns > a->deadline_ns)
            a->deadline_ns = items[i]->deadline_ns;
    }
    for (unsigned i = 0; differ && i < count; i++) {
        used += put_number(a->limits + used, limit_of(sync, items[i]->deadline_ns));
        a->limits[used++] = ' ';
    }
    uint64_t smallest = limit_of(sync, smallest_ns);
    put_arg(a, a->smallest, put_number(a->smallest, smallest));
    put_arg(a, a->limits, differ ? used - 1 : 0);
}

/* One alone is that of all keys: the server spends as much on an argument as on a short SET. */
static void put_ops(struct arguments *a, const struct nc_commit_item *const *items, unsigned count)
{
    unsigned last = 0;
    for (unsigned i = 1; i < count; i++)
        if (items[i]->op != items[0]->op || items[i]->ttl_ms != items[0]->ttl_ms)
            last = count - 1;
    for (unsigned i = 0; i <= last; i++) {
        if (items[i]->op == NC_COMMIT_SET)
            put_arg(a, a->op[i], put_number(a->op[i], items[i]->ttl_ms));
        else
            put_arg(a, items[i]->op == NC_COMMIT_DELETE ? "d" : "i", 1);
    }
}

static int write_arguments(struct arguments *a, struct nc_sync *sync, enum nc_script script,
                           const struct nc_commit_item *const *items, unsigned count)
{
    a->key_count = a->arg_count = 0;
    a->deadline_ns = 0;
    a->rest = a->small;
    if (script == NC_SCRIPT_WRITE) {
        size_t rest_bytes = write_rest(a, sync, items, count);
        bool deletes = true;
        if (rest_bytes == 0)
            return NEARCACHE_ENOMEM;
        for (unsigned i = 0; i < count; i++)
            deletes = deletes && items[i]->op == NC_COMMIT_DELETE;
        put_key(a, sync->key_s, strlen(sync->key_s));
        put_key(a, sync->key_w, strlen(sync->key_w));
        put_arg(a, sync->channel_inv, strlen(sync->channel_inv));
        put_arg(a, a->rest, rest_bytes);
        put_arg(a, deletes ? "D" : "W", 1);
    }
    put_limits(a, sync, items, count);
    for (unsigned i = 0; i < count; i++) {
        bool set = items[i]->op == NC_COMMIT_SET;
        put_key(a, items[i]->redis_key, items[i]->redis_key_bytes);
        put_arg(a, set ? items[i]->value : "", set ? items[i]->value_bytes : 0);
    }
    put_ops(a, items, count);
    return 0;
}

static void free_arguments(struct arguments *a)
{
    if (a->rest != a->small)
        free(a->rest);
}

/* A short answer says that all was applied: spells it out. */
static int complete_answer(struct nc_answer *answer, unsigned count)
{
    if (answer->count == 2)
        for (; answer->count < count + 2; answer->count++)
            answer->number[answer->count] = 1;
    if (answer->count != count + 2 || answer->number[0] < 0 || answer->number[1] <= 0)
        return NEARCACHE_EPROTOCOL;
    for (unsigned i = 0; i < count; i++)
        if (answer->number[i + 2] != 0 && answer->number[i + 2] != 1)
            return NEARCACHE_EPROTOCOL;
    return 0;
}

int nc_commit_prepare(struct nc_sync *sync, enum nc_script script,
                      const struct nc_commit_item *const *items, unsigned count,
                      struct nc_script_run *run, struct nc_answer *answer,
                      void (*done)(void *arg, int status), void *arg, uint64_t *deadline_ns)
{
    struct arguments a;
    int outcome = write_arguments(&a, sync, script, items, count);
    if (outcome == 0)
        outcome = nc_script_prepare(&sync->scripts, script, a.keys, a.key_count, a.args,
                                    a.arg_count, run, answer, done, arg);
    *deadline_ns = a.deadline_ns;
    free_arguments(&a);
    return outcome;
}

int nc_commit_end(struct nc_script_run *run, int status, unsigned count)
{
    int outcome = nc_script_end(run, status);
    return outcome != 0 ? outcome : complete_answer(run->answer, count);
}

static int call_alone(struct nc_sync *sync, enum nc_script script,
                      const struct nc_commit_item *const *items, unsigned count,
                      void (*meanwhile)(void *arg), void *arg, struct nc_answer *answer)
{
    struct arguments a;
    struct nc_script_run run;
    int outcome = write_arguments(&a, sync, script, items, count);
    if (outcome == 0)
        outcome = nc_script_prepare(&sync->scripts, script, a.keys, a.key_count, a.args,
                                    a.arg_count, &run, answer, NULL, NULL);
    if (outcome == 0) {
        answer->sent_ns = nc_clock_io_ns();
        nc_link_submit(sync->link, run.call, meanwhile ? NC_CALL_AHEAD : NC_CALL_SINGLE,
                       a.deadline_ns);
        if (meanwhile)
            meanwhile(arg);
        outcome = nc_link_wait(sync->link, run.call, a.deadline_ns);
        if (outcome == NEARCACHE_ETIMEOUT)
            nc_call_abandon(run.call);
        outcome = nc_script_end(&run, outcome);
        nc_call_release(run.call);
    }
    /* Redis has lost the script, so nothing was done: once more, with its text. */
    if (outcome == NEARCACHE_EREMOTE && answer->refusal == NC_REFUSAL_NOSCRIPT)
        outcome = nc_script_call(&sync->scripts, script, a.keys, a.key_count, a.args, a.arg_count,
                                 a.deadline_ns, answer, NULL, NULL);
    free_arguments(&a);
    return outcome != 0 ? outcome : complete_answer(answer, count);
}

/* ---- groups ---- */

static struct nc_group *create_group(struct nc_commits *commits)
{
    struct nc_group *group = malloc(sizeof *group);
    if (!group)
        return NULL;
    group->commits = commits;
    atomic_init(&group->references, 0);
    atomic_init(&group->state, GATHERING);
    group->count = 0;
    group->bytes = 0;
    group->run.call = NULL;
    memset(&group->answer, 0, offsetof(struct nc_answer, number));
    group->outcome = 0;
    return group;
}

static void release_group(struct nc_group *group)
{
    /* Release: this holder's use ends before the count falls. Acquire: the last one frees after
     * everybody's use. */
    if (atomic_fetch_sub_explicit(&group->references, 1, memory_order_acq_rel) == 1)
        free(group);
}

static size_t item_bytes(const struct nc_commit_item *item)
{
    return item->redis_key_bytes + item->value_bytes;
}

static void enter_locked(struct nc_group *group, struct member *member)
{
    member->index = group->count;
    group->members[group->count++] = member;
    group->bytes += item_bytes(member->item);
    atomic_fetch_add_explicit(&group->references, 1, memory_order_relaxed); /* the lock orders it */
}

static void leave_locked(struct nc_group *group, const struct member *member)
{
    struct member *last = group->members[--group->count];
    last->index = member->index;
    group->members[last->index] = last;
    group->bytes -= item_bytes(member->item);
}

/* From now on nobody enters or leaves. */
static void close_locked(struct nc_group *group)
{
    if (group->commits->gathering == group)
        group->commits->gathering = NULL;
    group->commits->flying++;
    atomic_store_explicit(&group->state, FLYING, memory_order_relaxed); /* the lock orders it */
}

/* The result is final. Those who waited wake first, so that what they write next can still join
 * the group that is gathering; then one of that group leads. */
static void land(struct nc_group *group, int outcome)
{
    struct nc_commits *commits = group->commits;
    group->outcome = outcome != 0 ? outcome : complete_answer(&group->answer, group->count);
    bool others = group->count > 1;
    /* Release pairs with the acquire of those who wait: outcome and answer are visible. */
    atomic_store_explicit(&group->state, LANDED, memory_order_release);
    if (others)
        nc_futex_wake(&group->state, INT_MAX);
    pthread_mutex_lock(&commits->lock);
    struct nc_group *next = commits->gathering;
    commits->flying--;
    if (next && atomic_load_explicit(&next->state, memory_order_relaxed) == GATHERING) {
        atomic_store_explicit(&next->state, LEAD, memory_order_relaxed);
        /* Under the lock: a group goes only when its last member has left, which needs it. */
        nc_futex_wake(&next->state, 1);
    }
    pthread_mutex_unlock(&commits->lock);
}

/* Runs on whoever reads the reply or ends the connection, under no lock. */
static void on_done(void *arg, int status)
{
    struct nc_group *group = arg;
    land(group, nc_script_end(&group->run, status));
    release_group(group);
}

/* Makes the call of a closed group, while its members cannot leave. */
static int prepare(struct nc_sync *sync, enum nc_script script, struct nc_group *group,
                   uint64_t *deadline_ns)
{
    const struct nc_commit_item *items[NC_COMMIT_KEYS];
    for (unsigned i = 0; i < group->count; i++)
        items[i] = group->members[i]->item;
    return nc_commit_prepare(sync, script, items, group->count, &group->run, &group->answer,
                             on_done, group, deadline_ns);
}

/* Sends a prepared group and reads for it up to the own deadline. */
static void fly(struct nc_sync *sync, struct nc_group *group, int prepared, uint64_t last_ns,
                uint64_t deadline_ns)
{
    if (prepared != 0) {
        land(group, prepared);
        return;
    }
    struct nc_call *call = group->run.call;
    atomic_fetch_add_explicit(&group->references, 1, memory_order_relaxed); /* on_done's */
    group->answer.sent_ns = nc_clock_io_ns();
    nc_link_submit(sync->link, call, NC_CALL_SINGLE, last_ns);
    if (nc_link_wait(sync->link, call, deadline_ns) == NEARCACHE_ETIMEOUT && group->count == 1)
        nc_call_abandon(call);
    nc_call_release(call);
}

/* What became of a member's write once it waits no longer. */
static int take_result(const struct nc_group *group, const struct member *member,
                       struct nc_answer *answer)
{
    /* Acquire pairs with the release in land. */
    if (atomic_load_explicit(&group->state, memory_order_acquire) != LANDED) {
        memset(answer, 0, offsetof(struct nc_answer, number));
        answer->sent = true;
        return NEARCACHE_ETIMEOUT;
    }
    memcpy(answer, &group->answer, offsetof(struct nc_answer, number));
    if (group->outcome == 0) {
        answer->count = 3;
        answer->number[0] = group->answer.number[0];
        answer->number[1] = group->answer.number[1];
        answer->number[2] = group->answer.number[2 + member->index];
    }
    return group->outcome;
}

/* False: the deadline passed while the group was gathering, and the member has left it. */
static bool wait_in_group(struct nc_sync *sync, enum nc_script script, struct nc_group *group,
                          struct member *member)
{
    struct nc_commits *commits = group->commits;
    uint64_t deadline_ns = member->item->deadline_ns, last_ns;
    for (;;) {
        uint32_t state = atomic_load_explicit(&group->state, memory_order_acquire);
        if (state == LANDED)
            return true;
        if (state != LEAD && nc_futex_wait(&group->state, state, deadline_ns))
            continue;
        pthread_mutex_lock(&commits->lock);
        bool leads = atomic_load_explicit(&group->state, memory_order_relaxed) == LEAD;
        if (state != LEAD && commits->gathering == group) {
            leave_locked(group, member);
            if (group->count == 0)
                commits->gathering = NULL;
            else if (leads)
                nc_futex_wake(&group->state, 1); /* the one that was meant for us */
            pthread_mutex_unlock(&commits->lock);
            return false;
        }
        if (!leads) {
            pthread_mutex_unlock(&commits->lock);
            if (state == FLYING)
                return true; /* the deadline passed on the way */
            continue;
        }
        close_locked(group);
        int prepared = prepare(sync, script, group, &last_ns);
        pthread_mutex_unlock(&commits->lock);
        fly(sync, group, prepared, last_ns, deadline_ns);
        return true;
    }
}

static int commit_one(struct nc_sync *sync, enum nc_script script,
                      const struct nc_commit_item *item, struct nc_answer *answer)
{
    struct nc_commits *commits = &sync->commits[script == NC_SCRIPT_WRITE];
    struct member member = {item, 0};
    uint64_t last_ns;
    int outcome = NEARCACHE_ETIMEOUT;
    pthread_mutex_lock(&commits->lock);
    struct nc_group *group = commits->gathering;
    bool leads = false;
    if (group &&
        (group->count == NC_COMMIT_KEYS || group->bytes + item_bytes(item) > NC_COMMIT_BYTES)) {
        pthread_mutex_unlock(&commits->lock);
        return call_alone(sync, script, &item, 1, NULL, NULL, answer);
    }
    if (!group) {
        if (!(group = create_group(commits))) {
            pthread_mutex_unlock(&commits->lock);
            return NEARCACHE_ENOMEM;
        }
        leads = commits->flying < FLYING_MOST;
        commits->gathering = group;
    }
    enter_locked(group, &member);
    if (leads)
        close_locked(group);
    pthread_mutex_unlock(&commits->lock);

    memset(answer, 0, offsetof(struct nc_answer, number));
    if (leads) {
        int prepared = prepare(sync, script, group, &last_ns);
        fly(sync, group, prepared, last_ns,
            NC_MUTANT(early_give_up) ? nc_clock_io_ns() + 10 * NC_NS_PER_MS : item->deadline_ns);
        outcome = take_result(group, &member, answer);
    } else if (wait_in_group(sync, script, group, &member)) {
        outcome = take_result(group, &member, answer);
    }
    release_group(group);
    return outcome;
}

int nc_commit(struct nc_sync *sync, enum nc_script script, const struct nc_commit_item *items,
              unsigned count, void (*meanwhile)(void *arg), void *arg, struct nc_answer *answer)
{
    const struct nc_commit_item *each[NC_COMMIT_KEYS];
    for (unsigned i = 0; i < count; i++)
        each[i] = &items[i];
    memset(answer, 0, offsetof(struct nc_answer, number));
    /* Whose leader leaves has the link's thread read for the group. */
    bool shares = count == 1 && !sync->one_slot && !nc_sync_serves(sync);
    int outcome = shares ? commit_one(sync, script, items, answer)
                         : call_alone(sync, script, each, count, meanwhile, arg, answer);
    /* Redis has lost the script: nothing was done, and a call of one's own brings it back. */
    if (shares && outcome == NEARCACHE_EREMOTE && answer->refusal == NC_REFUSAL_NOSCRIPT)
        outcome = call_alone(sync, script, each, 1, NULL, NULL, answer);
    return outcome;
}
