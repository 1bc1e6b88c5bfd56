#include "store/expiry.h"

#include <stdlib.h>
#include <string.h>

#define HASHES 27 /* a chunk fills what malloc gives */
/* A chunk takes keys whose ends differ by that part of their time. */
#define SPAN_SHIFT 4

struct chunk {
    struct chunk *next;
    nc_tick first_end, due;
    uint32_t count;
    uint32_t hashes[HASHES];
    uint16_t ends[HASHES];
};

struct nc_expiry_class {
    struct chunk *first, *last;
    uint32_t filed;
};

void nc_expiry_init(struct nc_expiry *expiry) { memset(expiry, 0, sizeof *expiry); }

void nc_expiry_deinit(struct nc_expiry *expiry)
{
    for (unsigned i = 0; expiry->classes && i < NC_EXPIRY_CLASSES; i++)
        for (struct chunk *chunk = expiry->classes[i].first, *next; chunk; chunk = next) {
            next = chunk->next;
            free(chunk);
        }
    free(expiry->classes);
    nc_expiry_init(expiry);
}

/* 0 to 7 ticks: 0 to 7; above that the three bits after the first one, and how long it is. */
static unsigned class_of(uint32_t ticks)
{
    if (ticks < 8)
        return ticks;
    unsigned length = 31 - (unsigned)__builtin_clz(ticks);
    return (length - 2) * 8 + (ticks >> (length - 3)) % 8;
}

static bool have_classes(struct nc_expiry *expiry)
{
    if (expiry->classes)
        return true;
    expiry->classes = calloc(NC_EXPIRY_CLASSES, sizeof *expiry->classes);
    if (expiry->classes)
        expiry->bytes += NC_EXPIRY_CLASSES * sizeof *expiry->classes;
    return expiry->classes != NULL;
}

static struct chunk *append_chunk(struct nc_expiry *expiry, unsigned class, nc_tick ends)
{
    struct nc_expiry_class *of = &expiry->classes[class];
    struct chunk *chunk = malloc(sizeof *chunk);
    if (!chunk)
        return NULL;
    expiry->bytes += sizeof *chunk;
    chunk->next = NULL;
    chunk->count = 0;
    chunk->first_end = chunk->due = ends;
    if (of->last)
        of->last->next = chunk;
    else
        of->first = chunk;
    of->last = chunk;
    expiry->used[class / 64] |= UINT64_C(1) << class % 64;
    return chunk;
}

static void drop_first_chunk(struct nc_expiry *expiry, unsigned class)
{
    struct nc_expiry_class *of = &expiry->classes[class];
    struct chunk *chunk = of->first;
    of->first = chunk->next;
    if (!of->first) {
        of->last = NULL;
        expiry->used[class / 64] &= ~(UINT64_C(1) << class % 64);
    }
    expiry->bytes -= sizeof *chunk;
    free(chunk);
}

static bool has_room(const struct chunk *chunk, nc_tick ends, uint32_t ticks)
{
    int32_t apart = (int32_t)(ends - chunk->first_end), most = (int32_t)(ticks >> SPAN_SHIFT);
    return chunk->count < HASHES && apart <= most && apart >= -most;
}

void nc_expiry_file(struct nc_expiry *expiry, uint32_t hash, nc_tick ends, nc_tick now)
{
    uint32_t ticks = nc_tick_after(ends, now) ? ends - now : 0;
    unsigned class = class_of(ticks);
    if (!have_classes(expiry))
        return;
    struct chunk *chunk = expiry->classes[class].last;
    if (!chunk || !has_room(chunk, ends, ticks))
        chunk = append_chunk(expiry, class, ends);
    if (!chunk)
        return;
    if (nc_tick_after(ends, chunk->due))
        chunk->due = ends;
    if (expiry->filed == 0 || nc_tick_after(expiry->earliest, chunk->due))
        expiry->earliest = chunk->due;
    chunk->hashes[chunk->count] = hash;
    chunk->ends[chunk->count++] = (uint16_t)ends;
    expiry->classes[class].filed++;
    expiry->filed++;
}

/* The class whose first chunk is due first. There is one. */
static unsigned first_class(const struct nc_expiry *expiry)
{
    unsigned first = NC_EXPIRY_CLASSES;
    for (unsigned word = 0; word < sizeof expiry->used / sizeof expiry->used[0]; word++)
        for (uint64_t bits = expiry->used[word]; bits; bits &= bits - 1) {
            unsigned class = word * 64 + (unsigned)__builtin_ctzll(bits);
            if (first == NC_EXPIRY_CLASSES ||
                nc_tick_after(expiry->classes[first].first->due, expiry->classes[class].first->due))
                first = class;
        }
    return first;
}

static struct nc_expired take_from(struct nc_expiry *expiry, unsigned class)
{
    struct chunk *chunk = expiry->classes[class].first;
    chunk->count--;
    struct nc_expired taken = {chunk->hashes[chunk->count], chunk->due, chunk->ends[chunk->count]};
    expiry->classes[class].filed--;
    expiry->filed--;
    if (chunk->count == 0)
        drop_first_chunk(expiry, class);
    return taken;
}

bool nc_expiry_take(struct nc_expiry *expiry, nc_tick now, struct nc_expired *expired)
{
    if (expiry->filed == 0 || nc_tick_after(expiry->earliest, now))
        return false;
    unsigned class = first_class(expiry);
    /* Exact while the chunk lasts: a chunk that is filed meanwhile and due sooner lowers it. */
    expiry->earliest = expiry->classes[class].first->due;
    if (nc_tick_after(expiry->earliest, now))
        return false;
    *expired = take_from(expiry, class);
    return true;
}

bool nc_expiry_weed(struct nc_expiry *expiry, struct nc_expired *weeded)
{
    if (expiry->filed == 0)
        return false;
    /* As many of a class as stand in it: where most are stale, most that are taken are. */
    while (expiry->weed_left == 0 || expiry->classes[expiry->weed_class].filed == 0) {
        expiry->weed_class = (expiry->weed_class + 1) % NC_EXPIRY_CLASSES;
        expiry->weed_left = expiry->classes[expiry->weed_class].filed;
    }
    expiry->weed_left--;
    *weeded = take_from(expiry, expiry->weed_class);
    return true;
}
