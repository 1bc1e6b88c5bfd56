#include "queue/value.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_BYTES 4096
#define MOST_ELEMENTS (1u << 24)

/* Memory is taken from the newest block. */
struct block {
    struct block *older;
    size_t used, room;
    _Alignas(16) char bytes[];
};

static void *take(struct nc_value_builder *builder, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    struct block *block = builder->blocks;
    if (!block || block->room - block->used < bytes) {
        size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        /* Blocks grow with the answer, so that a large one is few pieces. */
        if (block && room < 2 * block->room && block->room < 1 << 20)
            room = 2 * block->room;
        struct block *fresh = malloc(sizeof *fresh + room);
        if (!fresh) {
            builder->failed = true;
            return NULL;
        }
        *fresh = (struct block){.older = block, .used = 0, .room = room};
        builder->blocks = block = fresh;
    }
    void *at = block->bytes + block->used;
    block->used += bytes;
    return at;
}

/* The place of a part: a slot of the array that it stands in, or the root. */
static struct nc_value **place_of(struct nc_value_builder *builder,
                                  const struct nc_reply_part *part)
{
    if (part->depth == 0)
        return &builder->root;
    struct nc_value *parent = part->depth <= NC_VALUE_DEPTH ? builder->open[part->depth - 1] : NULL;
    return parent && part->index < parent->elements ? &parent->element[part->index] : NULL;
}

static bool fill(struct nc_value_builder *builder, const struct nc_reply_part *part,
                 struct nc_value *value)
{
    *value = (struct nc_value){.type = part->type, .integer = part->integer};
    if (part->type == NC_REPLY_ARRAY) {
        if (part->elements > MOST_ELEMENTS || part->depth >= NC_VALUE_DEPTH)
            return false;
        value->elements = (size_t)part->elements;
        value->element = take(builder, value->elements * sizeof(struct nc_value *));
        builder->open[part->depth] = value;
        return value->element != NULL;
    }
    if (part->type == NC_REPLY_INTEGER || part->type == NC_REPLY_NIL)
        return true;
    value->str = take(builder, part->bytes + 1);
    if (!value->str)
        return false;
    memcpy(value->str, part->str, part->bytes);
    value->str[part->bytes] = 0;
    value->len = part->bytes;
    return true;
}

static int on_part(struct nc_sink *sink, const struct nc_reply_part *part)
{
    struct nc_value_builder *builder = (struct nc_value_builder *)sink;
    struct nc_value **place = builder->failed ? NULL : place_of(builder, part);
    struct nc_value *value = place ? take(builder, sizeof *value) : NULL;
    if (!value || !fill(builder, part, value))
        builder->failed = true;
    else
        *place = value;
    return 0;
}

void nc_value_builder_init(struct nc_value_builder *builder)
{
    memset(builder, 0, sizeof *builder);
    builder->sink.part = on_part;
}

static void free_blocks(struct block *block)
{
    while (block) {
        struct block *older = block->older;
        free(block);
        block = older;
    }
}

void nc_value_builder_deinit(struct nc_value_builder *builder)
{
    free_blocks(builder->blocks);
    nc_value_builder_init(builder);
}

/* What frees the tree stands in front of its root: the newest block. */
struct owned {
    struct block *blocks;
    struct nc_value root;
};

struct nc_value *nc_value_builder_take(struct nc_value_builder *builder)
{
    struct owned *owned = builder->failed || !builder->root ? NULL : take(builder, sizeof *owned);
    if (!owned) {
        nc_value_builder_deinit(builder);
        return NULL;
    }
    owned->root = *builder->root;
    owned->blocks = builder->blocks;
    nc_value_builder_init(builder);
    return &owned->root;
}

void nc_value_free(struct nc_value *value)
{
    if (value)
        free_blocks(((struct owned *)((char *)value - offsetof(struct owned, root)))->blocks);
}

int64_t nc_value_int(const struct nc_value *value)
{
    if (value->type == NC_REPLY_INTEGER)
        return value->integer;
    return nc_value_is_text(value) ? strtoll(value->str, NULL, 10) : 0;
}

bool nc_value_is_array(const struct nc_value *value, size_t least)
{
    return value->type == NC_REPLY_ARRAY && value->elements >= least;
}

bool nc_value_is_text(const struct nc_value *value)
{
    return value->type == NC_REPLY_BULK || value->type == NC_REPLY_STATUS;
}
