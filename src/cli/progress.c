#include "cli/progress.h"

#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_WIDTH 30
#define DRAW_EVERY_NS UINT64_C(200000000)

void cli_progress_init(struct cli_progress *progress, const char *unit, uint64_t begin,
                       uint64_t total, bool always)
{
    progress->unit = unit;
    progress->begin = begin;
    progress->total = total;
    progress->start_ns = cli_now_ns();
    progress->drawn_ns = 0;
    progress->terminal = isatty(STDERR_FILENO);
    progress->shown = always || progress->terminal;
}

static void draw_bar(uint64_t done, uint64_t total)
{
    double share = done < total ? (double)done / (double)total : 1;
    int filled = (int)(share * BAR_WIDTH);
    char bar[BAR_WIDTH + 1];

    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', (size_t)filled);
    bar[BAR_WIDTH] = '\0';
    fprintf(stderr, "[%s] %5.1f %% ", bar, 100 * share);
}

static void draw(struct cli_progress *progress, uint64_t done, uint64_t now_ns)
{
    double seconds = (double)(now_ns - progress->start_ns) / 1e9;
    double rate = seconds > 0 ? (double)(done - progress->begin) / seconds : 0;

    if (progress->terminal)
        fputs("\r", stderr);
    if (progress->total)
        draw_bar(done, progress->total);
    fprintf(stderr, "%" PRIu64 " %s, %.0f/s", done, progress->unit, rate);
    if (progress->total && rate > 0 && done < progress->total) {
        uint64_t left = (uint64_t)((double)(progress->total - done) / rate + 0.5);

        fprintf(stderr, ", ETA %" PRIu64 ":%02" PRIu64, left / 60, left % 60);
    }
    /* A shorter line must hide the longer one before it. */
    fputs(progress->terminal ? "   \x1b[K" : "\n", stderr);
    progress->drawn_ns = now_ns;
}

void cli_progress_update(struct cli_progress *progress, uint64_t done)
{
    uint64_t now_ns;

    if (!progress->shown)
        return;
    now_ns = cli_now_ns();
    if (now_ns - progress->drawn_ns >= DRAW_EVERY_NS)
        draw(progress, done, now_ns);
}

void cli_progress_finish(struct cli_progress *progress, uint64_t done)
{
    if (!progress->shown)
        return;
    draw(progress, done, cli_now_ns());
    if (progress->terminal)
        fputc('\n', stderr);
}
