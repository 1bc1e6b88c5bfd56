/* api/vectors: rows of a matrix in bulk; see the public header. */
#include "api/call.h"
#include "api/statuses.h"
#include "cache/fill.h"
#include "sync/load.h"
#include "sync/write.h"

#include <stdlib.h>

struct rows {
    struct nc_call_context *call;
    struct nearcache_tier *tier;
    const struct nearcache_name *names;
    size_t count, stride;
    char *matrix;
    int *statuses;
    enum nearcache_source *sources; /* NULL: not wanted */
    const struct nc_read_options *options;
    nearcache_load_vectors_fn load; /* NULL: none */
    void *load_arg;
};

/* What a loader may still make is counted once it has tried. */
static bool is_for_the_loader(const struct rows *rows, int status)
{
    return rows->load && (status == NEARCACHE_MISS || status == NEARCACHE_EOFFLINK ||
                          status == NEARCACHE_ETIMEOUT);
}

static void take_row(struct rows *rows, size_t i, struct nearcache_result *result)
{
    if (rows->statuses[i] == 0 && result->data) /* else it stands there already */
        memcpy(rows->matrix + i * rows->stride, result->data, rows->tier->row_bytes);
    if (rows->sources)
        rows->sources[i] = result->source;
    nc_call_count_read(rows->call, rows->tier, rows->statuses[i], result);
    nc_cache_release(result);
}

/* Up to NC_HIT_WAVE rows from `at` on; the numbers of those that are not here go to `left`. */
static size_t read_wave(struct rows *rows, size_t at, size_t n, size_t *left)
{
    struct nc_key keys[NC_HIT_WAVE];
    struct nearcache_result results[NC_HIT_WAVE] = {{0}}, *own[NC_HIT_WAVE];
    enum nc_found found[NC_HIT_WAVE] = {NC_FOUND_NOTHING};
    size_t numbers[NC_HIT_WAVE], good = 0, count = 0;
    for (size_t i = at; i < at + n; i++) {
        const struct nearcache_name *name = &rows->names[i];
        rows->statuses[i] = nc_cache_key(rows->tier, name->data, name->bytes, &keys[good]);
        own[good] = &results[good];
        numbers[good] = i;
        if (rows->statuses[i] != 0)
            take_row(rows, i, own[good]);
        else
            nc_hit_announce(&keys[good++]);
    }
    /* Without Redis and a loader there is nobody to ask anew. */
    if (!rows->options->refresh || (!rows->call->cache->sync && !rows->load))
        nc_hit_find_wave(rows->call->self, keys, good, own, found);
    for (size_t i = 0; i < good; i++) {
        if (nc_call_take_hit(&keys[i], found[i], rows->load != NULL, own[i],
                             &rows->statuses[numbers[i]])) {
            take_row(rows, numbers[i], own[i]);
        } else {
            rows->statuses[numbers[i]] = NEARCACHE_MISS;
            left[count++] = numbers[i];
        }
    }
    return count;
}

/* Rows that are here. Returns how many are left, their numbers in `left`. */
static size_t read_local(struct rows *rows, size_t *left)
{
    size_t count = 0;
    for (size_t at = 0; at < rows->count; at += NC_HIT_WAVE) {
        size_t n = rows->count - at < NC_HIT_WAVE ? rows->count - at : NC_HIT_WAVE;
        count += read_wave(rows, at, n, &left[count]);
    }
    return count;
}

/* Rows that are asked for together. */
struct round {
    const size_t *left;
    size_t count;
    struct nc_want *wants;
    struct nearcache_result *results;
    struct nc_fetch_round sent;
};

static void ask(const struct rows *rows, struct round *round, const size_t *left, size_t count)
{
    struct nc_fetch_options fetch = nc_call_fetch_options(rows->options);
    round->left = left;
    round->count = count;
    memset(round->wants, 0, count * sizeof *round->wants);
    memset(round->results, 0, count * sizeof *round->results);
    for (size_t i = 0; i < count; i++) {
        const struct nearcache_name *name = &rows->names[left[i]];
        struct nc_want *want = &round->wants[i];
        nc_cache_key(rows->tier, name->data, name->bytes, &want->key);
        want->result = &round->results[i];
        want->row = rows->matrix + left[i] * rows->stride;
        want->outcome = NEARCACHE_MISS;
    }
    nc_fetch_depart(rows->call->cache->sync, rows->call->self, round->wants, count, &fetch,
                    &round->sent);
}

static void take(struct rows *rows, struct round *round, uint64_t *read_s)
{
    struct nc_fetch_options fetch = nc_call_fetch_options(rows->options);
    nc_fetch_arrive(rows->call->cache->sync, rows->call->self, round->wants, round->count, &fetch,
                    &round->sent);
    for (size_t i = 0; i < round->count; i++) {
        size_t row = round->left[i];
        rows->statuses[row] = round->wants[i].outcome;
        if (read_s)
            read_s[row] = round->wants[i].read_s;
        if (!is_for_the_loader(rows, rows->statuses[row]))
            take_row(rows, row, &round->results[i]);
    }
    round->count = 0;
}

/* One round is on its way while another one's rows are taken. */
static int read_remote(struct rows *rows, const size_t *left, size_t count, uint64_t *read_s)
{
    size_t most = nc_fetch_round_keys(rows->call->cache->sync);
    most = count < most ? count : most;
    struct nc_want *wants = malloc(2 * most * sizeof *wants);
    struct nearcache_result *results = malloc(2 * most * sizeof *results);
    struct round rounds[2];
    unsigned number = 0;
    int outcome = wants && results ? 0 : NEARCACHE_ENOMEM;
    for (unsigned i = 0; outcome == 0 && i < 2; i++) {
        rounds[i].count = 0;
        rounds[i].wants = wants + i * most;
        rounds[i].results = results + i * most;
    }
    for (size_t at = 0; outcome == 0 && at < count; at += most, number ^= 1) {
        rounds[number].sent.amid = rounds[number ^ 1].count > 0;
        ask(rows, &rounds[number], left + at, count - at < most ? count - at : most);
        if (rounds[number ^ 1].count > 0)
            take(rows, &rounds[number ^ 1], read_s);
    }
    if (outcome == 0)
        take(rows, &rounds[number ^ 1], read_s);
    free(wants);
    free(results);
    return outcome;
}

/* Without Redis what is not here is a miss. */
static void read_nowhere(struct rows *rows, const size_t *left, size_t count, uint64_t *read_s)
{
    for (size_t i = 0; i < count; i++) {
        struct nearcache_result nothing = {0};
        if (read_s)
            read_s[left[i]] = 0;
        if (!is_for_the_loader(rows, rows->statuses[left[i]]))
            take_row(rows, left[i], &nothing);
    }
}

/* Up to 32 rows that Redis lacks. */
struct missing {
    size_t count;
    uint64_t taken_ns; /* when the loader was called */
    size_t rows[NEARCACHE_DEFAULT_LOADER_CHUNK];
    uint64_t read_s[NEARCACHE_DEFAULT_LOADER_CHUNK];
    struct nc_key keys[NEARCACHE_DEFAULT_LOADER_CHUNK];
    struct nc_ticket tickets[NEARCACHE_DEFAULT_LOADER_CHUNK];
    int statuses[NEARCACHE_DEFAULT_LOADER_CHUNK];
};

/* Something newer than what the loader made stands in Redis: that is the row. */
static void read_newer(struct rows *rows, const struct nc_key *key, size_t row)
{
    struct nearcache_result result = {0};
    struct nc_want want = {.key = *key, .result = &result};
    struct nc_fetch_options fetch = nc_call_fetch_options(rows->options);
    nc_fetch(rows->call->cache->sync, rows->call->self, &want, 1, &fetch);
    if (want.outcome == 0) {
        memcpy(rows->matrix + row * rows->stride, result.data, rows->tier->row_bytes);
        if (rows->sources)
            rows->sources[row] = result.source;
    }
    nc_cache_release(&result);
}

/* Rows made from a read at a known version must not bury a newer write; the others are writes. */
static void write_items(struct rows *rows, struct nc_write_item *items, size_t count,
                        bool made_from_read)
{
    struct nearcache *cache = rows->call->cache;
    if (count == 0)
        return;
    if (!cache->sync)
        for (size_t i = 0; i < count; i++)
            nc_write_local(rows->call->self, &items[i], &items[i].ticket);
    else if (made_from_read)
        nc_write_loaded(cache->sync, rows->call->self, items, (unsigned)count,
                        nc_call_deadline(cache, 0));
    else
        nc_write(cache->sync, rows->call->self, items, count, nc_call_deadline(cache, 0));
    for (size_t i = 0; i < count; i++) {
        if (items[i].outcome == NEARCACHE_MISS)
            read_newer(rows, &items[i].key, items[i].index);
        else
            nc_call_count_write(rows->call, rows->tier, items[i].outcome, false);
    }
}

/* The caller has its rows whatever becomes of the writes; policies and counters tell. */
static void write_rows(struct rows *rows, const struct missing *missing, const char *block)
{
    struct nc_write_item known[NEARCACHE_DEFAULT_LOADER_CHUNK];
    struct nc_write_item unknown[NEARCACHE_DEFAULT_LOADER_CHUNK];
    size_t known_count = 0, unknown_count = 0, row_bytes = rows->tier->row_bytes;
    bool versioned = rows->tier->coherence == NEARCACHE_COHERENCE_PUBSUB;
    for (size_t i = 0; i < missing->count; i++) {
        if (missing->statuses[i] != 0)
            continue;
        struct nc_write_item *item = versioned && missing->read_s[i] != 0
                                         ? &known[known_count++]
                                         : &unknown[unknown_count++];
        memset(item, 0, sizeof *item);
        item->index = missing->rows[i];
        item->key = missing->keys[i];
        item->op = NC_WRITE_SET;
        item->value = block + i * row_bytes;
        item->value_bytes = row_bytes;
        item->ttl_ms = rows->tier->redis_ttl_ms;
        item->taken_ns = missing->taken_ns;
        item->read_s = missing->read_s[i];
        item->ticket = missing->tickets[i];
    }
    write_items(rows, known, known_count, true);
    write_items(rows, unknown, unknown_count, false);
}

/* One loader call; its rows are written through, its absences remembered. */
static void load_chunk(struct rows *rows, struct missing *missing, char *block)
{
    struct nearcache_name names[NEARCACHE_DEFAULT_LOADER_CHUNK];
    struct nc_cache_thread *self = rows->call->self;
    struct nearcache *cache = rows->call->cache;
    size_t row_bytes = rows->tier->row_bytes;
    for (size_t i = 0; i < missing->count; i++) {
        names[i] = rows->names[missing->rows[i]];
        if (cache->sync)
            missing->tickets[i] = nc_cache_ticket(&missing->keys[i]);
        missing->statuses[i] = NEARCACHE_MISS;
    }
    missing->taken_ns = nc_clock_io_ns();
    nc_cache_count(self, rows->tier, NC_COUNT_loads, 1);
    int outcome =
        rows->load(rows->load_arg, names, missing->count, block, row_bytes, missing->statuses);
    if (outcome != 0)
        nc_cache_count(self, rows->tier, NC_COUNT_load_errors, 1);
    for (size_t i = 0; i < missing->count; i++) {
        struct nearcache_result result = {0};
        size_t row = missing->rows[i];
        if (outcome != 0 || (missing->statuses[i] != 0 && missing->statuses[i] != NEARCACHE_MISS))
            missing->statuses[i] = NEARCACHE_ELOADER;
        rows->statuses[row] = missing->statuses[i];
        result.source = missing->statuses[i] == 0 ? NEARCACHE_SOURCE_LOADED : NEARCACHE_SOURCE_MISS;
        if (missing->statuses[i] == 0)
            memcpy(rows->matrix + row * rows->stride, block + i * row_bytes, row_bytes);
        else if (missing->statuses[i] == NEARCACHE_MISS)
            nc_load_absence(cache->sync, self, &missing->keys[i], missing->read_s[i],
                            &missing->tickets[i]);
        if (rows->sources)
            rows->sources[row] = result.source;
        nc_call_count_read(rows->call, rows->tier, missing->statuses[i], &result);
    }
    write_rows(rows, missing, block);
    if (!cache->sync)
        for (size_t i = 0; i < missing->count; i++)
            nc_cache_load_end(&missing->keys[i]);
}

/* The row goes to the loader, unless it was written here since it was looked for. */
static void add_missing(struct rows *rows, struct missing *missing, size_t row, uint64_t read_s)
{
    struct nearcache_result result = {0};
    const struct nearcache_name *name = &rows->names[row];
    struct nc_key *key = &missing->keys[missing->count];
    nc_cache_key(rows->tier, name->data, name->bytes, key);
    if (!rows->call->cache->sync) {
        if (nc_cache_load_begin(rows->call->self, key, !rows->options->refresh,
                                &missing->tickets[missing->count], &result) == NC_FOUND_FRESH) {
            rows->statuses[row] = 0;
            result.source = NEARCACHE_SOURCE_LOCAL;
            take_row(rows, row, &result);
            return;
        }
    }
    missing->rows[missing->count] = row;
    missing->read_s[missing->count++] = read_s;
}

static int load_missing(struct rows *rows, const size_t *left, const uint64_t *read_s, size_t count)
{
    struct missing missing = {0};
    char *block = aligned_alloc(
        64, ((size_t)NEARCACHE_DEFAULT_LOADER_CHUNK * rows->tier->row_bytes + 63) / 64 * 64);
    if (!block)
        return NEARCACHE_ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (is_for_the_loader(rows, rows->statuses[left[i]]))
            add_missing(rows, &missing, left[i], read_s[left[i]]);
        if (missing.count == NEARCACHE_DEFAULT_LOADER_CHUNK ||
            (missing.count > 0 && i + 1 == count)) {
            load_chunk(rows, &missing, block);
            missing.count = 0;
        }
    }
    free(block);
    return 0;
}

int nearcache_get_vectors(struct nearcache_tier *tier, const struct nearcache_name *names,
                          size_t count, const struct nearcache_read *how, void *matrix,
                          size_t row_stride_bytes, nearcache_load_vectors_fn load, void *arg,
                          int *statuses, enum nearcache_source *sources)
{
    struct nc_call_context call;
    struct nc_read_options options;
    if (!tier || tier->row_bytes == 0 || (row_stride_bytes && row_stride_bytes < tier->row_bytes))
        return nc_statuses_fail_all(NEARCACHE_EINVAL, statuses, count);
    if (count == 0)
        return 0;
    if (!names || !matrix || !statuses)
        return nc_statuses_fail_all(NEARCACHE_EINVAL, statuses, count);
    int outcome = nc_call_begin_tier(&call, tier);
    if (outcome == 0)
        outcome = nc_config_read(tier, call.cache->config.deadline_us, how, &options);
    size_t *left = outcome == 0 ? malloc(count * sizeof *left) : NULL;
    uint64_t *read_s = outcome == 0 && load ? malloc(count * sizeof *read_s) : NULL;
    if (outcome == 0 && (!left || (load && !read_s)))
        outcome = NEARCACHE_ENOMEM;
    if (outcome == 0) {
        struct rows rows = {&call,
                            tier,
                            names,
                            count,
                            row_stride_bytes ? row_stride_bytes : tier->row_bytes,
                            matrix,
                            statuses,
                            sources,
                            &options,
                            load,
                            arg};
        size_t n = read_local(&rows, left);
        if (n > 0 && call.cache->sync)
            outcome = read_remote(&rows, left, n, read_s);
        else if (n > 0)
            read_nowhere(&rows, left, n, read_s);
        if (outcome == 0 && n > 0 && load)
            outcome = load_missing(&rows, left, read_s, n);
    }
    free(left);
    free(read_s);
    if (outcome != 0)
        return nc_statuses_fail_all(outcome, statuses, count);
    return nc_statuses_first_failure(statuses, count);
}
