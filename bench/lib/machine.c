#include "lib/machine.h"

#include <gnu/libc-version.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "lib/threads.h"
#include "lib/timer.h"

void bench_machine_load(struct bench_machine_load *load)
{
    unsigned long long ticks[8] = {0};
    FILE *file = fopen("/proc/stat", "r");

    memset(load, 0, sizeof *load);
    if (file) {
        if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &ticks[0], &ticks[1],
                   &ticks[2], &ticks[3], &ticks[4], &ticks[5], &ticks[6], &ticks[7]) == 8) {
            load->steal_ticks = ticks[7];
            for (int i = 0; i < 8; i++)
                load->all_ticks += ticks[i];
        }
        fclose(file);
    }
    if (getloadavg(&load->average, 1) != 1)
        load->average = 0.0;
}

double bench_machine_steal(const struct bench_machine_load *begin,
                           const struct bench_machine_load *end)
{
    uint64_t all = end->all_ticks - begin->all_ticks;

    return all ? (double)(end->steal_ticks - begin->steal_ticks) / (double)all : 0.0;
}

struct bench_memory bench_memory_now(void)
{
    struct bench_memory memory = {0, 0};
    unsigned long long kilobytes;
    char line[256];
    FILE *file = fopen("/proc/self/smaps_rollup", "r");

    if (!file)
        return memory;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "Rss: %llu kB", &kilobytes) == 1)
            memory.resident_bytes = kilobytes << 10;
        if (sscanf(line, "AnonHugePages: %llu kB", &kilobytes) == 1)
            memory.huge_bytes = kilobytes << 10;
    }
    fclose(file);
    return memory;
}

/* The first line of a file, or of the part after `after` in the line that contains it. */
static bool first_line(const char *path, const char *after, char *text, int bytes)
{
    FILE *file = fopen(path, "r");
    bool found = false;
    char line[200];

    if (!file)
        return false;
    while (!found && fgets(line, sizeof line, file)) {
        char *begin = after ? strstr(line, after) : line;

        if (!begin)
            continue;
        if (after)
            begin = strchr(begin, ':') ? strchr(begin, ':') + 2 : begin;
        begin[strcspn(begin, "\n")] = '\0';
        snprintf(text, (size_t)bytes, "%s", begin);
        found = true;
    }
    fclose(file);
    return found;
}

static void print_file(FILE *file, const char *name, const char *path, const char *after)
{
    char text[200];

    fprintf(file, "%s: %s\n", name, first_line(path, after, text, sizeof text) ? text : "unknown");
}

void bench_machine_print(FILE *file)
{
    struct utsname system;
    const char *versions = getenv("BENCH_VERSIONS");

    print_file(file, "processor", "/proc/cpuinfo", "model name");
    fprintf(file, "processors: %ld online, %u allowed\n", sysconf(_SC_NPROCESSORS_ONLN),
            bench_processors());
    print_file(file, "L2 cache per core", "/sys/devices/system/cpu/cpu0/cache/index2/size", NULL);
    print_file(file, "L3 cache", "/sys/devices/system/cpu/cpu0/cache/index3/size", NULL);
    print_file(file, "memory", "/proc/meminfo", "MemTotal");
    if (uname(&system) == 0)
        fprintf(file, "kernel: %s %s\n", system.sysname, system.release);
    print_file(file, "transparent huge pages", "/sys/kernel/mm/transparent_hugepage/enabled", NULL);
    print_file(file, "frequency governor", "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
               NULL);
    fprintf(file, "timer: %s, %.4f ns a tick, %.1f ns a pair\n",
            bench_timer.tsc ? "invariant TSC" : "CLOCK_MONOTONIC", bench_timer.ns_per_tick,
            bench_timer.cost_ns);
    fprintf(file, "compiler: %s\nC library: glibc %s\n", __VERSION__, gnu_get_libc_version());
    if (versions && *versions)
        fprintf(file, "versions: %s\n", versions);
}
