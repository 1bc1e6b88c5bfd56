#include "queue/text.h"

#include <criterion/criterion.h>
#include <string.h>

Test(text, grows_and_stays_terminated)
{
    struct nc_text text = {0};
    for (int i = 0; i < 1000; i++)
        nc_text_add_int(&text, i);
    cr_expect_eq(text.bytes, 2890);
    cr_expect_eq(strlen(text.data), 2890);
    nc_text_clear(&text);
    cr_expect_str_eq(text.data, "");
    nc_text_deinit(&text);
}

Test(text, long_formats_are_not_cut)
{
    struct nc_text text = {0};
    char word[2000];
    memset(word, 'x', sizeof word - 1);
    word[sizeof word - 1] = 0;
    nc_text_add_format(&text, "%s%d", word, 7);
    cr_expect_eq(text.bytes, 2000);
    cr_expect_eq(text.data[1999], '7');
    nc_text_deinit(&text);
}

Test(text, base64_is_that_of_the_rfc)
{
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct nc_text text = {0};
        nc_text_add_base64(&text, cases[i][0], strlen(cases[i][0]));
        nc_text_add(&text, "", 0);
        cr_expect_str_eq(text.data, cases[i][1]);
        nc_text_deinit(&text);
    }
}
