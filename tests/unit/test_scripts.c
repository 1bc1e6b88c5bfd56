#include "queue/scripts.h"

#include <criterion/criterion.h>
#include <string.h>

Test(scripts, each_has_a_text_of_its_own_behind_the_common_part)
{
    const char *common = nc_queue_script_parts(NC_QUEUE_SCRIPT_ADD)[0];
    for (int i = 0; i < NC_QUEUE_SCRIPTS; i++) {
        const char *const *parts = nc_queue_script_parts((enum nc_queue_script)i);
        size_t count = 0;
        while (parts[count])
            count++;
        cr_assert_geq(count, 2);
        cr_expect_eq(parts[0], common);
        for (int j = 0; j < i; j++) {
            const char *const *others = nc_queue_script_parts((enum nc_queue_script)j);
            size_t last = 0;
            while (others[last])
                last++;
            cr_expect_str_neq(parts[count - 1], others[last - 1], "%d and %d", i, j);
        }
    }
}

Test(scripts, every_key_is_made_from_the_one_that_is_passed)
{
    for (int i = 0; i < NC_QUEUE_SCRIPTS; i++)
        for (const char *const *part = nc_queue_script_parts((enum nc_queue_script)i); *part;
             part++) {
            cr_expect_null(strstr(*part, "KEYS[2]"));
            cr_expect_null(strstr(*part, "bull:mail:id"));
        }
}
