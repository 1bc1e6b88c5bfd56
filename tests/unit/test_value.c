#include "queue/value.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct nc_value_builder builder;

static void feed(enum nc_reply_type type, uint32_t depth, uint64_t index, const char *text,
                 uint64_t elements)
{
    struct nc_reply_part part = {.type = type,
                                 .depth = depth,
                                 .index = index,
                                 .str = text,
                                 .bytes = text ? strlen(text) : 0,
                                 .elements = elements,
                                 .integer = type == NC_REPLY_INTEGER ? (int64_t)elements : 0};
    builder.sink.part(&builder.sink, &part);
}

Test(value, nested_arrays_become_a_tree)
{
    nc_value_builder_init(&builder);
    feed(NC_REPLY_ARRAY, 0, 0, NULL, 3);
    feed(NC_REPLY_BULK, 1, 0, "one", 0);
    feed(NC_REPLY_ARRAY, 1, 1, NULL, 2);
    feed(NC_REPLY_INTEGER, 2, 0, NULL, 7);
    feed(NC_REPLY_NIL, 2, 1, NULL, 0);
    feed(NC_REPLY_ARRAY, 1, 2, NULL, 0);
    struct nc_value *value = nc_value_builder_take(&builder);
    cr_assert(value && nc_value_is_array(value, 3));
    cr_expect_str_eq(value->element[0]->str, "one");
    cr_expect(nc_value_is_text(value->element[0]));
    cr_expect_eq(nc_value_int(value->element[1]->element[0]), 7);
    cr_expect_eq(value->element[1]->element[1]->type, NC_REPLY_NIL);
    cr_expect(nc_value_is_array(value->element[2], 0));
    cr_expect_not(nc_value_is_array(value->element[2], 1));
    nc_value_free(value);
    nc_value_free(NULL);
}

Test(value, a_large_answer_survives_its_growth)
{
    char text[64];
    nc_value_builder_init(&builder);
    feed(NC_REPLY_ARRAY, 0, 0, NULL, 20000);
    for (uint64_t i = 0; i < 20000; i++) {
        snprintf(text, sizeof text, "element number %llu", (unsigned long long)i);
        feed(NC_REPLY_BULK, 1, i, text, 0);
    }
    struct nc_value *value = nc_value_builder_take(&builder);
    cr_assert(value);
    cr_expect_str_eq(value->element[0]->str, "element number 0");
    cr_expect_str_eq(value->element[19999]->str, "element number 19999");
    nc_value_free(value);
}

Test(value, what_is_too_deep_is_refused_and_the_builder_serves_again)
{
    nc_value_builder_init(&builder);
    for (uint32_t depth = 0; depth < 12; depth++)
        feed(NC_REPLY_ARRAY, depth, 0, NULL, 1);
    cr_expect_null(nc_value_builder_take(&builder));
    feed(NC_REPLY_BULK, 0, 0, "42", 0);
    struct nc_value *value = nc_value_builder_take(&builder);
    cr_assert(value);
    cr_expect_eq(nc_value_int(value), 42);
    nc_value_free(value);
}
