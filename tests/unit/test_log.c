#include "base/log.h"

#include <criterion/criterion.h>
#include <string.h>

struct heard {
    unsigned lines;
    enum nearcache_log_level level;
    char line[1024];
};

static void hear(void *arg, enum nearcache_log_level level, const char *line)
{
    struct heard *heard = arg;
    heard->lines++;
    heard->level = level;
    cr_assert_lt(strlen(line), sizeof heard->line);
    strcpy(heard->line, line);
}

Test(log, without_a_callback_nothing_happens)
{
    struct nc_log log;
    nc_log_init(&log, NULL, NULL, NEARCACHE_LOG_DEBUG);
    nc_log_write(&log, NEARCACHE_LOG_ERROR, "%d", 1);
    nc_log_write(NULL, NEARCACHE_LOG_ERROR, "%d", 1);
}

Test(log, lines_up_to_the_level_are_heard)
{
    struct heard heard = {0};
    struct nc_log log;
    nc_log_init(&log, hear, &heard, NEARCACHE_LOG_WARNING);
    nc_log_write(&log, NEARCACHE_LOG_INFO, "info");
    nc_log_write(&log, NEARCACHE_LOG_DEBUG, "debug");
    cr_expect_eq(heard.lines, 0);
    nc_log_write(&log, NEARCACHE_LOG_WARNING, "%s %d", "warning", 7);
    cr_expect_eq(heard.lines, 1);
    cr_expect_eq(heard.level, NEARCACHE_LOG_WARNING);
    cr_expect_str_eq(heard.line, "warning 7");
    nc_log_write(&log, NEARCACHE_LOG_ERROR, "error");
    cr_expect_eq(heard.lines, 2);
}

Test(log, a_long_line_is_cut)
{
    static char long_text[4096];
    struct heard heard = {0};
    struct nc_log log;
    memset(long_text, 'x', sizeof long_text - 1);
    nc_log_init(&log, hear, &heard, NEARCACHE_LOG_ERROR);
    nc_log_write(&log, NEARCACHE_LOG_ERROR, "%s", long_text);
    cr_expect_eq(strlen(heard.line), 511);
}
