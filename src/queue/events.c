/* Reading the event stream, a step at a time, over a connection that blocks. */
#include "queue/queue.h"

#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BLOCK_MS 10000
#define READ_COUNT "100"

/* One thread at a time. */
struct nearcache_events {
    struct nearcache_queue *queue;
    struct nc_waiter *waiter;
    char *last;             /* position of the last event handed out or read */
    struct nc_value *batch; /* the entries of the last read; NULL: none left */
    size_t at;
    bool is_sent;
    const char **pairs;
};

/* Events before this moment are not wanted; "$" would lose those between two reads. */
static int newest(struct nearcache_queue *queue, char **position)
{
    struct nc_args args = {0};
    struct nc_value *answer;
    nc_args_add_string(&args, "XREVRANGE");
    nc_queue_add_key(queue, &args, "events");
    nc_args_add_string(&args, "+");
    nc_args_add_string(&args, "-");
    nc_args_add_string(&args, "COUNT");
    nc_args_add_string(&args, "1");
    int outcome = nc_queue_command(queue, &args, &answer);
    if (outcome)
        return outcome;
    const char *id = "0";
    if (nc_value_is_array(answer, 1) && nc_value_is_array(answer->element[0], 1) &&
        nc_value_is_text(answer->element[0]->element[0]))
        id = answer->element[0]->element[0]->str;
    *position = nc_text_copy(id, strlen(id));
    nc_value_free(answer);
    return *position ? 0 : NEARCACHE_ENOMEM;
}

static int open_waiter(struct nearcache_events *events)
{
    struct nc_text name = {0};
    nc_text_add_format(&name, "%s:", events->queue->prefix);
    nc_text_add_base64(&name, events->queue->name, strlen(events->queue->name));
    nc_text_add_string(&name, ":qe");
    int outcome = name.failed ? NEARCACHE_ENOMEM
                              : nc_waiter_open(&events->waiter, events->queue->remote, name.data);
    nc_text_deinit(&name);
    return outcome;
}

/* "0", "ms" or "ms-n". */
static bool is_position(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 20)
        return false;
    if (!text[digits])
        return true;
    size_t more = strspn(text + digits + 1, "0123456789");
    return text[digits] == '-' && more > 0 && more <= 20 && !text[digits + 1 + more];
}

int nearcache_events_open(struct nearcache_events **out, struct nearcache_queue *queue,
                          const char *after)
{
    int outcome = nc_queue_usable(queue);
    if (outcome || !out || (after && !is_position(after)))
        return outcome ? outcome : NEARCACHE_EINVAL;
    struct nearcache_events *events = calloc(1, sizeof *events);
    if (!events)
        return NEARCACHE_ENOMEM;
    events->queue = queue;
    atomic_fetch_add(&queue->children, 1);
    if (after) {
        events->last = nc_text_copy(after, strlen(after));
        outcome = events->last ? 0 : NEARCACHE_ENOMEM;
    } else {
        outcome = newest(queue, &events->last);
    }
    if (outcome == 0)
        outcome = open_waiter(events);
    if (outcome) {
        nearcache_events_close(events);
        return outcome;
    }
    *out = events;
    return 0;
}

void nearcache_events_close(struct nearcache_events *events)
{
    if (!events || nc_queue_usable(events->queue))
        return;
    atomic_fetch_sub(&events->queue->children, 1);
    nc_waiter_close(events->waiter);
    nc_value_free(events->batch);
    free(events->pairs);
    free(events->last);
    free(events);
}

/* Entries of the batch: {position, {name, value, ...}}. */
static const struct nc_value *entries_of(const struct nc_value *answer)
{
    if (!nc_value_is_array(answer, 1) || !nc_value_is_array(answer->element[0], 2) ||
        !nc_value_is_array(answer->element[0]->element[1], 1))
        return NULL;
    return answer->element[0]->element[1];
}

static int send_read(struct nearcache_events *events, uint64_t timeout_us)
{
    struct nc_args args = {0};
    uint64_t block_ms = timeout_us / 1000 + 1;
    nc_args_add_string(&args, "XREAD");
    nc_args_add_string(&args, "COUNT");
    nc_args_add_string(&args, READ_COUNT);
    nc_args_add_string(&args, "BLOCK");
    nc_args_add_int(&args, (int64_t)(block_ms > MAX_BLOCK_MS ? MAX_BLOCK_MS : block_ms));
    nc_args_add_string(&args, "STREAMS");
    nc_queue_add_key(events->queue, &args, "events");
    nc_args_add_string(&args, events->last);
    int outcome = args.text.failed
                      ? NEARCACHE_ENOMEM
                      : nc_waiter_send(events->waiter, &args, nc_queue_deadline_ns(events->queue));
    nc_args_deinit(&args);
    return outcome;
}

/* Reads until there are entries: 0, NEARCACHE_MISS at the deadline, or an error. */
static int read_batch(struct nearcache_events *events, uint64_t deadline_ns)
{
    for (;;) {
        struct nc_value *answer;
        uint64_t now_ns = nc_clock_io_ns();
        if (!events->is_sent) {
            int outcome =
                send_read(events, deadline_ns > now_ns ? (deadline_ns - now_ns) / 1000 : 0);
            if (outcome)
                return outcome;
            events->is_sent = true;
        }
        int outcome = nc_waiter_read(events->waiter, deadline_ns, &answer);
        if (outcome == NEARCACHE_MISS)
            return NEARCACHE_MISS;
        events->is_sent = false;
        if (outcome)
            return outcome;
        if (entries_of(answer)) {
            events->batch = answer;
            events->at = 0;
            return 0;
        }
        nc_value_free(answer);
        if (nc_clock_io_ns() >= deadline_ns)
            return NEARCACHE_MISS;
    }
}

static int remember(struct nearcache_events *events, const char *position)
{
    char *last = nc_text_copy(position, strlen(position));
    if (!last)
        return NEARCACHE_ENOMEM;
    free(events->last);
    events->last = last;
    return 0;
}

/* Fills *event from one entry. NEARCACHE_EPROTOCOL for one that is no event. */
static int take_entry(struct nearcache_events *events, const struct nc_value *entry,
                      struct nearcache_event *event)
{
    if (!nc_value_is_array(entry, 2) || !nc_value_is_text(entry->element[0]) ||
        !nc_value_is_array(entry->element[1], 2))
        return NEARCACHE_EPROTOCOL;
    const struct nc_value *pairs = entry->element[1];
    const char **list = realloc(events->pairs, pairs->elements * sizeof *list);
    if (!list)
        return NEARCACHE_ENOMEM;
    events->pairs = list;
    *event = (struct nearcache_event){entry->element[0]->str, "", "", list, 0};
    for (size_t i = 0; i + 1 < pairs->elements; i += 2) {
        const char *name = nc_value_is_text(pairs->element[i]) ? pairs->element[i]->str : "";
        const char *value =
            nc_value_is_text(pairs->element[i + 1]) ? pairs->element[i + 1]->str : "";
        if (strcmp(name, "event") == 0) {
            event->event = value;
        } else if (strcmp(name, "jobId") == 0) {
            event->job_id = value;
        } else {
            list[2 * event->pair_count] = name;
            list[2 * event->pair_count + 1] = value;
            event->pair_count++;
        }
    }
    return remember(events, event->id);
}

int nearcache_events_next(struct nearcache_events *events, uint64_t timeout_us,
                          struct nearcache_event *event)
{
    if (!events || !event)
        return NEARCACHE_EINVAL;
    int outcome = nc_queue_usable(events->queue);
    if (outcome)
        return outcome;
    uint64_t deadline_ns = nc_clock_deadline_ns(timeout_us);
    const struct nc_value *entries = events->batch ? entries_of(events->batch) : NULL;
    if (!entries || events->at >= entries->elements) {
        nc_value_free(events->batch);
        events->batch = NULL;
        outcome = read_batch(events, deadline_ns);
        if (outcome)
            return outcome;
        entries = entries_of(events->batch);
    }
    return take_entry(events, entries->element[events->at++], event);
}
