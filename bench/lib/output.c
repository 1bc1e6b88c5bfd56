#include "lib/output.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/machine.h"
#include "lib/threads.h"
#include "lib/timer.h"

/* One thread: the main one. A bench is one program with one report. */
static struct {
    struct bench_options options;
    FILE *json;
    struct bench_machine_load begin;
    double stolen_sum, stolen_max;
    int stolen_count;
    double same_low, same_high;
    int same_count;
    bool progress_open;
} out;

static const char usage[] =
    "  --quick        shorter stretches and smaller sets: a look, not a result\n"
    "  --rounds N     interleaved rounds per case (default 7, at most 64)\n"
    "  --only TEXT    only the cases whose name contains TEXT\n"
    "  --threads N    at most N threads (default: the processors)\n"
    "  --json FILE    append one JSON object per line to FILE\n";

static const char *next_value(int argc, char **argv, int *i)
{
    if (*i + 1 >= argc)
        bench_die("%s needs a value", argv[*i]);
    return argv[++*i];
}

static void parse(int argc, char **argv, const char *what)
{
    struct bench_options *options = &out.options;

    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick"))
            options->quick = true;
        else if (!strcmp(argv[i], "--rounds"))
            options->rounds = atoi(next_value(argc, argv, &i));
        else if (!strcmp(argv[i], "--only"))
            options->only = next_value(argc, argv, &i);
        else if (!strcmp(argv[i], "--json"))
            options->json = next_value(argc, argv, &i);
        else if (!strcmp(argv[i], "--threads"))
            options->max_threads = (unsigned)atoi(next_value(argc, argv, &i));
        else if (!strcmp(argv[i], "--help")) {
            printf("bench_%s: %s\n%s", options->bench, what, usage);
            exit(0);
        } else
            bench_die("unknown option %s (--help)", argv[i]);
    }
}

struct bench_options bench_begin(int argc, char **argv, const char *bench, const char *what)
{
    struct bench_options *options = &out.options;

    options->bench = bench;
    options->rounds = BENCH_ROUNDS;
    options->max_threads = bench_processors();
    parse(argc, argv, what);
    if (options->rounds < 1 || options->rounds > BENCH_MAX_ROUNDS)
        bench_die("1 to 64 rounds");
    if (options->max_threads < 1 || options->max_threads > BENCH_MAX_THREADS)
        bench_die("1 to %d threads", BENCH_MAX_THREADS);
    options->warm_ms = options->quick ? 15u : 40u;
    options->measure_ms = options->quick ? 30u : 80u;
    if (options->json && !(out.json = fopen(options->json, "a")))
        bench_die("cannot write %s", options->json);
    setvbuf(stdout, NULL, _IOLBF, 0);
    bench_timer_init();
    bench_machine_load(&out.begin);
    printf("\n== bench_%s: %s ==\n", bench, what);
    return *options;
}

bool bench_wants(const struct bench_options *options, const char *name)
{
    return !options->only || strstr(name, options->only);
}

static void clear_progress(void)
{
    if (out.progress_open)
        fputs("\r\033[K", stderr);
    out.progress_open = false;
}

void bench_progress(const char *format, ...)
{
    va_list args;
    bool terminal = isatty(STDERR_FILENO);

    clear_progress();
    fprintf(stderr, "[bench_%s] ", out.options.bench);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    if (terminal)
        out.progress_open = true;
    else
        fputc('\n', stderr);
    fflush(stderr);
}

void bench_die(const char *format, ...)
{
    va_list args;

    clear_progress();
    fputs("bench: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(2);
}

/* ---- JSON ---------------------------------------------------------------------------------- */

static void json_text(const char *name, const char *text)
{
    fprintf(out.json, "\"%s\":\"", name);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            fprintf(out.json, "\\%c", c);
        else if (c < 0x20)
            fprintf(out.json, "\\u%04x", c);
        else
            fputc(c, out.json);
    }
    fputc('"', out.json);
}

static void json_open(const char *kind)
{
    fputc('{', out.json);
    json_text("kind", kind);
    fputc(',', out.json);
    json_text("bench", out.options.bench);
}

static void json_field(const char *name, const char *text)
{
    fputc(',', out.json);
    json_text(name, text);
}

static void json_number(const char *name, double value)
{
    fprintf(out.json, ",\"%s\":%.6g", name, value);
}

static void json_summary(const struct bench_summary *summary)
{
    json_number("median", summary->median);
    json_number("q1", summary->q1);
    json_number("q3", summary->q3);
    json_number("min", summary->min);
    json_number("max", summary->max);
    json_number("rounds", summary->rounds);
}

static void json_close(void)
{
    fputs("}\n", out.json);
    fflush(out.json);
}

/* ---- tables, points, goals ----------------------------------------------------------------- */

void bench_table(const char *title, const char *unit)
{
    clear_progress();
    printf("\n%s\n  %-34s %12s %25s %8s\n", title, "", unit, "quartiles", "spread");
}

void bench_row(const char *group, const char *series, const char *unit,
               const struct bench_rounds *rounds)
{
    struct bench_summary summary = bench_summarise(rounds);

    clear_progress();
    printf("  %-34s %12.4g %12.4g .. %-9.4g %7.1f%%\n", series, summary.median, summary.q1,
           summary.q3, 100.0 * bench_spread(&summary));
    if (!out.json)
        return;
    json_open("case");
    json_field("group", group);
    json_field("series", series);
    json_field("unit", unit);
    json_summary(&summary);
    json_close();
}

void bench_point(const struct bench_plot *plot, const char *series, double x, double y, double ylow,
                 double yhigh)
{
    if (!out.json)
        return;
    json_open("point");
    json_field("plot", plot->id);
    json_field("title", plot->title);
    json_field("xlabel", plot->xlabel);
    json_field("ylabel", plot->ylabel);
    json_number("xlog", plot->xlog);
    json_number("ylog", plot->ylog);
    json_field("series", series);
    json_number("x", x);
    json_number("y", y);
    json_number("ylow", ylow);
    json_number("yhigh", yhigh);
    json_close();
}

void bench_goal(const char *name, const struct bench_summary *ratio)
{
    clear_progress();
    printf("GOAL %s %.6g %.6g %.6g %d\n", name, ratio->median, ratio->q1, ratio->q3, ratio->rounds);
}

void bench_goal_skip(const char *name, const char *reason)
{
    clear_progress();
    printf("SKIP %s %s\n", name, reason);
}

void bench_skip(const char *what, const char *reason)
{
    clear_progress();
    printf("  %-34s skipped: %s\n", what, reason);
}

/* ---- noise --------------------------------------------------------------------------------- */

void bench_noise_same(const struct bench_summary *ratio)
{
    if (!out.same_count || ratio->q1 < out.same_low)
        out.same_low = ratio->q1;
    if (!out.same_count || ratio->q3 > out.same_high)
        out.same_high = ratio->q3;
    out.same_count++;
}

void bench_noise_stolen(double share)
{
    out.stolen_sum += share;
    out.stolen_count++;
    if (share > out.stolen_max)
        out.stolen_max = share;
}

void bench_end(void)
{
    struct bench_machine_load end;
    double stolen = out.stolen_count ? out.stolen_sum / out.stolen_count : 0.0;

    bench_machine_load(&end);
    clear_progress();
    printf("noise of this run: ");
    if (out.same_count)
        printf("a candidate against itself %.3f .. %.3f (quartiles, worst of %d cases); ",
               out.same_low, out.same_high, out.same_count);
    printf("other work held our processors %.1f%% of the measured time (worst stretch %.1f%%, "
           "taken off); hypervisor steal %.2f%%; load %.2f to %.2f; timer %.1f ns a pair\n",
           100.0 * stolen, 100.0 * out.stolen_max, 100.0 * bench_machine_steal(&out.begin, &end),
           out.begin.average, end.average, bench_timer.cost_ns);
    if (!out.json)
        return;
    json_open("noise");
    json_number("same_low", out.same_low);
    json_number("same_high", out.same_high);
    json_number("same_cases", out.same_count);
    json_number("other_work_share", stolen);
    json_number("other_work_worst", out.stolen_max);
    json_number("steal_share", bench_machine_steal(&out.begin, &end));
    json_number("load_begin", out.begin.average);
    json_number("load_end", end.average);
    json_number("timer_pair_ns", bench_timer.cost_ns);
    json_close();
    fclose(out.json);
    out.json = NULL;
}
