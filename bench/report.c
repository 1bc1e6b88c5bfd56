/*
 * Joins the JSON lines of a run into one JSON document and one HTML page with plots: inline SVG,
 * nothing loaded from anywhere. report MACHINE.txt ALL.jsonl OUT.json OUT.html
 */
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINES 20000
#define MAX_SERIES 32
#define MAX_PLOTS 64
#define WIDTH 760.0
#define HEIGHT 400.0
#define LEFT 70.0
#define RIGHT 16.0
#define TOP 14.0
#define BOTTOM 46.0

/* One object of the run. The text stays as it was written. */
struct line {
    char *json;
    bool drawn;
};

static struct line lines[MAX_LINES];
static int line_count;

static void die(const char *what, const char *path)
{
    fprintf(stderr, "bench/report: %s %s: %s\n", what, path, strerror(errno));
    exit(2);
}

static FILE *open_file(const char *path, const char *how)
{
    FILE *file = fopen(path, how);

    if (!file)
        die("cannot open", path);
    return file;
}

static void load(const char *path)
{
    char *text = NULL;
    size_t room = 0;
    ssize_t bytes;
    FILE *file = open_file(path, "r");

    while (line_count < MAX_LINES && (bytes = getline(&text, &room, file)) > 0) {
        if (text[0] != '{')
            continue;
        text[strcspn(text, "\n")] = '\0';
        lines[line_count++].json = strdup(text);
    }
    free(text);
    fclose(file);
}

/* The text of a field, unescaped; false when there is none. Only what our own writers produce. */
static bool text_field(const struct line *line, const char *name, char *text, size_t bytes)
{
    char quoted[64];
    const char *at;
    size_t length = 0;

    snprintf(quoted, sizeof quoted, "\"%s\":\"", name);
    text[0] = '\0';
    at = strstr(line->json, quoted);
    if (!at)
        return false;
    for (at += strlen(quoted); *at && *at != '"' && length + 1 < bytes; at++) {
        if (*at == '\\' && at[1])
            at++;
        text[length++] = *at;
    }
    text[length] = '\0';
    return true;
}

static double number_field(const struct line *line, const char *name)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    at = strstr(line->json, quoted);
    return at ? strtod(at + strlen(quoted), NULL) : 0.0;
}

static bool is_kind(const struct line *line, const char *kind)
{
    char text[32];

    return text_field(line, "kind", text, sizeof text) && !strcmp(text, kind);
}

static void escape(FILE *file, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '<':
            fputs("&lt;", file);
            break;
        case '>':
            fputs("&gt;", file);
            break;
        case '&':
            fputs("&amp;", file);
            break;
        case '"':
            fputs("&quot;", file);
            break;
        default:
            fputc(*text, file);
        }
    }
}

/* ---- plots --------------------------------------------------------------------------------- */

struct axis {
    double low, high;
    bool log;
};

struct plot {
    char id[64], title[160], xlabel[64], ylabel[64];
    struct axis x, y;
    char series[MAX_SERIES][96];
    int series_count;
};

static const char *const colours[] = {"#c0392b", "#2c3e50", "#2980b9", "#27ae60",
                                      "#8e44ad", "#d68910", "#16a085", "#7f8c8d",
                                      "#e84393", "#6d4c41", "#5d6d00", "#0097a7"};

static void stretch_axis(struct axis *axis, double value)
{
    if (axis->log && value <= 0.0)
        return;
    if (value < axis->low)
        axis->low = value;
    if (value > axis->high)
        axis->high = value;
}

static double place(const struct axis *axis, double value)
{
    double low = axis->low, high = axis->high;

    if (axis->log) {
        low = log10(low);
        high = log10(high);
        value = log10(value > 0 ? value : axis->low);
    }
    return high > low ? (value - low) / (high - low) : 0.5;
}

static double place_x(const struct plot *plot, double value)
{
    return LEFT + place(&plot->x, value) * (WIDTH - LEFT - RIGHT);
}

static double place_y(const struct plot *plot, double value)
{
    return HEIGHT - BOTTOM - place(&plot->y, value) * (HEIGHT - TOP - BOTTOM);
}

static void number_text(double value, char *text, size_t bytes)
{
    if (value >= 1e6)
        snprintf(text, bytes, "%gM", value / 1e6);
    else if (value >= 1e3)
        snprintf(text, bytes, "%gk", value / 1e3);
    else
        snprintf(text, bytes, "%g", value);
}

static void tick(FILE *file, const struct plot *plot, bool x, double value)
{
    double at = x ? place_x(plot, value) : place_y(plot, value);
    char text[32];

    number_text(value, text, sizeof text);
    if (x) {
        fprintf(file, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='grid'/>", at, TOP, at,
                HEIGHT - BOTTOM);
        fprintf(file, "<text x='%.1f' y='%.1f' text-anchor='middle'>%s</text>\n", at,
                HEIGHT - BOTTOM + 16, text);
    } else {
        fprintf(file, "<line x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f' class='grid'/>", LEFT, at,
                WIDTH - RIGHT, at);
        fprintf(file, "<text x='%.1f' y='%.1f' text-anchor='end'>%s</text>\n", LEFT - 6, at + 4,
                text);
    }
}

static void ticks(FILE *file, const struct plot *plot, bool x)
{
    const struct axis *axis = x ? &plot->x : &plot->y;

    if (axis->log) {
        bool fine = log10(axis->high / axis->low) < 2.5;

        for (double decade = pow(10, floor(log10(axis->low))); decade <= axis->high; decade *= 10)
            for (int step = 1; step < 10; step++) {
                double value = decade * step;

                if (step != 1 && !(fine && (step == 2 || step == 5)))
                    continue;
                if (value >= axis->low * 0.999 && value <= axis->high * 1.001)
                    tick(file, plot, x, value);
            }
        return;
    }
    {
        double range = axis->high - axis->low, step = pow(10, floor(log10(range > 0 ? range : 1)));

        if (range / step < 3)
            step /= range / step < 1.5 ? 5 : 2;
        for (double value = ceil(axis->low / step) * step; value <= axis->high + step / 100;
             value += step)
            tick(file, plot, x, fabs(value) < step / 1000 ? 0 : value);
    }
}

static bool belongs(const struct line *line, const char *id)
{
    char text[64];

    return is_kind(line, "point") && text_field(line, "plot", text, sizeof text) &&
           !strcmp(text, id);
}

static void learn_plot(struct plot *plot, const struct line *first)
{
    char series[96];

    memset(plot, 0, sizeof *plot);
    text_field(first, "plot", plot->id, sizeof plot->id);
    text_field(first, "title", plot->title, sizeof plot->title);
    text_field(first, "xlabel", plot->xlabel, sizeof plot->xlabel);
    text_field(first, "ylabel", plot->ylabel, sizeof plot->ylabel);
    plot->x = (struct axis){INFINITY, -INFINITY, number_field(first, "xlog") != 0};
    plot->y = (struct axis){INFINITY, -INFINITY, number_field(first, "ylog") != 0};
    for (int i = 0; i < line_count; i++) {
        int known = 0;

        if (!belongs(&lines[i], plot->id))
            continue;
        lines[i].drawn = true;
        stretch_axis(&plot->x, number_field(&lines[i], "x"));
        stretch_axis(&plot->y, number_field(&lines[i], "ylow"));
        stretch_axis(&plot->y, number_field(&lines[i], "yhigh"));
        text_field(&lines[i], "series", series, sizeof series);
        while (known < plot->series_count && strcmp(plot->series[known], series))
            known++;
        if (known == plot->series_count && known < MAX_SERIES)
            snprintf(plot->series[plot->series_count++], sizeof series, "%s", series);
    }
    if (!plot->y.log && plot->y.low > 0 && plot->y.low < plot->y.high * 0.7)
        plot->y.low = 0;
    if (plot->y.low == plot->y.high)
        plot->y.high = plot->y.low * 1.1 + 1e-9;
}

static void draw_series(FILE *file, const struct plot *plot, int which)
{
    const char *colour = colours[which % (int)(sizeof colours / sizeof *colours)];
    bool ours =
        !strncmp(plot->series[which], "nearcache", 9) || !strcmp(plot->series[which], "as3");
    char series[96];

    fprintf(file, "<polyline fill='none' stroke='%s' stroke-width='%s' points='", colour,
            ours ? "2.6" : "1.4");
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < line_count; i++) {
            double x, y;

            if (!belongs(&lines[i], plot->id))
                continue;
            text_field(&lines[i], "series", series, sizeof series);
            if (strcmp(series, plot->series[which]))
                continue;
            x = place_x(plot, number_field(&lines[i], "x"));
            y = place_y(plot, number_field(&lines[i], "y"));
            if (pass == 0) {
                fprintf(file, "%.1f,%.1f ", x, y);
                continue;
            }
            fprintf(file, "<line x1='%.1f' x2='%.1f' y1='%.1f' y2='%.1f' stroke='%s'/>", x, x,
                    place_y(plot, number_field(&lines[i], "ylow")),
                    place_y(plot, number_field(&lines[i], "yhigh")), colour);
            fprintf(file, "<circle cx='%.1f' cy='%.1f' r='3' fill='%s'><title>", x, y, colour);
            escape(file, series);
            fprintf(file, ": %g at %g</title></circle>\n", number_field(&lines[i], "y"),
                    number_field(&lines[i], "x"));
        }
        if (pass == 0)
            fputs("'/>\n", file);
    }
}

static void draw_plot(FILE *file, const struct line *first)
{
    struct plot plot;

    learn_plot(&plot, first);
    fputs("<figure><figcaption>", file);
    escape(file, plot.title);
    fprintf(file, "</figcaption>\n<svg viewBox='0 0 %g %g' role='img'>\n", WIDTH, HEIGHT);
    ticks(file, &plot, true);
    ticks(file, &plot, false);
    for (int i = plot.series_count - 1; i >= 0; i--)
        draw_series(file, &plot, i);
    fprintf(file, "<text x='%.1f' y='%.1f' text-anchor='middle'>", (LEFT + WIDTH) / 2, HEIGHT - 8);
    escape(file, plot.xlabel);
    fprintf(file, "</text>\n<text transform='translate(14 %.1f) rotate(-90)' text-anchor='middle'>",
            HEIGHT / 2);
    escape(file, plot.ylabel);
    fputs("</text>\n</svg>\n<p class='legend'>", file);
    for (int i = 0; i < plot.series_count; i++) {
        fprintf(file, "<span><b style='background:%s'></b>",
                colours[i % (int)(sizeof colours / sizeof *colours)]);
        escape(file, plot.series[i]);
        fputs("</span> ", file);
    }
    fputs("</p></figure>\n", file);
}

/* ---- tables -------------------------------------------------------------------------------- */

static void cell(FILE *file, const struct line *line, const char *name)
{
    char text[256];

    text_field(line, name, text, sizeof text);
    fputs("<td>", file);
    escape(file, text);
    fputs("</td>", file);
}

static void goals_table(FILE *file)
{
    char status[16], text[256];

    fputs("<h2>Goals</h2>\n<table><tr><th>goal</th><th>measured</th><th>wanted</th>"
          "<th>quartiles</th><th>verdict</th><th>what</th></tr>\n",
          file);
    for (int i = 0; i < line_count; i++) {
        const struct line *line = &lines[i];

        if (!is_kind(line, "goal"))
            continue;
        text_field(line, "status", status, sizeof status);
        fprintf(file, "<tr class='%s'>", status);
        cell(file, line, "name");
        text_field(line, "op", text, sizeof text);
        if (strcmp(status, "SKIP"))
            fprintf(
                file,
                "<td class='n'>%.4g</td><td class='n'>%s %g</td><td class='n'>%.4g .. %.4g</td>",
                number_field(line, "ratio"), text[0] == '<' ? "&le;" : "&ge;",
                number_field(line, "goal"), number_field(line, "q1"), number_field(line, "q3"));
        else
            fprintf(file, "<td></td><td class='n'>%s %g</td><td></td>",
                    text[0] == '<' ? "&le;" : "&ge;", number_field(line, "goal"));
        cell(file, line, "status");
        cell(file, line, strcmp(status, "SKIP") ? "what" : "reason");
        fputs("</tr>\n", file);
    }
    fputs("</table>\n", file);
}

static void noise_table(FILE *file)
{
    char bench[64];

    fputs("<h2>How noisy the run was</h2>\n<table><tr><th>bench</th><th>a candidate against "
          "itself</th><th>other work on our processors</th><th>worst stretch</th><th>hypervisor "
          "steal</th><th>load</th></tr>\n",
          file);
    for (int i = 0; i < line_count; i++) {
        const struct line *line = &lines[i];

        if (!is_kind(line, "noise"))
            continue;
        text_field(line, "bench", bench, sizeof bench);
        fprintf(file, "<tr><td>%s</td>", bench);
        if (number_field(line, "same_cases") > 0)
            fprintf(file, "<td class='n'>%.3f .. %.3f</td>", number_field(line, "same_low"),
                    number_field(line, "same_high"));
        else
            fputs("<td class='n'>-</td>", file);
        fprintf(file,
                "<td class='n'>%.1f %%</td><td class='n'>%.1f %%</td><td class='n'>%.2f %%</td>"
                "<td class='n'>%.2f to %.2f</td></tr>\n",
                100 * number_field(line, "other_work_share"),
                100 * number_field(line, "other_work_worst"),
                100 * number_field(line, "steal_share"), number_field(line, "load_begin"),
                number_field(line, "load_end"));
    }
    fputs("</table>\n", file);
}

static void cases_table(FILE *file)
{
    char group[128], last[128] = "";

    fputs("<h2>All figures</h2>\n<table><tr><th></th><th>median</th><th>unit</th><th>quartiles</th>"
          "<th>least .. most</th><th>rounds</th></tr>\n",
          file);
    for (int i = 0; i < line_count; i++) {
        const struct line *line = &lines[i];

        if (!is_kind(line, "case"))
            continue;
        text_field(line, "group", group, sizeof group);
        if (strcmp(group, last)) {
            fputs("<tr><th colspan='6'>", file);
            escape(file, group);
            fputs("</th></tr>\n", file);
            snprintf(last, sizeof last, "%s", group);
        }
        fputs("<tr>", file);
        cell(file, line, "series");
        fprintf(file, "<td class='n'>%.4g</td>", number_field(line, "median"));
        cell(file, line, "unit");
        fprintf(file,
                "<td class='n'>%.4g .. %.4g</td><td class='n'>%.4g .. %.4g</td>"
                "<td class='n'>%g</td></tr>\n",
                number_field(line, "q1"), number_field(line, "q3"), number_field(line, "min"),
                number_field(line, "max"), number_field(line, "rounds"));
    }
    fputs("</table>\n", file);
}

static const char style[] =
    "body{font:15px/1.45 system-ui,sans-serif;max-width:1000px;margin:2em auto;padding:0 1em;"
    "color:#222}table{border-collapse:collapse;font-size:13px}td,th{padding:2px 8px;"
    "border-bottom:1px solid #ddd;text-align:left}td.n{text-align:right;white-space:nowrap}"
    "tr.PASS td:nth-child(5){color:#1e7e34;font-weight:bold}tr.SHORT td:nth-child(5){color:#b00;"
    "font-weight:bold}tr.SKIP td{color:#888}figure{margin:1.5em 0}figcaption{font-weight:bold}"
    "svg{width:100%;height:auto;font-size:11px}.grid{stroke:#ddd}.legend{font-size:12px}"
    ".legend span{margin-right:1em;white-space:nowrap}.legend b{display:inline-block;width:1em;"
    "height:.6em;margin-right:.3em}pre{background:#f6f6f6;padding:.8em;overflow:auto}";

static void write_html(const char *path, const char *machine)
{
    FILE *file = open_file(path, "w"), *about = open_file(machine, "r");
    char text[512];

    fprintf(file,
            "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
            "<title>nearcache: benches</title><style>%s</style></head><body>\n"
            "<h1>nearcache: benches</h1>\n<p>Medians of interleaved, pinned rounds; whiskers are "
            "quartiles. Ratios are taken round by round.</p>\n<pre>",
            style);
    while (fgets(text, sizeof text, about))
        escape(file, text);
    fclose(about);
    fputs("</pre>\n", file);
    goals_table(file);
    noise_table(file);
    fputs("<h2>Plots</h2>\n", file);
    for (int i = 0; i < line_count; i++)
        if (!lines[i].drawn && is_kind(&lines[i], "point"))
            draw_plot(file, &lines[i]);
    cases_table(file);
    fputs("</body></html>\n", file);
    if (fclose(file))
        die("cannot write", path);
}

static void write_json(const char *path, const char *machine)
{
    FILE *file = open_file(path, "w"), *about = open_file(machine, "r");
    char text[512];
    bool first = true;

    fputs("{\"machine\":{", file);
    while (fgets(text, sizeof text, about)) {
        char *value = strstr(text, ": ");

        if (!value)
            continue;
        *value = '\0';
        fprintf(file, "%s\"%s\":\"", first ? "" : ",", text);
        for (char *c = value + 2; *c && *c != '\n'; c++) {
            if (*c == '"' || *c == '\\')
                fputc('\\', file);
            fputc(*c, file);
        }
        fputc('"', file);
        first = false;
    }
    fclose(about);
    fputs("},\n\"results\":[\n", file);
    for (int i = 0; i < line_count; i++)
        fprintf(file, "%s%s\n", i ? "," : "", lines[i].json);
    fputs("]}\n", file);
    if (fclose(file))
        die("cannot write", path);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fputs("usage: report MACHINE.txt ALL.jsonl OUT.json OUT.html\n", stderr);
        return 2;
    }
    load(argv[2]);
    write_json(argv[3], argv[1]);
    write_html(argv[4], argv[1]);
    return 0;
}
